package main

import (
	"strings"
	"testing"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/terminal"
)

// TestFailedReceiptsAreListed follows the exit code 3 of a run to the receipts that
// failed in it.
func TestFailedReceiptsAreListed(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 4)
	s.set("REVALIDATOR_RETRY_LIMIT", "1")
	s.transcript.Reset()
	s.must(t, "receipts", "list", "--due")
	if err := sim.SetFaults([]applesim.Rule{{Fault: applesim.FaultHTTP, Rate: 1, Status: 503}}); err != nil {
		t.Fatal(err)
	}
	if o := s.run(t, "run", "--worker", "--quiet"); o.code != terminal.ExitFailures || !strings.Contains(o.stderr, "'revalidator receipts list --failed --run 1'") {
		t.Errorf("exit code %d, want %d and the command that lists what failed:\n%s", o.code, terminal.ExitFailures, o.stderr)
	}
	s.must(t, "receipts", "list", "--failed", "--run", "1")
	s.must(t, "receipts", "list", "--run", "1", "--limit", "2")
	s.must(t, "receipts", "list", "--last-class", "server_error", "--app", readerApp)
	s.must(t, "receipts", "list", "--last-class", "timeout")
	if err := sim.SetFaults(nil); err != nil {
		t.Fatal(err)
	}
	s.must(t, "backfill", "--all", "--worker", "--quiet")
	s.must(t, "receipts", "list", "--failed", "--run", "1")
	s.exec(t, `UPDATE receipts SET state = 'malformed', last_error = 'receipt_malformed' WHERE id = 2`)
	s.must(t, "receipts", "list", "--quarantined")
	s.must(t, "receipts", "list", "--quarantined", "--failed")
	golden(t, "find.txt", s.transcript.String())
}

// TestUnknownValues has filters that name what there is not: each is an error of usage
// with a suggestion, and no empty success.
func TestUnknownValues(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 4)
	s.transcript.Reset()
	ids := writeFile(t, "ids", "1\n77\n99\n")
	for _, line := range []string{
		"receipts list --app com.example.raeder",
		"receipts list --state valud",
		"receipts list --customer customer-000002",
		"receipts list --last-class time_out",
		"receipts list --run 99",
		"receipts list --run 0",
		"receipts list --limit 0",
		"receipts quarantined --reason bogus",
		"receipts quarantined --reason panicky --app " + readerApp,
		"receipts quarantined --app nope",
		"receipts release --all --reason malfomed",
		"receipts recheck --customer nobody",
		"receipts forget --customer nobody --yes",
		"backfill --customer customer-0000002,nobody --dry-run",
		"backfill --customer customer-0000002,nobody --detach",
		"backfill --ids " + ids + " --dry-run",
		"backfill --ids " + ids + " --detach",
	} {
		if o := s.run(t, strings.Fields(line)...); o.code != terminal.ExitUsage || o.stdout != "" {
			t.Errorf("%s: got exit code %d and %q on standard output", line, o.code, o.stdout)
		}
	}
	golden(t, "unknown.txt", strings.ReplaceAll(s.transcript.String(), ids, "ids.txt"))
}
