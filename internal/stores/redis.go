package stores

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/config"
)

// OpenRedis prepares the connections by the settings, and makes none yet. The client
// logs through ours, where it would print to standard error by itself; that is one
// setting for the whole process.
func OpenRedis(cfg config.Redis, log *slog.Logger) (redis.UniversalClient, error) {
	redis.SetLogger(redisLog{log})
	url := cfg.URL.Reveal()
	switch cfg.Topology() {
	case config.TopologySentinel:
		options, err := redis.ParseFailoverURL(url)
		if err != nil {
			return nil, errors.New("not a URL of a Sentinel")
		}
		return redis.NewFailoverClient(options), nil
	case config.TopologyCluster:
		options, err := redis.ParseClusterURL(url)
		if err != nil {
			return nil, errors.New("not a URL of a Cluster")
		}
		followFailovers(options)
		return redis.NewClusterClient(options), nil
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("not a URL of a Redis")
	}
	return redis.NewClient(options), nil
}

// followFailovers has a client notice within seconds that another server has the slots
// of one that is lost. By itself it asks once a minute, and waits five seconds four
// times for a server that is silent. What the URL says holds.
func followFailovers(o *redis.ClusterOptions) {
	o.ClusterStateReloadInterval = time.Second
	o.DialerRetries = 1
	o.DialTimeout = cmp.Or(o.DialTimeout, time.Second)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, time.Second)
}

// redisLog is a log for the Redis client. What the client logs it also returns
// as an error to whoever asked, who knows what it means; so it is for debugging
// only.
type redisLog struct{ logger *slog.Logger }

// Printf implements the logger of go-redis.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.logger.DebugContext(ctx, "redis client", "text", fmt.Sprintf(format, v...))
}
