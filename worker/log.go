package worker

import (
	"fmt"
	"log/slog"
)

// queueLog gives asynq's own log lines to slog, as one constant message with
// their text as a value.
type queueLog struct{ log *slog.Logger }

func (l queueLog) Debug(args ...any) { l.log.Debug("queue", "text", fmt.Sprint(args...)) }
func (l queueLog) Info(args ...any)  { l.log.Info("queue", "text", fmt.Sprint(args...)) }
func (l queueLog) Warn(args ...any)  { l.log.Warn("queue", "text", fmt.Sprint(args...)) }
func (l queueLog) Error(args ...any) { l.log.Error("queue", "text", fmt.Sprint(args...)) }
func (l queueLog) Fatal(args ...any) { l.log.Error("queue", "text", fmt.Sprint(args...)) }
