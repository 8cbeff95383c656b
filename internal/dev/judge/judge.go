// Package judge compares what Postgres holds after a run with the truth and the
// log of the simulated App Store. It reads with SQL of its own and shares
// nothing with the program but the names of tables, so that no fault of the
// repository's hides another. What is done to the program before is left to the
// tests and to internal/dev/faults; the production binary never links this package.
package judge

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"revalidator/internal/dev/applesim"
)

// Judge judges one installation.
type Judge struct {
	db  *sql.DB
	sim *applesim.Server
}

// New is a judge over a database, which its owner closes, and the App Store that
// the installation asked.
func New(db *sql.DB, sim *applesim.Server) *Judge { return &Judge{db, sim} }

// Case is a run that is over, and what may be said in its favour.
type Case struct {
	RunID int64
	// Since is the last request in the App Store's log before the run, and
	// Started when it began, by our clock.
	Since   int64
	Started time.Time
	// Duplicates is how many receipts may have been checked again after a
	// good answer.
	Duplicates int
	// Rate and Burst are those of every app. RateSlack is by how much a call may
	// come early, as it does after it was held up less than the one before.
	Rate      float64
	Burst     int
	RateSlack time.Duration
	// Quick leaves out the history, which grows with each run.
	Quick bool
	// Late accepts states that are not what is true now, as long as each followed
	// from the answers: they may have told less, or what was true before.
	Late bool
	// Accepted is whether every receipt had a good answer before the log begins.
	Accepted bool
}

// Verdict is what was found. What is not 0 from Lost on is a broken promise, and
// Complaints describes it in words.
type Verdict struct {
	// Receipts were due, Asked are those of them with a good answer, and
	// Duplicates the good answers beyond one for each.
	Receipts   int `json:"receipts"`
	Asked      int `json:"asked"`
	Duplicates int `json:"duplicates"`
	// Rested are those that were not asked about, because others cover them.
	Rested int `json:"rested"`
	// Lost are receipts without a stored result, Wrong states that are not the
	// truth, and Events those missing or doubled.
	Lost   int `json:"lost"`
	Wrong  int `json:"wrong"`
	Events int `json:"events"`
	// Complaints are all that was found, a bounded number of examples each.
	Complaints []string `json:"complaints"`
}

// examples is how many lines of a kind are told, and exampleSize how much of each.
const (
	examples    = 3
	exampleSize = 400
)

func (v *Verdict) complain(format string, args ...any) {
	v.Complaints = append(v.Complaints, fmt.Sprintf(format, args...))
}

// complainAll counts lines, and tells the first of them.
func (v *Verdict) complainAll(what string, lines []string) int {
	for i, line := range lines {
		if i == examples {
			v.complain("%s: and %d more", what, len(lines)-examples)
			break
		}
		v.complain("%s: %.*s", what, exampleSize, strings.Join(strings.Fields(line), " "))
	}
	return len(lines)
}

// Judge judges a run that is over.
func (j *Judge) Judge(ctx context.Context, c Case) (Verdict, error) {
	var v Verdict
	for _, check := range []func(context.Context, Case, *Verdict) error{
		j.asked, j.ended, j.totals, j.states, j.history, j.checks, j.covered, j.quarantine, j.rate,
	} {
		if err := check(ctx, c, &v); err != nil {
			return v, fmt.Errorf("judge run %d: %w", c.RunID, err)
		}
	}
	return v, nil
}

// states compares what Postgres holds with what is true now.
func (j *Judge) states(ctx context.Context, c Case, v *Verdict) error {
	if c.Late {
		return nil // each version is compared with the truth of its time
	}
	wrong, err := j.Differences(ctx)
	if err != nil {
		return err
	}
	v.Wrong += v.complainAll("state", wrong)
	return nil
}

// ended looks for receipts that are still held after the run.
func (j *Judge) ended(ctx context.Context, _ Case, v *Verdict) error {
	held, err := j.lines(ctx, `SELECT format('receipt %s is held until %s by run %s', id, claimed_until, run_id)
		FROM receipts WHERE claimed_until IS NOT NULL OR run_id IS NOT NULL ORDER BY id`)
	v.complainAll("claim", held)
	return err
}

// totals compares the counters of the run with the rows that they count.
func (j *Judge) totals(ctx context.Context, c Case, v *Verdict) error {
	const query = `
		SELECT t.state, coalesce(t.due, -1), t.enqueued, t.done, t.changed, t.failed, t.calls, t.released, coalesce(t.in_run, -1),
		       (SELECT count(DISTINCT (receipt_id, generation)) FROM subscription_events WHERE run_id = t.id)
		FROM run_totals t WHERE t.id = $1`
	var state string
	var due, enqueued, done, changed, failed, calls, released, inRun, bringers int
	err := j.db.QueryRowContext(ctx, query, c.RunID).Scan(&state, &due, &enqueued, &done, &changed, &failed, &calls, &released, &inRun, &bringers)
	if err != nil {
		return fmt.Errorf("totals: %w", err)
	}
	if state != "finished" || due != v.Receipts || done != v.Receipts || failed != 0 {
		v.complain("totals: run is %s with %d due, %d done, %d failed; want it finished with all %d done", state, due, done, failed, v.Receipts)
	}
	if due != done+released+inRun || released != 0 || inRun != 0 {
		v.complain("totals: %d due, %d done, %d released, %d in the run; want all done", due, done, released, inRun)
	}
	if enqueued < done || calls < done-v.Rested || changed != bringers {
		v.complain("totals: %d enqueued, %d calls, %d changed; want %d enqueued and called at least, and %d changed", enqueued, calls, changed, done, bringers)
	}
	return nil
}

// lines runs a statement that returns one text per row.
func (j *Judge) lines(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := j.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var lines []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, rows.Err()
}
