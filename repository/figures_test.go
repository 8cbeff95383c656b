package repository_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"

	"revalidator/internal/claim"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/quarantine"
	"revalidator/repository"
)

// ward is a database whose app has receipts that Apple accepted, with what it
// says of the app's quarantining.
type ward struct {
	fixture
	sql *sqlx.DB

	mu      sync.Mutex
	changes []quarantine.Change
}

func newWard(t *testing.T, receipts int) *ward {
	t.Helper()
	t.Parallel()
	w := &ward{}
	url := repositorytest.URL(t)
	db, err := repository.Open(repository.Config{URL: url, QuarantineChanged: func(c quarantine.Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, c)
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.fixture = fixture{db, t}
	w.sql, err = sqlx.Open("postgres", url.Reveal())
	w.must(err)
	t.Cleanup(func() { _, _ = db.Close(), w.sql.Close() })
	w.addApp(app, 1000)
	w.receipts(app, receipts)
	w.exec(`UPDATE receipts SET state = 'valid', accepted_at = $1, last_checked_at = $1`, noon.Add(-72*time.Hour))
	return w
}

func (w *ward) exec(statement string, args ...any) {
	w.t.Helper()
	_, err := w.sql.ExecContext(w.t.Context(), statement, args...)
	w.must(err)
}

func (w *ward) count(query string, args ...any) (n int64) {
	w.t.Helper()
	w.must(w.sql.GetContext(w.t.Context(), &n, query, args...))
	return n
}

// outcomes claims receipts with the ids from one to another and makes an outcome
// of a check of each: a success, or a failure of a class. Each is the first of its
// day.
func (w *ward) outcomes(at time.Time, from, to int64, class string) []claim.Outcome {
	w.t.Helper()
	w.exec(`UPDATE receipts SET claimed_until = 'infinity', generation = generation + 1 WHERE id BETWEEN $1 AND $2`, from, to)
	var all []claim.Outcome
	for id := from; id <= to; id++ {
		o := claim.Outcome{
			ReceiptID: id, BundleID: app, At: at, Asked: true, Calls: 1, Failure: class,
			NextCheck: iap.Check{At: at.Add(time.Hour), Rule: iap.RuleRetry}, CountsChecked: true, CountsAccused: class != "",
		}
		w.must(w.sql.GetContext(w.t.Context(), &o.Generation, `SELECT generation FROM receipts WHERE id = $1`, id))
		if class == "" {
			o.State = iap.ReceiptValid
		}
		all = append(all, o)
	}
	return all
}

// accused gives outcomes a verdict.
func accused(outcomes []claim.Outcome) []claim.Outcome {
	for i := range outcomes {
		outcomes[i].Verdict = &quarantine.Verdict{State: iap.ReceiptAccountGone, NextCheck: iap.Check{Rule: iap.RuleSetAside}}
	}
	return outcomes
}

const gone = "account_gone"

// stops lists the apps that are stopped, in words.
func (w *ward) stops(now time.Time) (all []string) {
	w.t.Helper()
	stops, err := w.QuarantineStops(w.t.Context(), now)
	w.must(err)
	for _, s := range stops {
		all = append(all, fmt.Sprintf("%s for %s: %d of %d, %d quarantined", s.BundleID, s.Class, s.Accused, s.Checked, s.Quarantined))
	}
	return all
}

// TestQuarantiningStops has a row on each side of both borders.
func TestQuarantiningStops(t *testing.T) {
	for name, test := range map[string]struct {
		good, bad int64
		classes   []string // which the bad ones get in turn
		want      bool
	}{
		"20 of 20":                    {0, 20, []string{gone}, true},
		"19 of 19":                    {0, 19, []string{gone}, false},
		"20 of 400":                   {380, 20, []string{gone}, true},
		"20 of 401":                   {381, 20, []string{gone}, false},
		"30, half of each class":      {0, 30, []string{gone, "wrong_app"}, false},
		"40, half of each class":      {0, 40, []string{gone, "wrong_app"}, true},
		"all good":                    {60, 0, []string{gone}, false},
		"20 of 21 while others fail ": {1, 20, []string{"panicked"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, int(test.good+test.bad))
			batch := w.outcomes(noon, 1, test.good, "")
			for i, o := range w.outcomes(noon, test.good+1, test.good+test.bad, gone) {
				o.Failure = test.classes[i%len(test.classes)]
				batch = append(batch, o)
			}
			w.save(batch...)
			stopped := w.count(`SELECT count(*) FROM apps WHERE quarantine_stopped_at = $1`, noon)
			if got := stopped == 1; got != test.want || len(w.changes) != int(stopped) {
				t.Errorf("stopped: got %t and changes %v, want %t", got, w.changes, test.want)
			}
			apps, err := w.Apps(t.Context())
			w.must(err)
			if got := apps[0].QuarantineStoppedAt != nil; got != test.want {
				t.Errorf("the app says that it is stopped: got %t, want %t", got, test.want)
			}
		})
	}
}

// TestStoppedByWhomever has many workers save at once: one of them tells.
func TestStoppedByWhomever(t *testing.T) {
	w := newWard(t, 60)
	var all sync.WaitGroup
	for _, o := range w.outcomes(noon, 1, 60, gone) {
		all.Go(func() {
			if _, err := w.SaveOutcomes(context.WithoutCancel(t.Context()), []claim.Outcome{o}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	want := []quarantine.Change{{BundleID: app, Stopped: true, Class: gone, Accused: 20, Checked: 20}}
	if diff := cmp.Diff(want, w.changes); diff != "" {
		t.Errorf("changes (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{app + " for account_gone: 60 of 60, 0 quarantined"}, w.stops(noon)); diff != "" {
		t.Errorf("stops (-want +got)\n%s", diff)
	}
}

// TestNothingIsQuarantinedWhileStopped: the batch that stops an app is the first of
// which nothing is believed, and other classes and other receipts are not either.
func TestNothingIsQuarantinedWhileStopped(t *testing.T) {
	w := newWard(t, 50)
	run := w.run()
	in := func(outcomes []claim.Outcome) []claim.Outcome {
		for i := range outcomes {
			outcomes[i].RunID = run.ID
		}
		return outcomes
	}
	w.save(in(accused(w.outcomes(noon, 1, 3, gone)))...) // they come before the wave is seen
	if got := w.count(`SELECT count(*) FROM receipts WHERE state = 'account_gone' AND quarantined_at = $1`, noon); got != 3 {
		t.Fatalf("%d receipts quarantined, want 3", got)
	}
	w.save(in(accused(w.outcomes(noon.Add(time.Hour), 4, 40, gone)))...)
	fresh := accused(w.outcomes(noon.Add(2*time.Hour), 41, 50, "panicked"))
	for i := range fresh { // Apple never accepted them
		fresh[i].CountsChecked, fresh[i].CountsAccused = false, false
	}
	w.save(in(fresh)...)
	if got := w.count(`SELECT count(*) FROM receipts WHERE state <> 'valid'`); got != 3 {
		t.Errorf("%d receipts quarantined, want the 3 from before", got)
	}
	if got := w.count(`SELECT count(*) FROM receipts WHERE id > 3 AND next_check_rule = 'retry' AND next_check_at > $1`, noon); got != 47 {
		t.Errorf("%d receipts stay in retry, want 47", got)
	}
	totals := w.totals(run)
	if totals.Failed != 50 || totals.Quarantined != 3 {
		t.Errorf("the run failed %d and quarantined %d receipts, want 50 and 3", totals.Failed, totals.Quarantined)
	}
	if diff := cmp.Diff([]string{app + " for account_gone: 40 of 40, 3 quarantined"}, w.stops(noon.Add(2*time.Hour))); diff != "" {
		t.Errorf("stops (-want +got)\n%s", diff)
	}
}

// TestQuarantiningGoesOn lets days go by after a stop.
func TestQuarantiningGoesOn(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	type check struct {
		after    time.Duration // since it was stopped at noon
		from, to int64
		class    string
	}
	for name, test := range map[string]struct {
		receipts int
		checks   []check
		want     bool // it goes on
	}{
		"nothing happens":                             {300, nil, false},
		"the share falls on the same day":             {1000, []check{{hour, 31, 1000, ""}}, false},
		"20 good ones on the next day":                {300, []check{{day, 31, 50, ""}}, true},
		"19 good ones on the next day":                {300, []check{{day, 31, 49, ""}}, false},
		"19 good ones and some that fail":             {300, []check{{day, 31, 49, ""}, {day, 1, 1, gone}}, true},
		"20 good ones a few minutes early":            {300, []check{{day - 10*time.Minute, 31, 50, ""}}, false},
		"20 good ones over a day":                     {300, []check{{day, 31, 40, ""}, {day + 20*hour, 41, 50, ""}}, true},
		"20 good ones over two days":                  {300, []check{{day, 31, 40, ""}, {day + 30*hour, 41, 50, ""}}, false},
		"the failures come again":                     {300, []check{{day, 1, 30, gone}, {day, 31, 100, ""}}, false},
		"the failures come again, too few to matter":  {1000, []check{{day, 31, 1000, ""}, {day, 1, 30, gone}}, true},
		"another class comes":                         {300, []check{{day, 1, 30, "panicked"}, {day, 31, 100, ""}}, false},
		"a small app, all of it":                      {34, []check{{day, 31, 34, ""}}, true},
		"a small app, not all of it":                  {34, []check{{day, 31, 33, ""}}, false},
		"good on the next day, and bad ones after it": {300, []check{{day, 31, 60, ""}, {day + hour, 1, 18, gone}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, test.receipts)
			w.save(w.outcomes(noon, 1, 30, gone)...)
			if test.receipts == 34 {
				// The others are in quarantine, and were so before: the app is small now.
				w.exec(`UPDATE receipts SET state = 'malformed' WHERE id <= 30`)
			}
			now := noon
			for _, c := range test.checks {
				now = noon.Add(c.after)
				w.save(w.outcomes(now, c.from, c.to, c.class)...)
			}
			stopped := len(w.stops(now)) > 0
			if stopped == test.want {
				t.Errorf("goes on: got %t, want %t; changes %+v", !stopped, test.want, w.changes)
			}
			if changes := len(w.changes); test.want && (changes != 2 || w.changes[1].Stopped) || !test.want && changes != 1 {
				t.Errorf("changes %+v, want one stop, and one end of it: %t", w.changes, test.want)
			}
			if !test.want {
				return
			}
			w.save(accused(w.outcomes(now.Add(time.Hour), 30, 30, gone))...)
			if got := w.count(`SELECT count(*) FROM receipts WHERE id = 30 AND state = 'account_gone'`); got != 1 {
				t.Error("nothing is quarantined after it")
			}
		})
	}
}

// TestAPersonSaysSo: that holds for the class, until the figures are normal.
func TestAPersonSaysSo(t *testing.T) {
	w := newWard(t, 200)
	resume := func(at time.Time) bool {
		changed, err := w.ResumeQuarantine(t.Context(), app, at)
		w.must(err)
		return changed
	}
	if resume(noon) {
		t.Error("it was not stopped, and was resumed")
	}
	w.save(w.outcomes(noon, 1, 30, gone)...)
	if !resume(noon.Add(time.Minute)) || resume(noon.Add(time.Minute)) {
		t.Error("resumed twice, or not at all")
	}
	at := noon.Add(time.Hour)
	w.save(accused(w.outcomes(at, 31, 60, gone))...)
	if got := w.count(`SELECT count(*) FROM receipts WHERE state = 'account_gone'`); got != 30 {
		t.Errorf("%d receipts quarantined, want the 30", got)
	}
	if got := w.stops(at); got != nil {
		t.Errorf("stopped again for what a person allowed: %v", got)
	}
	// Another class stops it again.
	w.save(accused(w.outcomes(at, 61, 90, "wrong_app"))...)
	if diff := cmp.Diff([]string{app + " for wrong_app: 30 of 90, 0 quarantined"}, w.stops(at)); diff != "" {
		t.Errorf("stops (-want +got)\n%s", diff)
	}
	if !resume(at) {
		t.Error("not resumed")
	}
	// A normal day ends that as well, without a word: it had gone on.
	at = at.Add(24 * time.Hour)
	w.save(w.outcomes(at, 101, 130, "")...)
	w.save(w.outcomes(at.Add(time.Hour), 131, 160, "wrong_app")...)
	var told []string
	for _, c := range w.changes {
		told = append(told, fmt.Sprintf("%s %t", c.Class, c.Stopped))
	}
	if diff := cmp.Diff([]string{gone + " true", "wrong_app true", "wrong_app true"}, told); diff != "" {
		t.Errorf("changes (-want +got)\n%s", diff)
	}
}

// TestFiguresAreKeptForTwoDays, and cost an app without checks nothing.
func TestFiguresAreKeptForTwoDays(t *testing.T) {
	w := newWard(t, 10)
	for hours := range 100 {
		w.save(w.outcomes(noon.Add(time.Duration(hours)*time.Hour), 1, 1, "")...)
	}
	if got := w.count(`SELECT count(*) FROM app_checks`); got < 48 || got > 49 {
		t.Errorf("%d hours are kept, want 48 and the one that goes on", got)
	}
	lost := w.outcomes(noon, 2, 3, gone)
	w.exec(`UPDATE receipts SET claimed_until = NULL`)
	before := w.count(`SELECT sum(receipts) FROM app_checks`)
	w.save(lost...)
	if got := w.count(`SELECT sum(receipts) FROM app_checks`); got != before {
		t.Errorf("lost claims are counted: %d, want %d", got, before)
	}
}
