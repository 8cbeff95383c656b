package ratelimit

import (
	"context"
	_ "embed" // for the script
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed book.lua
var bookSource string

// Each script is one call to Redis, and nothing comes between its steps. The rules
// of the breaker and of the rate in distress are in health.go: the scripts read
// what is known, and store it unless it was changed since.
var (
	bookScript = redis.NewScript(bookSource)
	readScript = redis.NewScript(`
local time, kind = redis.call('TIME'), redis.call('TYPE', KEYS[1]).ok
local known = {}
if kind == 'hash' then known = redis.call('HMGET', KEYS[1], 'version', 'health') end
return {time[1] * 1000000 + time[2], kind, known[1] or '', known[2] or ''}`)
	storeScript = redis.NewScript(`
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'health', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[2])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if #ARGV > 4 then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
return 1`)
)

// lifetime is how long what nobody uses stays in Redis. It only keeps apps that
// left from piling up.
const lifetime = 24 * time.Hour

// everybody is the scope of the breaker of all apps.
const everybody = "*"

// budget names what a rate, or a breaker, is for.
type budget struct {
	app  string
	of   string // what is asked: a source, in an environment
	size string // of the request; empty is of any
}

func parse(key string) (b budget) {
	var rest string
	b.app, rest, _ = strings.Cut(key, "/")
	b.of, b.size, _ = strings.Cut(rest, "/")
	return b
}

func (b budget) String() string { return strings.TrimSuffix(b.app+"/"+b.of+"/"+b.size, "/") }

func (b budget) sized() string { return b.app + "/" + b.size }

func isSized(scope string) bool { return strings.Contains(scope, "/") }
func isApp(scope string) bool   { return scope != everybody && !isSized(scope) }

// scopes are those of the breakers that may hold the budget back.
func (b budget) scopes() []string {
	if b.size == "" {
		return []string{everybody, b.app}
	}
	return []string{everybody, b.app, b.sized()}
}

// The keys have what is asked in braces, so that a Redis Cluster keeps all of it
// on one shard, and a script may look at both.
func (b budget) key() string { return "revalidator:rate:{" + b.of + "}:" + b.app }

func healthKey(of string) string { return "revalidator:rate:{" + of + "}/health" }
func limitsKey(of string) string { return "revalidator:rate:{" + of + "}/limits" }

// sourcesKey lists what is asked.
const sourcesKey = "revalidator:rate:sources"

// unavailable tells the end of the caller's patience from trouble with Redis.
func unavailable(ctx context.Context, act, key string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if redis.HasErrorPrefix(err, "ODDKEY") {
		return fmt.Errorf("%s %s: %w: a key in Redis was not written by this program, delete it: %w", act, key, ErrUnavailable, err)
	}
	return fmt.Errorf("%s %s: %w: %w", act, key, ErrUnavailable, err)
}
