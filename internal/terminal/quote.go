package terminal

import (
	"crypto/rand"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// mark begins a color. Data cannot hold it, because nobody outside of this process
// knows it: an escape sequence in a customer reference stays quoted.
var (
	mark   = "\x1b" + rand.Text()
	colors = regexp.MustCompile(regexp.QuoteMeta(mark) + `\[[0-9]+m`)
)

// Quote is a text as it may stand in a cell or a line: quoted as in Go where it has
// a character that does not print, such as an escape, a line's end or one that
// turns the direction of what follows. Colors of Paint stay.
func Quote(text string) string {
	var quoted strings.Builder
	for {
		color := colors.FindStringIndex(text)
		if color == nil {
			return quoted.String() + quotePlain(text)
		}
		quoted.WriteString(quotePlain(text[:color[0]]) + text[color[0]:color[1]])
		text = text[color[1]:]
	}
}

func quotePlain(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	return strconv.Quote(text)
}

// QuoteLines is Quote for a text of several lines, each for itself.
func QuoteLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Quote(line)
	}
	return strings.Join(lines, "\n")
}

// quoteAll quotes what a format would write as text.
func quoteAll(args []any) []any {
	quoted := make([]any, len(args))
	for i, arg := range args {
		quoted[i] = arg
		switch v := arg.(type) {
		case string:
			quoted[i] = Quote(v)
		case error:
			quoted[i] = Quote(v.Error())
		case interface{ String() string }:
			quoted[i] = Quote(v.String())
		default:
			if kind := reflect.ValueOf(arg); kind.Kind() == reflect.String {
				quoted[i] = Quote(kind.String())
			}
		}
	}
	return quoted
}

// columns is how wide a text is on a terminal.
func columns(text string) int {
	if strings.Contains(text, mark) {
		text = colors.ReplaceAllString(text, "")
	}
	return uniseg.StringWidth(text)
}

// Short is a text in a column of a width, without its middle where that is too
// narrow.
func Short(text string, width int) string {
	if columns(text) <= width {
		return text
	}
	letters := []rune(text)
	for keep := width - 1; keep > 0; keep-- {
		tail := keep / 2
		short := string(letters[:min(keep-tail, len(letters))]) + "…" + string(letters[max(0, len(letters)-tail):])
		if columns(short) <= width {
			return short
		}
	}
	return "…"
}

// begin is the begin of a text in a column of a width that is too narrow for it.
func begin(text string, width int) string {
	letters := []rune(text)
	for columns(string(letters))+1 > width && len(letters) > 0 {
		letters = letters[:len(letters)-1]
	}
	return string(letters) + "…"
}
