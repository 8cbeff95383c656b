package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/devstack"
)

// showing is a demo for few customers, that writes to files.
type showing struct {
	*demo
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
}

func begin(t *testing.T, environment map[string]string) *showing {
	t.Helper()
	create := func(name string) *os.File {
		file, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		return file
	}
	s := &showing{t: t, ended: make(chan error, 1), demo: &demo{
		stdout: create("stdout"), stderr: create("stderr"), customers: 60,
		getenv: func(name string) string { return environment[name] },
	}}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(t.Context())
	t.Cleanup(s.cancel)
	go func() { s.ended <- s.run(ctx) }()
	return s
}

func (s *showing) read(file *os.File) string {
	s.t.Helper()
	text, err := os.ReadFile(file.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// patience is longer than a demo takes on a busy machine, with the programs to
// be built.
const patience = 5 * time.Minute

// end waits until the demo has ended, and returns what it printed.
func (s *showing) end() string {
	s.t.Helper()
	select {
	case err := <-s.ended:
		s.checked(err)
	case <-time.After(patience):
		s.t.Fatalf("the demo does not end; it printed\n%s\n%s", s.read(s.stdout), s.read(s.stderr))
	}
	return s.read(s.stdout)
}

func (s *showing) checked(err error) {
	s.t.Helper()
	if errors.Is(err, devstack.ErrNotInstalled) && os.Getenv("CI") == "" {
		s.t.Skip(err)
	}
	if err != nil {
		s.t.Fatalf("%v; the demo printed\n%s\n%s", err, s.read(s.stdout), s.read(s.stderr))
	}
}

// await waits until the demo has printed what a pattern wants.
func (s *showing) await(pattern string) []string {
	s.t.Helper()
	wanted := regexp.MustCompile(pattern)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		if match := wanted.FindStringSubmatch(s.read(s.stdout)); match != nil {
			return match
		}
		select {
		case err := <-s.ended:
			s.checked(err)
			s.t.Fatalf("the demo ended without %q:\n%s", pattern, s.read(s.stdout))
		case <-timeout:
			s.t.Fatalf("%q was not printed, but\n%s\n%s", pattern, s.read(s.stdout), s.read(s.stderr))
		case <-tick.C:
		}
	}
}

// mustHaveRemovedEverything looks for what a demo could leave behind.
func (s *showing) mustHaveRemovedEverything(addresses ...string) {
	s.t.Helper()
	if _, err := os.Stat(s.folder); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("folder %s: got %v, want it gone", s.folder, err)
	}
	for _, pattern := range []string{`DATABASE_URL=(\S+)`, `REDIS_URL=(\S+)`} {
		match := regexp.MustCompile(pattern).FindStringSubmatch(s.read(s.stdout))
		if match == nil {
			s.t.Fatalf("no %s in what the demo printed", pattern)
		}
		parsed, err := url.Parse(match[1])
		if err != nil {
			s.t.Fatal(err)
		}
		addresses = append(addresses, parsed.Host)
	}
	for _, address := range addresses {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			s.t.Errorf("something still listens at %s", address)
		}
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	s := begin(t, map[string]string{"ONCE": "1"})
	text := s.end()
	for _, want := range []string{" 60 due, of which\n", " 60 succeeded\n", "\nmanual run 2 finished", "\nWhat changed:\n", "\n$ revalidator status\n", "\nReceipts       60 valid\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q was not printed, but\n%s", want, text)
		}
	}
	s.mustHaveRemovedEverything()
}

// TestCtrlC ends the demo while it shows the pages.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	s := begin(t, nil)
	address := s.await(`web UI:  http://(\S+)\n`)[1]
	s.await(`Ctrl-C ends`)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); ; {
		reply, err := http.Get("http://" + address + "/")
		if err == nil && reply.StatusCode == http.StatusOK {
			_ = reply.Body.Close()
			break
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("no page at %s: %v", address, err)
		}
	}
	s.cancel()
	s.end()
	s.mustHaveRemovedEverything(address)
}

// TestCtrlCInTheMiddle ends it while a run is under way.
func TestCtrlCInTheMiddle(t *testing.T) {
	t.Parallel()
	s := begin(t, nil)
	s.await(`\$ revalidator run\n`)
	s.cancel()
	select {
	case err := <-s.ended: // main keeps it to itself
		if err == nil {
			t.Error("an interrupted run is shown as a finished one")
		}
	case <-time.After(patience):
		t.Fatal("the demo does not end")
	}
	s.mustHaveRemovedEverything()
}
