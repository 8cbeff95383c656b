package terminal

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// What terminals understand: another screen without a cursor, and back; to its
// first line; to clear the rest of a line, and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	firstLine   = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// Watch shows a text in place on a screen of its own, read again and again until
// ctx ends, which is no error, and leaves the last one on the terminal. A later
// read that fails is shown too, and the watch continues. Where there is no
// terminal, each text follows the one before.
func (t *Terminal) Watch(ctx context.Context, every time.Duration, read func(context.Context, *Page) error) error {
	if !IsTerminal(t.Out) {
		return t.repeat(ctx, every, read)
	}
	shown, err := t.frame(ctx, read)
	if err != nil {
		return err
	}
	fmt.Fprint(t.Out, enterScreen)
	defer func() { fmt.Fprint(t.Out, leaveScreen+shown) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for failure := ""; ; {
		t.draw(shown, failure+"Every "+every.String()+", until Ctrl-C.")
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		next, err := t.frame(ctx, read)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failure, _ = t.Page(nil).Part(func(p *Page) {
				p.Printf("%s\n", p.Paint(Red, "not refreshed since: "+err.Error()))
			})
		default:
			shown, failure = next, ""
		}
	}
}

// repeat prints a text, and the next one below it.
func (t *Terminal) repeat(ctx context.Context, every time.Duration, read func(context.Context, *Page) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first := true; ; first = false {
		page := t.Page(t.Out)
		err := read(ctx, page)
		switch {
		case page.err != nil:
			return page.err
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			t.Note("not refreshed: %v", err)
		}
		page.Print("\n")
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// footer is how many lines below the text Watch needs, where nothing failed.
const footer = 1

// frame is a text that fits the terminal, as far as what reads it can make it.
func (t *Terminal) frame(ctx context.Context, read func(context.Context, *Page) error) (string, error) {
	var text bytes.Buffer
	page := t.Page(&text)
	columns, lines := size(t.Out)
	page.columns, page.lines = columns, max(lines-footer, 1)
	err := read(ctx, page)
	return text.String(), err
}

// sgr is a color that was written.
var sgr = regexp.MustCompile("\x1b\\[[0-9]+m")

// draw replaces what is on the screen, without a flicker and without scrolling.
// Where it is too small, the last lines of the text give way to those below it,
// and the ends of lines.
func (t *Terminal) draw(text, below string) {
	lines, last := strings.Split(strings.TrimSuffix(text, "\n"), "\n"), strings.Split(below, "\n")
	width, height := size(t.Out)
	if room := max(height-len(last), 0); height > 0 && len(lines) > room {
		lines = lines[:room]
	}
	lines = append(lines, last...)
	if height > 0 && len(lines) > height {
		lines = lines[len(lines)-height:]
	}
	for i, line := range lines {
		if plain := sgr.ReplaceAllString(line, ""); width > 0 && columns(plain) > width {
			lines[i] = begin(plain, width)
		}
	}
	fmt.Fprint(t.Out, firstLine+strings.Join(lines, clearLine+"\n")+clearLine+clearBelow)
}
