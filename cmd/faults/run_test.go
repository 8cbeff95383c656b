package main

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args     []string
		receipts int
		wantErr  error
	}{
		"nothing":             {nil, 1200, nil},
		"short":               {[]string{"-short"}, 400, nil},
		"short over many":     {[]string{"-short", "-receipts", "5000"}, 5000, nil},
		"help":                {[]string{"-h"}, 0, flag.ErrHelp},
		"an argument":         {[]string{"worker"}, 0, errUsage},
		"a bad expression":    {[]string{"-run", "("}, 0, errUsage},
		"nobody at a time":    {[]string{"-parallel", "0"}, 0, errUsage},
		"a soak of one night": {[]string{"-soak", "10", "-nights", "1"}, 0, errUsage},
		"an hour":             {[]string{"-for", "1h"}, 1200, nil},
		"longer than a run":   {[]string{"-for", "9h"}, 0, errUsage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			o, err := parse(test.args, &stderr)
			if !errors.Is(err, test.wantErr) || err == nil && o.receipts != test.receipts {
				t.Errorf("got %d receipts and %v, want %d and %v", o.receipts, err, test.receipts, test.wantErr)
			}
		})
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), []string{"-list", "-short", "-run", "WORKER"}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if got := stdout.String(); !strings.Contains(got, "worker killed") || strings.Contains(got, "Redis emptied") {
		t.Errorf("list of the short scenarios of workers: %q", got)
	}
	stdout.Reset()
	if err := run(t.Context(), []string{"-list", "-for", "90m"}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if got := stdout.String(); !strings.Contains(got, "21002 for everybody, for 90 min") || strings.Contains(got, "a bad night") {
		t.Errorf("list of the scenarios that may last: %q", got)
	}
	if err := run(t.Context(), []string{"-run", "no such thing"}, &stdout, &stderr); err == nil {
		t.Error("no scenario is no error")
	}
}
