package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/config"
	"revalidator/internal/secret"
)

// marker stands in every secret of these tests; it must never show.
const marker = "marker-of-a-secret"

func defaults() config.Config {
	return config.Config{
		Redis: config.Redis{URL: secret.New("redis://127.0.0.1:6379/0")},
		Log:   config.Log{Level: slog.LevelInfo, Format: config.LogText},
		Start: config.Start{Wait: 5 * time.Minute},
		Keys:  config.Keys{SecretAge: 90 * 24 * time.Hour},
		Apple: config.Apple{
			ProductionURL:   "https://buy.itunes.apple.com/verifyReceipt",
			SandboxURL:      "https://sandbox.itunes.apple.com/verifyReceipt",
			Timeout:         60 * time.Second,
			ClockTolerance:  10 * time.Minute,
			MaxRequestBytes: 3 << 20, LimitMargin: 64 << 10,
			MaxReplyBytes: 64 << 20, MaxReplyDepth: 32, MaxReplyRecords: 50_000, MaxReplyTextBytes: 256,
			ExcludeOldTransactions: true,
		},
		Schedule: config.Schedule{
			Cron:      "0 2 * * *",
			TimeZone:  config.TimeZone{Location: time.UTC},
			RunWindow: 8 * time.Hour,
			CatchUp:   12 * time.Hour,
		},
		Queue: config.Queue{Depth: 5000, Ahead: 30 * time.Second, ClaimLease: 15 * time.Minute, OwnerLease: 30 * time.Second},
		Worker: config.Worker{
			Concurrency:      512,
			LargeConcurrency: 4, MemoryBytes: 46 << 20,
			LargeReceiptBytes: 256 << 10,
			RetryBase:         30 * time.Second,
			RetryMax:          6 * time.Hour,
			RetryLimit:        5,
			LimiterWait:       time.Minute,
			ShutdownTimeout:   70 * time.Second,
			BatchSize:         250,
			BatchDelay:        10 * time.Millisecond,
		},
		Quarantine: config.Quarantine{StopReceipts: 20, StopPercent: 5},
		Keep:       config.Keep{Runs: 90 * 24 * time.Hour, RunFailures: 30 * 24 * time.Hour, RunItems: 24 * time.Hour},
		Web:        config.Web{Addr: "127.0.0.1:8080", Path: "/", Retention: 5 * time.Minute},
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoad(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		environ []string
		change  func(*config.Config)
	}{
		"nothing":        {nil, func(*config.Config) {}},
		"empty is unset": {[]string{"REVALIDATOR_CONCURRENCY=", "DATABASE_URL_FILE="}, func(*config.Config) {}},
		"others' variables": {[]string{"HOME=/root", "=C:=C:\\", "LANG", "REVALIDATOR_CORPUS=x", "REVALIDATOR_TEST_X=1",
			"REVALIDATOR_SERVICE_HOST=10.0.0.1", "REVALIDATOR_SERVICE_PORT_HTTP=80", "REVALIDATOR_PORT=tcp://10.0.0.1:80",
			"REVALIDATOR_UI_PORT_8080_TCP_ADDR=10.0.0.1"}, func(*config.Config) {}},
		"one of each type": {
			[]string{"REVALIDATOR_LOG_LEVEL=DEBUG", "REVALIDATOR_LOG_FORMAT=json", "REVALIDATOR_APPLE_TIMEOUT=45s",
				"REVALIDATOR_MAX_REPLY_BYTES=6442450944", "REVALIDATOR_EXCLUDE_OLD_TRANSACTIONS=false",
				"REVALIDATOR_TIME_ZONE=Europe/Berlin", "REVALIDATOR_CONCURRENCY=8", "REVALIDATOR_METRICS_ADDR=:9090"},
			func(c *config.Config) {
				c.Log = config.Log{Level: slog.LevelDebug, Format: config.LogJSON}
				c.Apple.Timeout = 45 * time.Second
				c.Apple.MaxReplyBytes = 6 << 30
				c.Apple.ExcludeOldTransactions = false
				c.Schedule.TimeZone.Location = berlin
				c.Worker.Concurrency = 8
				c.Web.MetricsAddr = ":9090"
			}},
		"secrets": {[]string{"DATABASE_URL=postgres://u:" + marker + "@db/x", "REVALIDATOR_KEYS=" + marker},
			func(c *config.Config) {
				c.Database.URL = secret.New("postgres://u:" + marker + "@db/x")
				c.Keys.Keyset = secret.New(marker)
			}},
		"web pages for others": {[]string{"REVALIDATOR_UI_USER=ops", "REVALIDATOR_UI_PASSWORD_FILE=" + write(t, marker+"\n"),
			"REVALIDATOR_UI_READ_WRITE=true", "REVALIDATOR_UI_HOSTS=ops.example.com,intranet"},
			func(c *config.Config) {
				c.Web.User, c.Web.Password = "ops", secret.New(marker)
				c.Web.ReadWrite, c.Web.Hosts = true, []string{"ops.example.com", "intranet"}
			}},
		"value with =": {[]string{"DATABASE_URL=host=db password=" + marker},
			func(c *config.Config) { c.Database.URL = secret.New("host=db password=" + marker) }},
		"secret from a file": {[]string{"REVALIDATOR_KEYS_FILE=" + write(t, " "+marker+"\r\n")},
			func(c *config.Config) { c.Keys.Keyset = secret.New(" " + marker) }},
		"file over a default": {[]string{"REDIS_URL_FILE=" + write(t, "rediss://:x@redis:6380/3\n")},
			func(c *config.Config) { c.Redis.URL = secret.New("rediss://:x@redis:6380/3") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := defaults()
			test.change(&want)
			got, err := config.Load(test.environ)
			if err != nil {
				t.Fatal(err)
			}
			got.Files = config.Files{} // see TestWeaknesses
			sameZone := cmp.Comparer(func(a, b config.TimeZone) bool { return a.String() == b.String() })
			if diff := cmp.Diff(want, got, sameZone); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadReportsAllMistakesTogether(t *testing.T) {
	t.Parallel()
	_, err := config.Load([]string{"REVALIDATOR_CONCURRENCY=many", "REVALIDATOR_APPLE_TIMEOUT=60",
		"REVALIDATOR_TIME_ZONE=Mars/Olympus", "REVALIDATOR_CONCURENCY=3", "REVALIDATOR_KEYS_FILE=/does/not/exist"})
	want := strings.Join([]string{
		"REVALIDATOR_CONCURENCY is no setting; did you mean REVALIDATOR_CONCURRENCY?",
		"REVALIDATOR_KEYS_FILE: open /does/not/exist: no such file or directory",
		`REVALIDATOR_APPLE_TIMEOUT: "60" is not a duration such as 10ms, 90s or 8h`,
		`REVALIDATOR_TIME_ZONE: "Mars/Olympus" is not a time zone such as UTC or Europe/Berlin`,
		`REVALIDATOR_CONCURRENCY: "many" is not a whole number`,
	}, "\n")
	if err == nil {
		t.Fatal("got no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// Every value that can be wrong names its variable when it is.
func TestLoadNamesTheVariable(t *testing.T) {
	t.Parallel()
	for _, setting := range config.Settings() {
		t.Run(setting.Env, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load([]string{setting.Env + "=\x00" + marker + "://"})
			if setting.Env == "REVALIDATOR_KEYS" {
				return // any text: what it means is the keyring's affair
			}
			if err == nil || !strings.Contains(err.Error(), setting.Env) {
				t.Errorf("got %v, want an error that names %s", err, setting.Env)
			}
			if setting.Secret && strings.Contains(err.Error(), marker) {
				t.Errorf("error shows the secret: %v", err)
			}
		})
	}
}

func TestLoadSecretFileMistakes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, test := range map[string]struct {
		environ []string
		want    string
	}{
		"both":           {[]string{"DATABASE_URL=" + marker, "DATABASE_URL_FILE=" + write(t, marker)}, "DATABASE_URL and DATABASE_URL_FILE are both set"},
		"a folder":       {[]string{"DATABASE_URL_FILE=" + folder}, folder},
		"an empty file":  {[]string{"DATABASE_URL_FILE=" + write(t, "\n")}, "is empty"},
		"not a secret":   {[]string{"REVALIDATOR_SCHEDULE_FILE=" + marker}, "did you mean REVALIDATOR_SCHEDULE?"},
		"unknown secret": {[]string{"REVALIDATOR_KEY_FILE=" + marker}, "did you mean REVALIDATOR_KEYS_FILE?"},
		"malformed":      {[]string{"DATABASE_URL_FILE=" + write(t, "postgres://u:%"+marker+"@db")}, "DATABASE_URL: want"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(test.environ)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), marker) {
				t.Errorf("error shows the secret: %v", err)
			}
		})
	}
}
