package worker

import (
	"fmt"
	"log/slog"
	"strings"
)

// queueLog gives asynq's own log lines to slog, as one constant message with
// their text as a value.
type queueLog struct{ log *slog.Logger }

func (l queueLog) Debug(args ...any) { l.log.Debug("queue", "text", fmt.Sprint(args...)) }
func (l queueLog) Info(args ...any)  { l.log.Info("queue", "text", fmt.Sprint(args...)) }
func (l queueLog) Error(args ...any) { l.log.Error("queue", "text", fmt.Sprint(args...)) }
func (l queueLog) Fatal(args ...any) { l.log.Error("queue", "text", fmt.Sprint(args...)) }

// Warn leaves out that a task is archived: its error is logged, or is that of a check
// that failed, which is no fault.
func (l queueLog) Warn(args ...any) {
	if text := fmt.Sprint(args...); !strings.HasPrefix(text, "Retry exhausted for task") {
		l.log.Warn("queue", "text", text)
	}
}
