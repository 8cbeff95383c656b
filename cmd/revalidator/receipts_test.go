package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// TestReceipts lists, shows and rechecks receipts after a run.
func TestReceipts(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openStories(t)
	s.importedLongAgo(t)
	s.must(t, "run", "--worker", "--quiet")
	id := s.idOf(t, 1)
	s.transcript.Reset()
	s.must(t, "receipts", "list", "--customer", "customer-0000001")
	s.must(t, "receipts", "list", "--state", "quarantined")
	s.must(t, "receipts", "show", id)
	s.must(t, "receipts", "recheck", id)
	s.must(t, "receipts", "recheck", "--customer", "customer-0000002", "--json")
	for _, args := range [][]string{
		{"show", "0"}, {"show", "x"}, {"show", "999"}, {"list", "--state", "fine"}, {"list", "--limit", "0"},
		{"recheck"}, {"recheck", id, "--customer", "customer-1"}, {"recheck", "999"}, {"recheck", "--customer", "nobody"},
		{"forget"}, {"forget", "--customer", "nobody", "--yes"}, {"forget", "--customer", "customer-0000001"},
	} {
		if o := s.run(t, append([]string{"receipts"}, args...)...); o.code != terminal.ExitUsage && o.code != terminal.ExitFailure || o.stdout != "" {
			t.Errorf("%q: got exit code %d and %q on standard output", args, o.code, o.stdout)
		}
	}
	s.must(t, "receipts", "forget", "--customer", "customer-0000001", "--yes")
	text := numberless(s.transcript.String())
	checkWidth(t, regexp.MustCompile(`(?m)^ *".*$`).ReplaceAllString(results(text), ""))
	golden(t, "receipts.txt", text)
}

// TestQuarantine lists what is quarantined, and releases it piece by piece.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 10)
	s.must(t, "receipts", "quarantined")
	s.exec(t, `UPDATE receipts SET next_check_at = NULL, next_check_rule = 'quarantined', consecutive_failures = 3, last_error = 'panicked', state = 'quarantined' WHERE id <= 3`)
	s.exec(t, `UPDATE receipts SET next_check_at = '2030-01-01 12:00', next_check_rule = 'confirm', last_error = 'receipt_malformed', state = 'malformed' WHERE id IN (5, 6, 7)`)
	s.transcript.Reset()
	s.must(t, "receipts", "quarantined", "--limit", "5")
	s.must(t, "receipts", "quarantined", "--app", fitnessApp, "--reason", "panicked")
	s.must(t, "receipts", "quarantined", "--reason", "wrong_app")
	s.must(t, "receipts", "quarantined", "--json", "--limit", "1")
	s.must(t, "receipts", "release", "1", "4")
	s.must(t, "receipts", "release", "--all", "--reason", "malformed")
	s.must(t, "receipts", "release", "--app", readerApp, "--json")
	s.must(t, "receipts", "release", "--all")
	s.must(t, "receipts", "release", "--all")
	for _, args := range [][]string{
		{"quarantined", "--limit", "0"}, {"release"}, {"release", "1", "--all"}, {"release", "--all", "--app", readerApp},
		{"release", "x"}, {"release", "1", "999"}, {"release", "--app", "com.example.raeder"}, {"quarantined", "--app", "com.example.raeder"},
	} {
		if o := s.run(t, append([]string{"receipts"}, args...)...); o.code != terminal.ExitUsage && o.code != terminal.ExitFailure || o.stdout != "" {
			t.Errorf("%q: got exit code %d and %q on standard output", args, o.code, o.stdout)
		}
	}
	text := hashes.ReplaceAllString(s.transcript.String(), "<hash>")
	checkWidth(t, regexp.MustCompile(`(?m)^ *".*$`).ReplaceAllString(results(text), ""))
	golden(t, "quarantine.txt", text)
}

var hashes = regexp.MustCompile(`[0-9a-f]{64}`)

// numberless takes away what depends on the hash of a receipt.
func numberless(text string) string {
	for pattern, name := range map[string]string{
		`Receipt \d+ `: "Receipt <id> ", `(show|recheck) \d\d?\b`: "$1 <id>", `(?m)^\d+ +com`: "<id> com",
		`"id": \d+`: `"id": <id>`, `[0-9a-f]{64}`: "<hash>",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, name)
	}
	return text
}

// TestReceiptsPages goes through all receipts page by page.
func TestReceiptsPages(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openStories(t)
	var seen []int64
	for after := "0"; after != ""; {
		o := s.must(t, "receipts", "list", "--limit", "5", "--json", "--quiet", "--after", after)
		var page report.ReceiptPage
		if err := json.Unmarshal([]byte(o.stdout), &page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Receipts {
			seen = append(seen, r.ID)
		}
		after = ""
		if page.NextAfter != nil {
			after = string(jsonOf(t, page.NextAfter))
		}
		if o.stderr != "" {
			t.Errorf("--quiet: got %q", o.stderr)
		}
	}
	want := make([]int64, len(stories()))
	for i := range want {
		want[i] = int64(i + 1)
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("receipts of all pages (-want +got):\n%s", diff)
	}
}

func jsonOf(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestReceiptsForget removes one customer, and nothing of the others.
func TestReceiptsForget(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openStories(t)
	s.importedLongAgo(t)
	s.must(t, "run", "--worker", "--quiet")
	var gone repository.Forgotten
	o := s.must(t, "receipts", "forget", "--customer", "customer-0000002", "--yes", "--json")
	if err := json.Unmarshal([]byte(o.stdout), &gone); err != nil {
		t.Fatal(err)
	}
	if gone.Receipts != 1 || gone.Bytes == 0 || gone.Subscriptions != 1 || gone.Events == 0 || gone.Kept != 0 {
		t.Errorf("got %+v, want one receipt with its bytes, subscription and events", gone)
	}
	if o := s.run(t, "explain", "400000000400001"); o.code != terminal.ExitFailure {
		t.Errorf("the subscription is still there:\n%s", o.stdout)
	}
	if got, want := s.rows(t)["receipts"], len(stories())-1; got != want {
		t.Errorf("receipts: got %d, want %d", got, want)
	}
}

// TestReceiptsForgetPrompt asks on a terminal, and takes only a yes for one.
func TestReceiptsForgetPrompt(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openStories(t)
	tests := []struct {
		answer   string
		code     int
		receipts int
	}{
		{"n", terminal.ExitFailure, len(stories())},
		{"", terminal.ExitFailure, len(stories())},
		{"y", terminal.ExitOK, len(stories()) - 1},
	}
	for _, test := range tests {
		term := newTerminal(t)
		var stdout bytes.Buffer
		ended := make(chan int, 1)
		go func() {
			args := []string{"receipts", "forget", "--customer", "customer-0000004"}
			ended <- run(t.Context(), args, term.program, &stdout, term.program, s.env)
		}()
		term.screen.waitFor(t, `Remove 1 receipts of customer "customer-0000004".*\[y/N\] `)
		if _, err := term.person.WriteString(test.answer + "\n"); err != nil {
			t.Fatal(err)
		}
		if code := <-ended; code != test.code || (stdout.Len() > 0) != strings.HasPrefix(test.answer, "y") {
			t.Errorf("%q: got exit code %d and %q on standard output, want %d", test.answer, code, stdout.String(), test.code)
		}
		if got := s.rows(t)["receipts"]; got != test.receipts {
			t.Errorf("%q: got %d receipts, want %d", test.answer, got, test.receipts)
		}
		term.close()
	}
}
