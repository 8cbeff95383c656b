package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"revalidator/internal/runs"
	"revalidator/internal/terminal"
)

// TestRunOfOperators is what people type who come to runs of each other's, and of
// processes that are gone.
func TestRunOfOperators(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 10)
	s.importedLongAgo(t)
	s.set("REVALIDATOR_LOG_LEVEL", "error")
	s.transcript.Reset()
	first := s.start(t, nil, "run", "--quiet")
	s.awaitClaims(t, 10)
	s.run(t, "run", "resume", "1") // it is fed
	s.must(t, "run", "--new", "--quiet")
	first.stop(t)
	s.record([]string{"run", "--quiet", "(interrupted)"}, outcome{first.code, "", first.stderr.text()})
	s.must(t, "status", "1")
	s.must(t, "run", "--worker")
	s.run(t, "run", "resume", "1")
	s.run(t, "run", "cancel", "1")
	s.run(t, "run", "cancel", "99")
	s.run(t, "run", "cancel", "last")
	s.exec(t, `UPDATE receipts SET next_check_at = now() - interval '1 day'`)
	s.orphan(t, s.db(t))
	s.must(t, "status")
	s.must(t, "run", "resume", "3", "--detach")
	s.must(t, "run", "cancel", "3")
	s.must(t, "status", "3", "--json")
	checkWidth(t, results(s.transcript.String()))
	golden(t, "run.txt", rate.ReplaceAllString(measured.ReplaceAllString(s.transcript.String(), "${1}<figure>"), "<pace>/s"))
}

// TestRunFollowsAnother has two people start a run at the same time. Both see it to
// its end, and there is one.
func TestRunFollowsAnother(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 12)
	s.set("REVALIDATOR_LOG_LEVEL", "error")
	var outputs [2]bytes.Buffer
	first := s.startWith(t, nil, &outputs[0], "run", "--json")
	s.awaitClaims(t, 12)
	second := s.startWith(t, nil, &outputs[1], "run", "--json")
	second.stderr.waitFor(t, `manual run 1, started by \S+@\S+, pid \d+, is running: following it to its end`)
	worker := s.start(t, nil, "worker")
	for i, p := range []*process{first, second} {
		if code := p.wait(t); code != terminal.ExitOK {
			t.Errorf("exit code of %d: %d\n%s", i+1, code, p.stderr.text())
		}
		var got runs.Totals
		if err := json.Unmarshal(outputs[i].Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.ID != 1 || got.State != runs.Finished || got.Counted() != 12 || got.Succeeded != 12 || *got.InRun != 0 {
			t.Errorf("operator %d was shown %+v, want run 1 finished with all 12", i+1, got)
		}
	}
	worker.stop(t)
	checkAskedOnce(t, sim, 12)
}

// TestRunIsTakenOverMeanwhile has a scheduler take the run over, stop feeding it, and
// come too late: the one who started it follows it, and feeds it on.
func TestRunIsTakenOverMeanwhile(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 8)
	var stdout output
	p := s.startWith(t, nil, &stdout, "run")
	s.awaitClaims(t, 8)
	s.exec(t, `UPDATE runs SET owner = 'a scheduler', owner_until = now() + interval '1 hour'`)
	p.stderr.waitFor(t, "no worker is running") // some seconds later, it is still there
	s.exec(t, `UPDATE runs SET owner_until = now() - interval '1 second'`)
	worker := s.start(t, nil, "worker")
	if code := p.wait(t); code != terminal.ExitOK || !strings.Contains(stdout.text(), "8 succeeded") {
		t.Errorf("exit code %d\n%s%s", code, stdout.text(), p.stderr.text())
	}
	worker.stop(t)
}

// TestRunAfterAKill has a process killed that fed a run: the next 'run' does what is
// left, instead of saying that nothing is due.
func TestRunAfterAKill(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 9)
	s.orphan(t, s.db(t))
	s.exec(t, `UPDATE runs SET cutoff = (SELECT max(next_check_at) FROM receipts)`) // by the App Store's clock
	o := s.must(t, "run", "--worker", "--json")
	var got runs.Totals
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != 1 || got.Kind != runs.Nightly || got.Succeeded != 9 || got.State != runs.Finished {
		t.Errorf("got %+v, want the nightly run 1 finished with all 9", got)
	}
	if want := "no process feeds nightly run 1, started by ann@desk, pid 7: taking it over"; !strings.Contains(o.stderr, want) {
		t.Errorf("standard error: got %q, want %q", o.stderr, want)
	}
}

// TestRunIsCutOff ends a run before its workers have: what they do then still counts.
func TestRunIsCutOff(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 5)
	s.set("REVALIDATOR_RUN_WINDOW", "1s")
	o := s.run(t, "run", "--json")
	if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "run 1 is cut off, because its window is over") {
		t.Errorf("exit code %d, %q", o.code, o.stderr)
	}
	figures := func(text string) [6]any {
		var got runs.Totals
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		return [6]any{got.State, got.Counted(), got.Succeeded, got.Failed, got.Released, *got.InRun}
	}
	if got, want := figures(o.stdout), [6]any{runs.CutOff, int64(5), int64(0), int64(0), int64(0), int64(5)}; got != want {
		t.Errorf("cut off: got %v, want %v", got, want)
	}
	worker := s.start(t, nil, "worker")
	s.awaitClaims(t, 0)
	worker.stop(t)
	if got, want := figures(s.must(t, "status", "1", "--json").stdout), [6]any{runs.CutOff, int64(5), int64(5), int64(0), int64(0), int64(0)}; got != want {
		t.Errorf("after the workers: got %v, want %v", got, want)
	}
}
