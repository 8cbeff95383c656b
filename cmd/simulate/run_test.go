package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	args := []string{"-subscriptions", "300", "-days", "30", "-frontier", "100"}
	if err := run(args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"MOSTLY LIVE: 300 subscriptions, 30 days", "LONG DEAD TAIL", "(a) everything every night\n", "(d) ours, hourly\n",
		"refund_sweep", "learned tail, 0.40", "(c): times fewer calls than (a), at least 20",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not have %q", want)
		}
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 90 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	var again bytes.Buffer
	if err := run(args, &again, io.Discard); err != nil || again.String() != out.String() {
		t.Errorf("a second time: %v, or another output", err)
	}
}

// TestCheck has so few lives that targets are missed.
func TestCheck(t *testing.T) {
	t.Parallel()
	err := run([]string{"-subscriptions", "40", "-days", "5", "-frontier", "0", "-check"}, io.Discard, io.Discard)
	if !errors.Is(err, errMissed) {
		t.Errorf("got %v, want %v", err, errMissed)
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"now"}, {"-subscriptions", "0"}, {"-days", "0"}, {"-days", "9999"}, {"-frontier", "-1"}, {"-leads", "late"}, {"-seed", "x"},
	} {
		if err := run(args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: got no error", args)
		}
	}
	if err := run([]string{"-h"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: got %v, want %v", err, flag.ErrHelp)
	}
}
