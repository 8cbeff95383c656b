package judge

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/applesim"
)

// sampled is how many receipts are looked for by their bytes.
const sampled = 200

// anyReceipt is the beginning of every receipt in base64 with what follows it.
var anyReceipt = regexp.MustCompile(`MI[IJK][A-Za-z0-9+/]{60}`)

// Markers are pieces of what must not be anywhere but in its place, by a name
// that may be told: the shared secrets, those given and the App Store's, and
// some bytes of receipts, as they are and in the forms in which bytes are
// written as text.
func (j *Judge) Markers(bundleIDs []string, secrets ...string) (map[string]string, error) {
	found := map[string]string{}
	add := func(name string, data []byte) {
		found[name] = string(data)
		found[name+" in base64"] = base64.StdEncoding.EncodeToString(data)
		found[name+" in hex"] = hex.EncodeToString(data)
	}
	for _, id := range bundleIDs {
		secrets = append(secrets, j.sim.Secrets(id)...)
	}
	for i, text := range secrets {
		add(fmt.Sprintf("secret %d", i), []byte(text))
	}
	n := 0
	for r, err := range j.sim.Receipts() {
		if err != nil {
			return nil, err
		}
		if n++; n > sampled {
			break
		}
		add(fmt.Sprintf("receipt %d, of %s", n, r.CustomerRef), piece(r))
	}
	return found, nil
}

// piece is some bytes of a receipt that are not in anything that it tells: of the
// signature at its end, or of the base64 in the old style. They begin at a multiple
// of three, so that they are whole in the base64 of all.
func piece(r applesim.Receipt) []byte {
	const size = 24
	at := len(r.Data) - 3*size
	if r.Style == applesim.StyleTransaction {
		at = len(r.Data) / 2
	}
	return r.Data[at/3*3:][:size]
}

// Leaks reports which markers, or what looks like a receipt, are in which of some
// places.
func Leaks(markers, places map[string]string) []string {
	var leaks []string
	for place, text := range places {
		for name, marker := range markers {
			if strings.Contains(text, marker) {
				leaks = append(leaks, place+": there is "+name)
			}
		}
		if anyReceipt.MatchString(text) {
			leaks = append(leaks, place+": there is what looks like a receipt")
		}
	}
	return leaks
}

// PostgresText is each table as text, without the two columns in which receipts
// and encrypted secrets are kept.
func (j *Judge) PostgresText(ctx context.Context) (map[string]string, error) {
	names, err := j.lines(ctx, `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`)
	if err != nil {
		return nil, err
	}
	tables := map[string]string{}
	for _, table := range names {
		documents, err := j.lines(ctx, `SELECT to_jsonb(t) - 'data' - 'ciphertext' FROM `+table+` t`)
		if err != nil {
			return nil, err
		}
		tables[table] = strings.Join(documents, "\n")
	}
	return tables, nil
}

// RedisText is every key and value of Redis.
func RedisText(ctx context.Context, client redis.UniversalClient) (string, error) {
	var text bytes.Buffer
	keys := client.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		value, err := redisValue(ctx, client, keys.Val())
		if err != nil && !errors.Is(err, redis.Nil) {
			return "", fmt.Errorf("read %s: %w", keys.Val(), err)
		}
		fmt.Fprintln(&text, keys.Val(), value)
	}
	return text.String(), keys.Err()
}

func redisValue(ctx context.Context, client redis.UniversalClient, key string) (any, error) {
	switch kind := client.Type(ctx, key).Val(); kind {
	case "string":
		return client.Get(ctx, key).Result()
	case "list":
		return client.LRange(ctx, key, 0, -1).Result()
	case "set":
		return client.SMembers(ctx, key).Result()
	case "zset":
		return client.ZRange(ctx, key, 0, -1).Result()
	case "hash":
		return client.HGetAll(ctx, key).Result()
	case "none": // gone since it was listed
		return nil, nil
	default:
		return nil, fmt.Errorf("it is a %s, which is not searched", kind)
	}
}
