package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"
)

// sharedRedis gives asynq's pages the client that is there, where they would
// make two of their own. They close what they are given only with their own
// Close, which is therefore never called.
type sharedRedis struct{ client redis.UniversalClient }

// MakeRedisClient implements asynq.RedisConnOpt.
func (s sharedRedis) MakeRedisClient() any { return s.client }

func queuePages(c Config) http.Handler {
	return asynqmon.New(asynqmon.Options{
		RootPath:     c.Path,
		RedisConnOpt: sharedRedis{c.Redis},
		// "Archive all" and "delete all" of a long queue leave tasks behind that
		// can never be queued again, and stop Redis for seconds.
		ReadOnly:         !c.ReadWrite,
		PayloadFormatter: asynqmon.PayloadFormatterFunc(c.describe),
		ResultFormatter:  asynqmon.ResultFormatterFunc(func(_ string, result []byte) string { return wrapped(printable(result)) }),
	})
}

func (c Config) describe(taskType string, payload []byte) string {
	if c.Describe != nil {
		if text := c.Describe(taskType, payload); text != "" {
			return wrapped(printable([]byte(text)))
		}
	}
	return printable(payload)
}

// schedulerEntries answers asynq's page about schedulers in the place of asynq.
func (c Config) schedulerEntries(w http.ResponseWriter, _ *http.Request) {
	entries := []map[string]any{}
	if c.Scheduled != nil {
		s := c.Scheduled()
		entries = append(entries, map[string]any{
			"id": "nightly", "spec": s.Spec, "task_type": s.Task, "task_payload": "", "options": []string{},
			"next_enqueue_at": s.Next.Format(time.RFC3339),
		})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"entries": entries})
}

// boxColumns is how wide the boxes are in which asynq's pages show a payload or
// a result; what does not fit is out of sight.
const boxColumns = 36

// wrapped breaks a sentence into lines of a box.
func wrapped(sentence string) string {
	var lines strings.Builder
	column := 0
	for word := range strings.FieldsSeq(sentence) {
		width := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+width > boxColumns:
			lines.WriteByte('\n')
			column = 0
		default:
			lines.WriteByte(' ')
			column++
		}
		lines.WriteString(word)
		column += width
	}
	return lines.String()
}

// mostShown is how many bytes of a payload are shown. Ours are far shorter;
// other tasks in the same Redis may be as long as they like, and browsers are
// not.
const mostShown = 200

// printable makes bytes fit to be shown: cut to mostShown, and with a dot for
// what is no printable character.
func printable(data []byte) string {
	shown := data
	if len(data) > mostShown {
		shown = data[:mostShown]
		for len(shown) > mostShown-utf8.UTFMax && !utf8.Valid(shown) {
			shown = shown[:len(shown)-1] // not in the middle of a character
		}
	}
	text := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, string(shown))
	if len(data) > mostShown {
		text += "…"
	}
	return text
}
