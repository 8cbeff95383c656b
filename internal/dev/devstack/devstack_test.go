package devstack

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// needs ends the test where a program is not to be had: a skip on a laptop, a
// failure in CI.
func needs(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok, for at most a minute.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after a minute: %s", what)
		}
	}
}

func TestOnFreePort(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	tests := []struct {
		name    string
		answers []error // of one start after another
		want    error
		starts  int
	}{
		{"first port", []error{nil}, nil, 1},
		{"port taken once", []error{errExited, nil}, nil, 2},
		{"port taken always", []error{errExited, errExited, errExited, nil}, errExited, 3},
		{"another fault", []error{broken, nil}, broken, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var ports []int
			_, port, err := onFreePort(t.Context(), func(_ context.Context, port int) (*process, error) {
				ports = append(ports, port)
				return &process{}, test.answers[len(ports)-1]
			})
			if !errors.Is(err, test.want) {
				t.Errorf("error: got %v, want %v", err, test.want)
			}
			if len(ports) != test.starts {
				t.Errorf("starts: got %d, want %d", len(ports), test.starts)
			}
			if err == nil && port != ports[len(ports)-1] {
				t.Errorf("port: got %d, want the last of %v", port, ports)
			}
		})
	}
}

func TestNewestFirst(t *testing.T) {
	// Not parallel: the pattern is relative, as a temporary folder's own name
	// has digits.
	t.Chdir(t.TempDir())
	for _, folder := range []string{"pg/9.6/bin", "pg/15/bin", "pg/16/bin", "pg/odd/bin"} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"pg/16/bin", "pg/15/bin", "pg/9.6/bin", "pg/odd/bin"}
	if diff := cmp.Diff(want, newestFirst("pg/*/bin")); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
}
