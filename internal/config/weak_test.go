package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/config"
)

func TestWeaknesses(t *testing.T) {
	t.Parallel()
	secretFile := func(mode os.FileMode) string {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte("redis://127.0.0.1/0"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return file
	}
	const database = "DATABASE_URL=postgres://u:p@"
	for name, test := range map[string]struct {
		environ []string
		want    []string
	}{
		"nothing set":            {nil, nil},
		"a file for all":         {[]string{"REDIS_URL_FILE=" + secretFile(0o644)}, []string{"REDIS_URL_FILE"}},
		"a file for a group":     {[]string{"REDIS_URL_FILE=" + secretFile(0o440)}, nil},
		"Postgres elsewhere":     {[]string{database + "db.example.com/x?sslmode=disable"}, []string{"DATABASE_URL"}},
		"Postgres by a name":     {[]string{database + "postgres/x?sslmode=prefer"}, []string{"DATABASE_URL"}},
		"Postgres by words":      {[]string{"DATABASE_URL=host=10.0.0.1 user=u dbname=x sslmode=disable"}, []string{"DATABASE_URL"}},
		"Postgres with TLS":      {[]string{database + "db.example.com/x?sslmode=verify-full"}, nil},
		"Postgres by default":    {[]string{database + "db.example.com/x"}, nil},
		"Postgres here":          {[]string{database + "127.0.0.1/x?sslmode=disable"}, nil},
		"Postgres at a socket":   {[]string{"DATABASE_URL=host=/run/postgresql user=u dbname=x sslmode=disable"}, nil},
		"Redis elsewhere":        {[]string{"REDIS_URL=redis://redis.example.com/0"}, []string{"REDIS_URL"}},
		"Redis elsewhere by TLS": {[]string{"REDIS_URL=rediss://redis.example.com/0"}, nil},
		"both on a private network": {[]string{database + "postgres/x?sslmode=disable", "REDIS_URL=redis://redis:6379/0",
			"REVALIDATOR_PRIVATE_HOSTS=postgres,redis"}, nil},
		"one of them": {[]string{database + "db.example.com/x?sslmode=disable", "REDIS_URL=redis://redis:6379/0",
			"REVALIDATOR_PRIVATE_HOSTS=redis"}, []string{"DATABASE_URL"}},
		"Redis behind a Sentinel": {[]string{"REDIS_URL=redis://10.0.0.1:26379?master_name=m"}, []string{"REDIS_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Load(test.environ)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range c.Weaknesses() {
				got = append(got, w.Setting)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("weak settings (-want +got):\n%s", diff)
			}
		})
	}
}
