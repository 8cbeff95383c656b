package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"revalidator/internal/iap"
	"revalidator/internal/terminal"
)

// Data that would move a table or forge a line of it.
const (
	forged       = "customer\n99  com.example.forged\x1b[2K\u009b1A\u202eevil\x7f"
	forgedQuoted = `"customer\n99  com.example.forged\x1b[2K\u009b1A\u202eevil\x7f"`
	longRef      = "customer-of-a-backend-that-names-them-by-something-long-8231f00e-fa7f-4e2c"
)

// odd makes an installation with data that has control characters and long values.
func (s *session) odd(t *testing.T) {
	t.Helper()
	sim := s.openStories(t)
	s.must(t, "run", "--worker", "--quiet")
	s.must(t, "apps", "set", readerApp, "--name", "A reader whose name is longer than all its pages")
	r, err := sim.Receipt(0)
	if err != nil {
		t.Fatal(err)
	}
	var receipts []iap.Receipt
	for i, ref := range []string{forged, longRef} {
		receipts = append(receipts, iap.Receipt{BundleID: readerApp, CustomerRef: ref, Kind: iap.KindAppReceipt, Data: append([]byte{byte(i)}, r.Data...)})
	}
	if _, err := s.db(t).AddReceipts(t.Context(), receipts, appStart); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE subscription_events SET product_id = 'pro' || chr(8238) || 'ylhtnom.a-plan-with-a-long-name-' || id`,
		`UPDATE subscriptions SET product_id = 'pro' || chr(8238) || 'ylhtnom.a-plan-with-a-long-name'`,
		`UPDATE apps SET name = name || chr(27) || '[31m' || chr(10) || 'forged', paused_at = now(), paused_code = 'operator', paused_text = 'a reason' || chr(10) || 'forged' || chr(27) || '[31m'`,
		`UPDATE receipts SET state = 'quarantined', last_error = 'malformed', consecutive_failures = 3, next_check_at = NULL, next_check_rule = 'quarantined' WHERE last_checked_at IS NULL`,
		`UPDATE runs SET started_by = 'somebody' || chr(10) || 'forged' || chr(27) || '[31m'`,
	} {
		s.exec(t, statement)
	}
}

// lists are the commands whose tables and lines hold data of others.
var lists = []string{
	"receipts list", "receipts quarantined", "apps list", "status", "status 1", "report", "events tail", "explain 1", "secrets list", "receipts show 1", "backfill list", "doctor --offline",
}

// TestForgedLines has customers, products and texts with control characters: none
// reaches a terminal or a pipe as it is.
func TestForgedLines(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.odd(t)
	for _, line := range lists {
		o := s.run(t, strings.Fields(line)...)
		for n, text := range strings.Split(o.stdout, "\n") {
			if strings.ContainsAny(text, "\x1b\u009b\u202e\x7f") || strings.HasPrefix(text, "99 ") || strings.HasPrefix(strings.TrimSpace(text), "forged") {
				t.Errorf("%s: line %d is forged: %q", line, n, text)
			}
		}
		if o.stdout == "" {
			t.Errorf("%s: nothing was printed, but %q", line, o.stderr)
		}
	}
	if o := s.must(t, "receipts", "list"); !strings.Contains(o.stdout, forgedQuoted) {
		t.Errorf("%s is missing in %s", forgedQuoted, o.stdout)
	}
}

// TestTablesOnTerminals has long values on terminals, which are as wide as their
// lines; in a pipe, and with --wide, the values are whole.
func TestTablesOnTerminals(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.odd(t)
	onTerminal := func(columns uint16, line string) string {
		term := newTerminalOf(t, columns, 24)
		var stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(line), nil, term.program, &stderr, append(s.env, "NO_COLOR=1"))
		term.close()
		if code != terminal.ExitOK && !strings.HasPrefix(line, "doctor") {
			t.Errorf("%s: exit code %d, %s", line, code, stderr.String())
		}
		return strings.ReplaceAll(term.screen.text(), "\r", "")
	}
	for _, columns := range []uint16{60, 80, 160} {
		for _, list := range lists {
			for text := range strings.Lines(onTerminal(columns, list)) {
				text = strings.TrimSuffix(text, "\n")
				if n := utf8.RuneCountInString(text); n > int(columns) && len(strings.Fields(text)) > 2 {
					t.Errorf("%s: %d columns on a terminal of %d: %q", list, n, columns, text)
				}
			}
		}
	}
	for name, text := range map[string]string{
		"pipe": s.must(t, "receipts", "list").stdout, "--wide": onTerminal(60, "receipts list --wide"), "160 columns": onTerminal(200, "receipts list"),
	} {
		if !strings.Contains(text, longRef) {
			t.Errorf("%s: %s is cut: %s", name, longRef, text)
		}
	}
	if text := onTerminal(60, "receipts list"); !strings.Contains(text, "…") || strings.Contains(text, longRef) {
		t.Errorf("60 columns: nothing is cut: %s", text)
	}
}
