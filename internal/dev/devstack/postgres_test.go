package devstack

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "github.com/lib/pq"
)

func TestStartPostgres(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		durable bool
		want    map[string]string
	}{
		{"throw-away", false, map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}},
		{"durable", true, map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			postgres, err := StartPostgres(t.Context(), Config{Durable: test.durable})
			needs(t, err)
			got := settings(t, postgres.URL, "fsync", "synchronous_commit", "full_page_writes")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if err := postgres.Stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
			if _, err := os.Stat(postgres.folder.path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its folder after the stop: got %v, want %v", err, os.ErrNotExist)
			}
			if answers(t, postgres.URL) {
				t.Error("it answers after the stop")
			}
		})
	}
}

func settings(t *testing.T, url string, names ...string) map[string]string {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	values := map[string]string{}
	for _, name := range names {
		var value string
		if err := db.QueryRowContext(t.Context(), `SELECT current_setting($1)`, name).Scan(&value); err != nil {
			t.Fatal(err)
		}
		values[name] = value
	}
	return values
}

func answers(t *testing.T, url string) bool {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.PingContext(t.Context()) == nil
}

func TestStartPostgresNotInstalled(t *testing.T) {
	t.Parallel()
	_, err := StartPostgres(t.Context(), Config{Folders: []string{t.TempDir()}})
	if !errors.Is(err, ErrNotInstalled) {
		t.Errorf("got %v, want %v", err, ErrNotInstalled)
	}
}

func TestStartPostgresCancelled(t *testing.T) {
	t.Parallel()
	programs, err := installedPostgres()
	needs(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartPostgres(ctx, Config{Folders: []string{programs}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestPostgresOnTakenPort(t *testing.T) {
	t.Parallel()
	programs, err := installedPostgres()
	needs(t, err)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	who, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := newFolder(os.TempDir(), who)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.remove()
	cluster := cluster{programs: programs, folder: folder.path, who: who, connections: defaultConnections, password: rand.Text()}
	if err := cluster.initialize(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.serve(t.Context(), taken.Addr().(*net.TCPAddr).Port); !errors.Is(err, errExited) {
		t.Errorf("on a taken port: got %v, want %v", err, errExited)
	}
	server, _, err := onFreePort(t.Context(), cluster.serve)
	if err != nil {
		t.Fatalf("on a free port after that: %v", err)
	}
	if err := server.stop(os.Interrupt); err != nil {
		t.Error(err)
	}
}

// TestPostgresHoldsItsFolder drops everything that the caller has of a server,
// as a garbage collection would, and sweeps.
func TestPostgresHoldsItsFolder(t *testing.T) {
	t.Parallel()
	postgres, err := StartPostgres(t.Context(), Config{})
	needs(t, err)
	t.Cleanup(func() {
		_ = postgres.server.stop(syscall.SIGQUIT)
		_ = os.RemoveAll(postgres.folder.path)
	})
	if err := postgres.folder.lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, err := lockFolder(postgres.folder.path, syscall.LOCK_NB); err == nil {
		_ = lock.Close()
		t.Error("the folder of a running server can be locked, and so be swept")
	}
}
