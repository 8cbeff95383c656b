package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// quietRedis makes the Redis client log through ours, where it would print to
// standard error by itself. It is one setting for the whole process.
func quietRedis(logger *slog.Logger) { redis.SetLogger(redisLog{logger}) }

// redisLog is a log for the Redis client. What the client logs it also returns
// as an error to whoever asked, who knows what it means; so it is for debugging
// only.
type redisLog struct{ logger *slog.Logger }

// Printf implements the logger of go-redis.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.logger.DebugContext(ctx, "redis client", "text", fmt.Sprintf(format, v...))
}
