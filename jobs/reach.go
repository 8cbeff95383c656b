package jobs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// probeKeys are one key of each prefix that this program and asynq use. They are never
// written.
var probeKeys = []string{"asynq:probe", "revalidator:probe"}

// cancelChannel is asynq's for tasks that are cancelled. No task has an empty id.
const cancelChannel = "asynq:cancel"

// Reach fails where Redis does not answer, or does not let this user do what the queue
// and the rate limiter need. Its error says the cause, and what to do where that is
// known. It changes nothing.
func Reach(ctx context.Context, rdb redis.UniversalClient) error {
	err := ping(ctx, rdb)
	for _, key := range probeKeys {
		if err == nil {
			err = rdb.Del(ctx, key).Err()
		}
		if err == nil {
			err = rdb.Eval(ctx, "return 0", []string{key}).Err()
		}
	}
	if err == nil {
		err = rdb.Publish(ctx, cancelChannel, "").Err()
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("reach redis: %w", err)
	if text := advice(err); text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// ping asks every master of a Cluster: asynq takes what it cannot read there for absent.
func ping(ctx context.Context, rdb redis.UniversalClient) error {
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error { return master.Ping(ctx).Err() })
	}
	return rdb.Ping(ctx).Err()
}

// advice is what to do about an error of Redis or of the connection to it, empty
// where nothing is known of it.
func advice(err error) string {
	var unknownCA x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var notTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &unknownCA):
		return "its certificate has an unknown issuer: add its authority to those of the machine (SSL_CERT_FILE names a file of them); " +
			"skip_verify=true in REDIS_URL trusts any"
	case errors.As(err, &wrongName):
		return "name the host in REDIS_URL as its certificate does"
	case errors.As(err, &notTLS):
		return "the server does not speak TLS at this port: write redis:// in the place of rediss://, or name its TLS port"
	}
	for _, known := range replies {
		if strings.Contains(err.Error(), known.text) {
			return known.advice
		}
	}
	// Last, because it says the least.
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return "something accepts the connection there and closes it: where the port is one for TLS, write rediss:// in REDIS_URL"
	}
	return ""
}

// replies are the errors of Redis that have a cause in the settings. They are told by
// their texts, because a Sentinel's are passed on as such.
var replies = []struct{ text, advice string }{
	{"NOAUTH", "it wants a password: redis://USER:PASSWORD@HOST, which behind a Sentinel is the Sentinel's own; " +
		"that of the servers behind it is ?username=USER&password=PASSWORD"},
	{"WRONGPASS", "correct the user and the password in REDIS_URL, with special characters as %XX; " +
		"behind a Sentinel, redis://USER:PASSWORD@ is for the Sentinel, and ?username=&password= for the servers"},
	{"without any password configured", "it has no password: leave that out of REDIS_URL; " +
		"behind a Sentinel, redis://USER:PASSWORD@ is for the Sentinel, and ?username=&password= for the servers"},
	{"NOPERM", "its user needs the keys asynq:* and revalidator:*, the channel asynq:* and these commands: " +
		"ACL SETUSER NAME on '>PASSWORD' '~asynq:*' '~revalidator:*' '&asynq:*' +@all -@admin -@dangerous +info"},
	{"READONLY", "it is a replica: name the master in REDIS_URL, or a Sentinel with ?master_name="},
	{"MOVED ", "it is a node of a Cluster: name one more node in REDIS_URL with ?addr=HOST:PORT"},
	{"cluster support disabled", "it is no Cluster: leave ?addr= out of REDIS_URL"},
	{"unknown command 'del'", "it is a Sentinel: name its master in REDIS_URL with ?master_name="},
	{"unknown command 'DEL'", "it is a Sentinel: name its master in REDIS_URL with ?master_name="},
	{"DB index is out of range", "it has no such database: the number at the end of REDIS_URL is too large"},
	{"invalid response", "it is no Redis, or its port is one for TLS: then write rediss:// in REDIS_URL"},
}
