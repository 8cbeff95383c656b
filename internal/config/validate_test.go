package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"revalidator/internal/config"
	"revalidator/internal/secret"
)

// split takes "A=1;B=2" as an environment.
func split(environ string) []string { return strings.Split(environ, ";") }

// TestSimulatedClock is refused wherever anything but a simulator on this machine
// could be asked.
func TestSimulatedClock(t *testing.T) {
	t.Parallel()
	const production, sandbox, clock = "http://127.0.0.1:8081/production", "https://[::1]:8081/sandbox", "http://127.0.0.1:8081/control/clock"
	for name, test := range map[string]struct {
		production, sandbox, clock string
		want                       string
	}{
		"all on this machine":           {production, sandbox, clock, ""},
		"no clock":                      {production, "https://sandbox.itunes.apple.com/verifyReceipt", "", ""},
		"Apple's production":            {"https://buy.itunes.apple.com/verifyReceipt", sandbox, clock, "REVALIDATOR_APPLE_PRODUCTION_URL must be at a loopback address"},
		"Apple's sandbox":               {production, "https://sandbox.itunes.apple.com/verifyReceipt", clock, "REVALIDATOR_APPLE_SANDBOX_URL must be at a loopback address"},
		"a name in a container network": {"http://applesim:8081/production", sandbox, clock, "REVALIDATOR_APPLE_PRODUCTION_URL must be at a loopback address"},
		"a name that may lead anywhere": {production, "http://localhost:8081/sandbox", clock, "REVALIDATOR_APPLE_SANDBOX_URL must be at a loopback address"},
		"a clock elsewhere":             {production, sandbox, "http://10.0.0.1/control/clock", "the clock must be at a loopback address"},
		"a clock without an address":    {production, sandbox, "simulator", "the clock must be at a loopback address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environ := []string{
				"REVALIDATOR_APPLE_PRODUCTION_URL=" + test.production, "REVALIDATOR_APPLE_SANDBOX_URL=" + test.sandbox,
				"REVALIDATOR_CLOCK_URL=" + test.clock,
			}
			switch _, err := config.Load(environ); {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want it accepted", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]string{
		"DATABASE_URL=mysql://u:" + marker + "@db/x":                       "DATABASE_URL: want postgres://",
		"REDIS_URL=http://:" + marker + "@redis":                           "REDIS_URL: want redis://",
		"REDIS_URL=redis://:%" + marker + "@redis":                         "REDIS_URL: want redis://",
		"REDIS_URL=redis://redis/0?master_name=m&" + marker + "=1":         "read as sentinel",
		"REDIS_URL=redis://redis/0?addr=other:1&" + marker + "=1":          "read as cluster",
		"REDIS_URL=redis://redis/0?read_timeout=-1":                        "cannot be switched off",
		"REDIS_URL=redis://redis/0?addr=other:1&write_timeout=-1":          "cannot be switched off",
		"REDIS_URL=redis://redis/0?master_name=m&addr=s:1&read_timeout=-1": "cannot be switched off",
		"REVALIDATOR_LOG_FORMAT=xml":                                       "want text or json",
		"REVALIDATOR_APPLE_PRODUCTION_URL=buy.itunes.apple.com":            "want https://host/path",
		"REVALIDATOR_APPLE_PRODUCTION_URL=http://buy.itunes.apple.com":     "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://10.0.0.1/x":                  "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://applesim:8081/x":             "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://localhost:8081/x":            "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://buy。itunes。apple。com/x":      "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://[2001:db8::1%25eth0]/x":      "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://[::1%25eth0]/x":              "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://167772161/x":                 "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://0x0a000001/x":                "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://127.1/x":                     "want https",
		"REVALIDATOR_APPLE_SANDBOX_URL=https://u:" + marker + "@h/x":       "without user",
		"REVALIDATOR_APPLE_SANDBOX_URL=ftp://localhost/x":                  "want https",
		"REVALIDATOR_SCHEDULE=0 2 * *":                                     "not a cron expression",
		"REVALIDATOR_SCHEDULE=@every 1h":                                   "no fixed times",
		"REVALIDATOR_SCHEDULE=TZ=UTC 0 2 * * *":                            "REVALIDATOR_TIME_ZONE",
		"REVALIDATOR_SCHEDULE=0 0 30 2 *":                                  "never comes",
		"REVALIDATOR_UI_ADDR=8080":                                         "not host:port",
		"REVALIDATOR_UI_ADDR=localhost:99999":                              "not host:port",
		"REVALIDATOR_METRICS_ADDR=localhost":                               "not host:port",
		"REVALIDATOR_UI_PATH=queues":                                       "does not begin with /",
		"REVALIDATOR_UI_USER=ops":                                          "REVALIDATOR_UI_USER and REVALIDATOR_UI_PASSWORD go together",
		"REVALIDATOR_UI_PASSWORD=" + marker:                                "REVALIDATOR_UI_USER and REVALIDATOR_UI_PASSWORD go together",
		"REVALIDATOR_UI_USER=a:b;REVALIDATOR_UI_PASSWORD=" + marker:        "want no colon",
		"REVALIDATOR_UI_HOSTS=ops.example.com,https://x":                   "REVALIDATOR_UI_HOSTS: \"https://x\" is not a host name",
		"REVALIDATOR_UI_HOSTS=ops.example.com:443":                         "without port",
		"REVALIDATOR_UI_READ_WRITE=maybe":                                  "not true or false",
		"REVALIDATOR_RETENTION=-1s":                                        "want at least 0",
		"REVALIDATOR_CONCURRENCY=0":                                        "want at least 1",
		"REVALIDATOR_MAX_REPLY_TEXT_BYTES=20":                              "want 64 to 1024",
		"REVALIDATOR_MAX_REPLY_TEXT_BYTES=2000":                            "want 64 to 1024",
		"REVALIDATOR_BATCH_DELAY=-1ms":                                     "want at least 0",
		"REVALIDATOR_RETRY_BASE=1ms":                                       "want at least 1s",
		"REVALIDATOR_SHUTDOWN_TIMEOUT=60s":                                 "longer than REVALIDATOR_APPLE_TIMEOUT",
		"REVALIDATOR_CLAIM_LEASE=150s":                                     "REVALIDATOR_CLAIM_LEASE must be longer",
		"REVALIDATOR_RETRY_MAX=29s":                                        "REVALIDATOR_RETRY_MAX must not be shorter",
		"REVALIDATOR_LIMITER_WAIT=29s":                                     "REVALIDATOR_LIMITER_WAIT must not be shorter",
		"REVALIDATOR_QUEUE_DEPTH=515":                                      "REVALIDATOR_QUEUE_DEPTH must not be less",
		"REVALIDATOR_LARGE_RECEIPT_BYTES=3145729":                          "REVALIDATOR_LARGE_RECEIPT_BYTES must not be more",
		"REVALIDATOR_REQUEST_LIMIT_MARGIN=0":                               "want at least 1",
		"REVALIDATOR_QUARANTINE_STOP_RECEIPTS=0":                           "want at least 1",
		"REVALIDATOR_QUARANTINE_STOP_PERCENT=101":                          "must not be more than 100",
		"REVALIDATOR_CLOCK_TOLERANCE=59s":                                  "REVALIDATOR_CLOCK_TOLERANCE must not be shorter",
		"REVALIDATOR_CLOCK_TOLERANCE=0s":                                   "want at least 1s",
		"REVALIDATOR_APPLE_ROOTS=roots.pem":                                "REVALIDATOR_APPLE_ROOTS: other roots than Apple's are for development: REVALIDATOR_APPLE_PRODUCTION_URL must be at a loopback address",
		"REVALIDATOR_CLOCK_URL=http://127.0.0.1:8081/control/clock":        "REVALIDATOR_APPLE_PRODUCTION_URL must be at a loopback address",
		"REVALIDATOR_CONCURRENCY=-1;REVALIDATOR_UI_PATH=x":                 "REVALIDATOR_UI_PATH: \"x\" does not begin with /\nREVALIDATOR_CONCURRENCY",
	} {
		t.Run(environ, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(split(environ))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want %q in it", err, want)
			}
			if strings.Contains(err.Error(), marker) {
				t.Errorf("error shows the secret: %v", err)
			}
		})
	}
}

func TestLoadAccepts(t *testing.T) {
	t.Parallel()
	for _, environ := range []string{
		"DATABASE_URL=postgresql://u@db/x?sslmode=require",
		"REDIS_URL=unix:///run/redis.sock?db=2",
		"REVALIDATOR_APPLE_PRODUCTION_URL=http://127.0.0.1:8081/verifyReceipt",
		"REVALIDATOR_APPLE_PRODUCTION_URL=http://[::1]:8081/verifyReceipt",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://[::ffff:127.0.0.1]:8081/verifyReceipt",
		"REVALIDATOR_SCHEDULE=@daily",
		"REVALIDATOR_SCHEDULE=*/15 1-5 * * mon-fri",
		"REVALIDATOR_CATCH_UP=0",
		"REVALIDATOR_SECRET_AGE=0",
		"REVALIDATOR_SHUTDOWN_TIMEOUT=60.001s",
		"REVALIDATOR_QUEUE_DEPTH=516",
		"REVALIDATOR_UI_PATH=/ops/queue/",
	} {
		t.Run(environ, func(t *testing.T) {
			t.Parallel()
			if _, err := config.Load(split(environ)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTopology(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]config.Topology{
		"redis://redis:6379/0":                                 config.TopologySingle,
		"redis://redis/0?dial_timeout=3s":                      config.TopologySingle,
		"rediss://sentinel:26379/0?master_name=revalidator":    config.TopologySentinel,
		"redis://s1/0?addr=s2:26379&master_name=m":             config.TopologySentinel,
		"redis://node1:6379?addr=node2:6379&addr=node3:6379":   config.TopologyCluster,
		"redis://node1:6379?dial_timeout=3s&addr=node2:6379":   config.TopologyCluster,
		"redis://:master_name=x@redis/0?client_name=addr=here": config.TopologySingle,
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			if got := (config.Redis{URL: secret.New(url)}).Topology(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestRequire(t *testing.T) {
	t.Parallel()
	var empty config.Config
	full, err := config.Load([]string{"DATABASE_URL=postgres://db/x", "REVALIDATOR_KEYS=" + marker})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		err      error
		variable string
	}{
		"database": {empty.RequireDatabase(), "DATABASE_URL"},
		"keys":     {empty.RequireKeys(), "REVALIDATOR_KEYS"},
	} {
		if !errors.Is(test.err, config.ErrNotSet) || !strings.Contains(fmt.Sprint(test.err), test.variable) {
			t.Errorf("%s: got %v, want ErrNotSet that names %s", name, test.err, test.variable)
		}
	}
	if err := errors.Join(full.RequireDatabase(), full.RequireKeys()); err != nil {
		t.Errorf("with both set: %v", err)
	}
}
