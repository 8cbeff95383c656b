package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// started is a running program: its lines on standard output, and how to end it.
type started struct {
	url   string
	lines *bufio.Scanner
	stop  func() error
}

func runProgram(t *testing.T, args ...string) started {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, args, writer, io.Discard)
		writer.CloseWithError(io.EOF)
		ended <- err
	}()
	p := started{lines: bufio.NewScanner(reader)}
	p.stop = func() error { cancel(); return <-ended }
	if !p.lines.Scan() {
		t.Fatalf("no first line: %v", p.stop())
	}
	p.url = p.lines.Text()
	return p
}

func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "receipts.ndjson")
	p := runProgram(t, "-customers", "3", "-start", "2026-03-01T00:00:00Z", "-speed", "0",
		"-write-receipts", file, "-print-secrets", "-latency", "1ms", "-faults", "21005=1")
	if !p.lines.Scan() {
		t.Fatal("no secrets")
	}
	bundleID, secret, _ := strings.Cut(p.lines.Text(), " ")
	if bundleID != "com.example.reader" || len(secret) != 32 {
		t.Errorf("second line: got an app %q with a secret of %d digits", bundleID, len(secret))
	}
	p.lines.Scan()
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(written), "\n")
	var line struct{ Receipt string }
	if err := json.Unmarshal([]byte(first), &line); err != nil || strings.Count(string(written), "\n") != 3 {
		t.Fatalf("written receipts: %v in %.80q", err, written)
	}
	response, err := http.Post(p.url+"/production/verifyReceipt", "application/json",
		strings.NewReader(`{"receipt-data":"`+line.Receipt+`","password":"`+secret+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if got, want := string(body), `{"status":21005}`; err != nil || got != want {
		t.Errorf("answer: got %s, %v; want %s", got, err, want)
	}
	if date := response.Header.Get("Date"); date != "Sun, 01 Mar 2026 00:00:00 GMT" {
		t.Errorf("Date: got %s, want the simulated one", date)
	}
	if err := p.stop(); err != nil {
		t.Errorf("end: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"start", []string{"-start", "yesterday"}, "start"},
		{"faults", []string{"-faults", "503"}, "503"},
		{"argument", []string{"now"}, "now"},
		{"customers", []string{"-customers", "-1"}, "customers"},
		{"app", []string{"-apps", "a,,b"}, "bundle id"},
		{"address", []string{"-customers", "0", "-addr", "nowhere"}, "listen"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := run(t.Context(), test.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error about %q", err, test.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	err := run(t.Context(), []string{"-h"}, io.Discard, &text)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(text.String(), "/control/truth") {
		t.Errorf("got %v and %.60q", err, text.String())
	}
}
