package devstack

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine is a Debian in memory.
type machine struct {
	lacks   map[Tool]bool
	fails   int // how many times apt-get fails first
	useless bool
	calls   []string
}

func (m *machine) apt(_ context.Context, _ io.Writer, arguments ...string) error {
	m.calls = append(m.calls, strings.Join(arguments, " "))
	if m.fails > 0 {
		m.fails--
		return errors.New("mirror is away")
	}
	if arguments[0] == "install" && !m.useless {
		clear(m.lacks)
	}
	return nil
}

func TestInstall(t *testing.T) {
	t.Parallel()
	const (
		update  = "update"
		install = "install --yes --no-install-recommends redis-server gcc libc6-dev"
	)
	tests := []struct {
		name      string
		machine   machine
		forbidden bool
		want      []string
		err       error
	}{
		{"nothing is missing", machine{}, false, nil, nil},
		{"not root", machine{lacks: map[Tool]bool{ToolRedis: true}}, true, nil, ErrNotInstalled},
		{"installed", machine{lacks: map[Tool]bool{ToolRedis: true, ToolCompiler: true}}, false, []string{update, install}, nil},
		{"at the second try", machine{lacks: map[Tool]bool{ToolRedis: true, ToolCompiler: true}, fails: 1}, false, []string{update, update, install}, nil},
		{"no mirror", machine{lacks: map[Tool]bool{ToolRedis: true}, fails: 9}, false, []string{update, update, update}, ErrNotInstalled},
		{"missing after all", machine{lacks: map[Tool]bool{ToolRedis: true, ToolCompiler: true}, useless: true}, false, []string{update, install}, ErrNotInstalled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := test.machine
			err := debian{
				output:    t.Output(),
				installed: func(tool Tool) bool { return !m.lacks[tool] },
				allowed:   !test.forbidden,
				policy:    filepath.Join(t.TempDir(), "policy-rc.d"),
				apt:       m.apt,
			}.install(t.Context(), []Tool{ToolRedis, ToolCompiler, ToolPostgres})
			if !errors.Is(err, test.err) {
				t.Errorf("error: got %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, m.calls); diff != "" {
				t.Errorf("calls of apt-get (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithoutServices(t *testing.T) {
	t.Parallel()
	const own = "#!/bin/sh\nexit 0\n"
	tests := []struct {
		name  string
		files map[string]string // before
		want  map[string]string // after
	}{
		{"no policy", nil, map[string]string{}},
		{"a policy of the machine's own", map[string]string{"policy": own}, map[string]string{"policy": own}},
		{"after a run that was killed", map[string]string{"policy": policyText, "policy.kept": own}, map[string]string{"policy": own}},
		{"after a run that was killed, with nothing kept", map[string]string{"policy": policyText}, map[string]string{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			for name, text := range test.files {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			broken := errors.New("broken")
			err := withoutServices(filepath.Join(folder, "policy"), func() error {
				if got := contents(t, folder)["policy"]; got != policyText {
					t.Errorf("the policy meanwhile: got %q, want %q", got, policyText)
				}
				return broken
			})
			if !errors.Is(err, broken) {
				t.Errorf("error: got %v, want that of the act", err)
			}
			if diff := cmp.Diff(test.want, contents(t, folder)); diff != "" {
				t.Errorf("files after it (-want +got):\n%s", diff)
			}
		})
	}
}

func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts[entry.Name()] = string(text)
	}
	return texts
}
