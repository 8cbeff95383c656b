package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/runs"
	"revalidator/internal/terminal"
)

// TestBackfillStory estimates a backfill, does one, and leaves others to be
// taken up and cancelled.
func TestBackfillStory(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 40)
	s.importedLongAgo(t)
	s.transcript.Reset()
	s.must(t, "backfill", "list")
	s.run(t, "backfill")
	s.must(t, "backfill", "--all", "--dry-run")
	s.must(t, "backfill", "--all", "--worker", "--quiet")
	s.must(t, "backfill", "--status", "expired,active", "--app", fitnessApp, "--dry-run")
	s.must(t, "backfill", "--status", "revoked", "--dry-run", "--json")
	s.run(t, "backfill", "--customer", "nobody")
	s.run(t, "backfill", "--state", "malformed")
	s.run(t, "backfill", "--state", "malformed", "--dry-run")
	s.must(t, "backfill", "--status", "expired", "--expiring", "2023-01-01..", "--checked-before", "2100-01-01", "--share", "50%", "--detach")
	s.must(t, "backfill", "list")
	s.must(t, "backfill", "cancel", "3")
	s.run(t, "backfill", "cancel", "3")
	s.run(t, "backfill", "resume", "3")
	s.run(t, "backfill", "resume", "99")
	s.must(t, "backfill", "list", "--limit", "1")
	s.must(t, "backfill", "list", "--limit", "1", "--json")
	checkWidth(t, results(s.transcript.String()))
	golden(t, "backfill.txt", s.transcript.String())
}

// TestBackfillUsage is the table of command lines that are refused before
// anything is opened.
func TestBackfillUsage(t *testing.T) {
	t.Parallel()
	ids := writeFile(t, "ids", "1\n\n 2 \nMIIT\n")
	none := writeFile(t, "none", "\n")
	tests := []struct {
		name, want string
		args       []string
	}{
		{"no filter", "--all asks about every receipt", nil},
		{"all of a filter", "--all is for every receipt", []string{"--all", "--app", readerApp}},
		{"status", `unknown status "lapsed"`, []string{"--status", "active,lapsed"}},
		{"state that is never asked about", `unknown state "xcode"`, []string{"--state", "xcode"}},
		{"class", `unknown last result "bored"`, []string{"--last-result", "bored"}},
		{"time", "a date, or how long ago", []string{"--checked-before", "yesterday"}},
		{"time ahead", "a date, or how long ago", []string{"--checked-before", "-7d"}},
		{"no range", "want FROM..UNTIL", []string{"--expiring", "2026-01-01"}},
		{"empty range", "want FROM..UNTIL", []string{"--expiring", ".."}},
		{"range backwards", "FROM must be before UNTIL", []string{"--expiring", "2026-02-01..2026-01-01"}},
		{"range of one moment", "FROM must be before UNTIL", []string{"--expiring", "2026-02-01..2026-02-01"}},
		{"side of a range", `--expiring "soon": want a date`, []string{"--expiring", "2026-02-01..soon"}},
		{"bad id", "ids, line 4: want the id of a receipt", []string{"--ids", ids}},
		{"no ids", "there is no id in it", []string{"--ids", none}},
		{"no file of ids", "no such file", []string{"--ids", none + ".not"}},
		{"share without unit", "want a percentage such as 30%", []string{"--all", "--share", "0.3"}},
		{"no share", "want a percentage such as 30%", []string{"--all", "--share", "0%"}},
		{"share of more than all", "want a percentage such as 30%", []string{"--all", "--share", "101%"}},
		{"two ways", "give one of them", []string{"--all", "--worker", "--detach"}},
		{"no such command", `unexpected argument "lst"`, []string{"lst"}},
		{"number", "not the number of a backfill", []string{"cancel", "first"}},
		{"no number", "RUN, the number of the backfill, is missing", []string{"resume"}},
		{"limit", "want at least 1", []string{"list", "--limit", "0"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := (&session{}).run(t, append([]string{"backfill"}, test.args...)...)
			if o.code != terminal.ExitUsage || !strings.Contains(o.stderr, test.want) || o.stdout != "" {
				t.Errorf("got exit code %d, %q and %q; want %d and %q", o.code, o.stdout, o.stderr, terminal.ExitUsage, test.want)
			}
			if strings.Contains(o.stderr, "MIIT") {
				t.Error("a line of the file of ids is shown, which may be a receipt")
			}
		})
	}
}

func TestBackfillOfUnknownApp(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	o := s.run(t, "backfill", "--app", "com.example.raeder", "--dry-run")
	if o.code != terminal.ExitUsage || !strings.Contains(o.stderr, `unknown app "com.example.raeder"; did you mean `+readerApp) {
		t.Errorf("got exit code %d and %q", o.code, o.stderr)
	}
}

// TestBackfillOfIDs reads ids from standard input.
func TestBackfillOfIDs(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 8)
	s.exec(t, `UPDATE receipts SET state = 'xcode' WHERE id = 4`)
	o := s.runWith(t, "3\n5\n3\n4\n", "backfill", "--ids", "-", "--worker", "--json")
	var got struct {
		Kind            runs.Kind
		State           runs.State
		Due, Done       int64
		ElapsedSeconds  float64 `json:"elapsed_seconds"`
		Events, Unknown []struct{}
	}
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || o.code != terminal.ExitOK {
		t.Fatalf("exit code %d, %v\n%s%s", o.code, err, o.stdout, o.stderr)
	}
	if got.Kind != runs.Backfill || got.State != runs.Finished || got.Due != 2 || got.Done != 2 {
		t.Errorf("got %+v, want a finished backfill of 2", got)
	}
	if want := "1 of 3 ids are of receipts that cannot be checked"; !strings.Contains(o.stderr, want) {
		t.Errorf("standard error: got %q, want %q", o.stderr, want)
	}
}

// TestBackfillInterrupted interrupts a backfill that waits for a worker, and
// resumes it with one.
func TestBackfillInterrupted(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 12)
	backfill := s.start(t, nil, "backfill", "--all")
	s.awaitClaims(t, 12)
	if code := backfill.stop(t); code != terminal.ExitFailure {
		t.Errorf("exit code: got %d, want %d", code, terminal.ExitFailure)
	}
	want := "revalidator: backfill 1 interrupted: workers finish what they have; continue with 'revalidator backfill resume 1'\n"
	if diff := cmp.Diff(want, backfill.stderr.text()); diff != "" {
		t.Errorf("standard error (-want +got)\n%s", diff)
	}
	if got := s.backfillState(t, 1); got != runs.Interrupted {
		t.Errorf("state: got %s, want %s", got, runs.Interrupted)
	}
	o := s.must(t, "backfill", "resume", "1", "--worker")
	if !strings.Contains(o.stdout, "12 succeeded") {
		t.Errorf("not all of it was done:\n%s", o.stdout)
	}
	checkAskedOnce(t, sim, 12)
}

// awaitClaims waits until so many receipts are claimed.
func (s *session) awaitClaims(t *testing.T, n int) {
	t.Helper()
	db := s.db(t)
	eventually(t, fmt.Sprintf("%d receipts are claimed", n), func() bool {
		claimed, err := db.ClaimedCount(t.Context())
		return err == nil && claimed.Total() == n
	})
}

func (s *session) backfillState(t *testing.T, id int64) runs.State {
	t.Helper()
	totals, err := s.db(t).RunTotals(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return totals.State
}

// checkAskedOnce reads the App Store's log.
func checkAskedOnce(t *testing.T, sim *applesim.Server, receipts int) {
	t.Helper()
	asked := map[string]int{}
	for entry := range sim.Log(0) {
		asked[entry.Environment+entry.ReceiptSHA256]++
	}
	for receipt, times := range asked {
		if times > 1 {
			t.Errorf("%s was asked about %d times", receipt, times)
		}
	}
	if len(asked) < receipts {
		t.Errorf("%d receipts were asked about, want %d", len(asked), receipts)
	}
}

// TestBackfillCancelled cancels a backfill while another process feeds it. Its
// tasks are on the queue then, and end without a call.
func TestBackfillCancelled(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 6)
	backfill := s.start(t, nil, "backfill", "--all")
	s.awaitClaims(t, 6)
	o := s.must(t, "backfill", "cancel", "1", "--json")
	if !strings.Contains(o.stdout, `"state": "cancelled"`) {
		t.Errorf("got %s", o.stdout)
	}
	if code := backfill.wait(t); code != terminal.ExitFailure {
		t.Errorf("exit code: got %d, want %d", code, terminal.ExitFailure)
	}
	backfill.stderr.waitFor(t, "backfill 1 is cancelled: 0 of 6 receipts were done")
	worker := s.start(t, nil, "worker")
	s.awaitClaims(t, 0)
	worker.stop(t)
	for range sim.Log(0) {
		t.Fatal("Apple was asked for a backfill that was cancelled")
	}
	if o := s.must(t, "run", "--worker"); !strings.Contains(o.stdout, "6 succeeded") {
		t.Errorf("the receipts are not free for the next run:\n%s", o.stdout)
	}
}

// TestBackfillDetached has a scheduler feed a backfill that somebody else
// opened.
func TestBackfillDetached(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 6)
	s.set("REVALIDATOR_SCHEDULE", "0 0 29 2 *")
	s.set("REVALIDATOR_CATCH_UP", "0")
	scheduler, worker := s.start(t, nil, "scheduler"), s.start(t, nil, "worker")
	scheduler.stderr.waitFor(t, "scheduler started")
	s.must(t, "backfill", "--all", "--detach")
	scheduler.stderr.waitFor(t, "run finished.* succeeded=6")
	scheduler.stop(t)
	worker.stop(t)
}

// TestBackfillBesidePausedApp does what can be done, and keeps the rest.
func TestBackfillBesidePausedApp(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 20)
	db := s.db(t)
	if _, err := db.PauseApp(t.Context(), readerApp, "maintenance", time.Now()); err != nil {
		t.Fatal(err)
	}
	if o := s.must(t, "backfill", "--all", "--dry-run"); !strings.Contains(o.stdout, readerApp+" (paused)") {
		t.Errorf("the paused app is not told of:\n%s", o.stdout)
	}
	o := s.run(t, "backfill", "--all", "--worker")
	if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "continue with 'revalidator backfill resume 1'") {
		t.Errorf("got exit code %d and %q, want %d and how to go on", o.code, o.stderr, terminal.ExitFailure)
	}
	if _, err := db.ResumeApp(t.Context(), readerApp); err != nil {
		t.Fatal(err)
	}
	o = s.must(t, "backfill", "resume", "1", "--worker")
	if !strings.Contains(o.stdout, "20 succeeded") {
		t.Errorf("not all of it was done:\n%s", o.stdout)
	}
	checkAskedOnce(t, sim, 20)
}

// TestBackfillWithFailures ends with an exit code of its own.
func TestBackfillWithFailures(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 3)
	s.set("REVALIDATOR_RETRY_LIMIT", "1")
	if err := sim.SetFaults([]applesim.Rule{{Fault: applesim.FaultHTTP, Rate: 1, Status: 503}}); err != nil {
		t.Fatal(err)
	}
	o := s.run(t, "backfill", "--state", "new", "--worker")
	if o.code != terminal.ExitFailures || !strings.Contains(o.stdout, "3 failed") {
		t.Errorf("got exit code %d, want %d\n%s%s", o.code, terminal.ExitFailures, o.stdout, o.stderr)
	}
	if o := s.must(t, "backfill", "--last-result", "server_error", "--dry-run"); !strings.Contains(o.stdout, "3  in all") {
		t.Errorf("the failures are not chosen:\n%s", o.stdout)
	}
}

func TestAbout(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{
		0.2: "about 1 s", 59: "about 59 s", 90: "about 2 min", 5400: "about 1.5 hours", 864000: "about 10.0 days",
	} {
		if got := about(seconds); got != want {
			t.Errorf("%v s: got %q, want %q", seconds, got, want)
		}
	}
}
