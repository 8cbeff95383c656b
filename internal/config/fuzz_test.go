package config_test

import (
	"strings"
	"testing"

	"revalidator/internal/config"
)

// FuzzLoad reads settings from any environment: it never panics, takes nothing
// that would not work, and shows no value of what is secret.
func FuzzLoad(f *testing.F) {
	for _, setting := range config.Settings() {
		f.Add(setting.Env, setting.Default)
		f.Add(setting.Env, "")
		f.Add(setting.Env+"_FILE", "/does/not/exist")
	}
	for name, value := range map[string]string{
		"DATABASE_URL":                  "host=/run/postgres user='o\\'brien' password=" + marker,
		"REDIS_URL":                     "rediss://:" + marker + "@a:1?addr=b:2&read_timeout=-1",
		"REVALIDATOR_TIME_ZONE":         "Europe/Berlin",
		"REVALIDATOR_SCHEDULE":          "*/5 0-3,5 * JAN-DEC MON#1",
		"REVALIDATOR_LOG_LEVEL":         "warn+2",
		"REVALIDATOR_QUEUE_DEPTH":       "99999999999999999999",
		"REVALIDATOR_RETRY_MAX":         "2540400h10m10.000000001s",
		"REVALIDATOR_UI_HOSTS":          "a,b,,c:80",
		"REVALIDATOR_UI_PATH":           "/{x}/../",
		"REVALIDATOR_APPLE_SANDBOX_URL": "http://[::1%25eth0]:80/",
		"REVALIDATOR_METRICS_ADDR":      ":-1",
	} {
		f.Add(name, value)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.HasSuffix(name, "_FILE") && value != "/does/not/exist" {
			t.Skip("it is about settings and not about files of this machine")
		}
		cfg, err := config.Load([]string{name + "=" + value})
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatal("an error without a word")
			}
			for _, setting := range config.Settings() {
				if setting.Secret && setting.Env == name && len(value) > 8 && strings.Contains(err.Error(), value) {
					t.Fatalf("error shows the secret: %v", err)
				}
			}
			return
		}
		if cfg.Queue.Depth < 1 || cfg.Worker.Concurrency < 1 || cfg.Apple.Timeout <= 0 || cfg.Schedule.TimeZone.Location == nil {
			t.Fatalf("accepted %+v", cfg)
		}
	})
}
