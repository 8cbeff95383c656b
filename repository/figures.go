package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/claim"
	"revalidator/internal/quarantine"
)

// A day of figures are 24 hours, the present one among them; older ones are
// deleted after another day.
const (
	figuresFor  = 24 * time.Hour
	figuresKept = 48 * time.Hour
)

// figureRow is what a batch adds to a figure.
type figureRow struct {
	BundleID string    `json:"bundle_id"`
	Hour     time.Time `json:"hour"`
	Class    string    `json:"class"`
	Receipts int64     `json:"receipts"`
}

// newFigures adds up what stored outcomes count, and lists the apps that have a
// receipt which was accused.
func newFigures(stored []claim.Outcome) (rows []figureRow, accused []string) {
	sums := make(map[figureRow]int64)
	for _, o := range stored {
		row := figureRow{BundleID: o.BundleID, Hour: o.At.UTC().Truncate(time.Hour)}
		if o.CountsChecked {
			sums[row]++
		}
		if o.CountsAccused {
			row.Class = o.Failure
			sums[row]++
			if !slices.Contains(accused, o.BundleID) {
				accused = append(accused, o.BundleID)
			}
		}
	}
	for row, n := range sums {
		row.Receipts = n
		rows = append(rows, row)
	}
	return rows, accused
}

// countFigures adds stored outcomes to the figures of their apps, stops the
// quarantining of an app where they become unusual, and resumes it where they have
// been normal for a day. It costs one statement for a batch; more only where
// receipts are accused, and while an app is stopped.
func (db *DB) countFigures(ctx context.Context, tx *sqlx.Tx, stored []claim.Outcome) ([]quarantine.Change, error) {
	// A row that was inserted and not updated has no xmax: an hour has begun.
	const query = `
		INSERT INTO app_checks AS t (bundle_id, hour, class, receipts)
		SELECT bundle_id, hour, class, receipts
		FROM json_to_recordset($1) AS n(bundle_id text, hour timestamptz, class text, receipts bigint)
		ORDER BY bundle_id, hour, class
		ON CONFLICT (bundle_id, hour, class) DO UPDATE SET receipts = t.receipts + excluded.receipts
		RETURNING t.bundle_id, t.xmax = 0 AS begun, EXISTS (
			SELECT FROM apps a WHERE a.bundle_id = t.bundle_id AND a.quarantine_stopped_at IS NOT NULL) AS stopped`
	rows, judged := newFigures(stored)
	if len(rows) == 0 {
		return nil, nil
	}
	document, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	var counted []struct {
		BundleID string `db:"bundle_id"`
		Begun    bool   `db:"begun"`
		Stopped  bool   `db:"stopped"`
	}
	if err := tx.SelectContext(ctx, &counted, query, string(document)); err != nil {
		return nil, fmt.Errorf("count figures of apps: %w", err)
	}
	now := slices.MaxFunc(stored, func(a, b claim.Outcome) int { return a.At.Compare(b.At) }).At
	var begun []string
	for _, c := range counted {
		if c.Begun {
			begun = append(begun, c.BundleID)
		}
		if c.Stopped && !slices.Contains(judged, c.BundleID) {
			judged = append(judged, c.BundleID)
		}
	}
	if err := pruneFigures(ctx, tx, begun, now); err != nil {
		return nil, err
	}
	return db.judgeFigures(ctx, tx, judged, now)
}

// pruneFigures deletes what is too old to count, where an hour has begun.
func pruneFigures(ctx context.Context, tx *sqlx.Tx, bundleIDs []string, now time.Time) error {
	const query = `DELETE FROM app_checks WHERE bundle_id = ANY($1) AND hour < $2`
	if len(bundleIDs) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, query, pq.Array(bundleIDs), now.Add(-figuresKept)); err != nil {
		return fmt.Errorf("prune figures of apps: %w", err)
	}
	return nil
}

// appFigures are the figures of the last day of an app, and how its quarantining
// stands.
type appFigures struct {
	bundleID   string
	stoppedAt  *time.Time
	stoppedFor string
	// resumed is whether a person resumed it for the class all the same.
	resumed bool
	quarantine.Figures
}

// firstHour is the first of the hours that make a day of figures.
func firstHour(now time.Time) time.Time {
	return now.UTC().Truncate(time.Hour).Add(time.Hour - figuresFor)
}

// readFigures reads the figures of apps, by bundle id.
func readFigures(ctx context.Context, tx *sqlx.Tx, bundleIDs []string, now time.Time) ([]appFigures, error) {
	const query = `
		SELECT a.bundle_id, a.quarantine_stopped_at, coalesce(a.quarantine_stopped_for, '') AS quarantine_stopped_for,
		       a.quarantine_resumed_at IS NOT NULL AS resumed, coalesce(c.class, '') AS class, coalesce(sum(c.receipts), 0) AS receipts
		FROM apps a LEFT JOIN app_checks c ON c.bundle_id = a.bundle_id AND c.hour >= $2
		WHERE a.bundle_id = ANY($1)
		GROUP BY a.bundle_id, c.class ORDER BY a.bundle_id`
	var rows []struct {
		BundleID   string     `db:"bundle_id"`
		StoppedAt  *time.Time `db:"quarantine_stopped_at"`
		StoppedFor string     `db:"quarantine_stopped_for"`
		Resumed    bool       `db:"resumed"`
		Class      string     `db:"class"`
		Receipts   int64      `db:"receipts"`
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(bundleIDs), firstHour(now)); err != nil {
		return nil, fmt.Errorf("read figures of apps: %w", err)
	}
	var all []appFigures
	for _, r := range rows {
		if len(all) == 0 || all[len(all)-1].bundleID != r.BundleID {
			all = append(all, appFigures{r.BundleID, r.StoppedAt, r.StoppedFor, r.Resumed, quarantine.Figures{Accused: make(map[string]int64)}})
		}
		f := &all[len(all)-1]
		if r.Class == "" {
			f.Checked = r.Receipts
		} else {
			f.Accused[r.Class] = r.Receipts
		}
	}
	return all, nil
}

// judgeFigures stops apps of which the figures are unusual, and resumes those of
// which they have been normal for a day.
func (db *DB) judgeFigures(ctx context.Context, tx *sqlx.Tx, bundleIDs []string, now time.Time) ([]quarantine.Change, error) {
	if len(bundleIDs) == 0 {
		return nil, nil
	}
	all, err := readFigures(ctx, tx, bundleIDs, now)
	if err != nil {
		return nil, err
	}
	var changes []quarantine.Change
	for _, f := range all {
		change, changed, err := db.judgeApp(ctx, tx, f, now)
		if err != nil {
			return nil, err
		}
		if changed {
			changes = append(changes, change)
		}
	}
	return changes, nil
}

// judgeApp is judgeFigures for one app. Of several who judge it, one changes it.
func (db *DB) judgeApp(ctx context.Context, tx *sqlx.Tx, f appFigures, now time.Time) (quarantine.Change, bool, error) {
	// A person's word holds for the class that it was given for.
	const stop = `
		UPDATE apps SET quarantine_stopped_at = $2, quarantine_stopped_for = $3, quarantine_resumed_at = NULL
		WHERE bundle_id = $1 AND (quarantine_stopped_at IS NULL OR quarantine_resumed_at IS NOT NULL AND quarantine_stopped_for <> $3)`
	const resume = `
		UPDATE apps SET quarantine_stopped_at = NULL, quarantine_stopped_for = NULL, quarantine_resumed_at = NULL
		WHERE bundle_id = $1 AND quarantine_stopped_at = $2`
	for _, class := range db.unusual.Classes(f.Figures) {
		if f.stoppedAt != nil && (!f.resumed || class == f.stoppedFor) {
			continue
		}
		changed, err := changedIn(ctx, tx, "stop quarantining of app "+f.bundleID, stop, f.bundleID, now, class)
		if err != nil || changed {
			return quarantine.Change{BundleID: f.bundleID, Stopped: true, Class: class, Accused: f.Accused[class], Checked: f.Checked}, changed, err
		}
	}
	// The hour in which it was stopped is not among those of the figures.
	if f.stoppedAt == nil || !f.stoppedAt.Before(firstHour(now)) {
		return quarantine.Change{}, false, nil
	}
	receipts, err := db.receiptsToCheck(ctx, tx, f)
	if err != nil || !db.unusual.IsNormal(f.Figures, receipts) {
		return quarantine.Change{}, false, err
	}
	changed, err := changedIn(ctx, tx, "resume quarantining of app "+f.bundleID, resume, f.bundleID, *f.stoppedAt)
	return quarantine.Change{BundleID: f.bundleID, Class: f.stoppedFor, Accused: f.Accused[f.stoppedFor], Checked: f.Checked}, changed && !f.resumed, err
}

// receiptsToCheck is how many receipts an app has for its figures, counted only
// as far as they matter and only where too few were checked.
func (db *DB) receiptsToCheck(ctx context.Context, tx *sqlx.Tx, f appFigures) (int64, error) {
	const counts = `r.bundle_id = $1 AND r.next_check_at IS NOT NULL AND r.accepted_at IS NOT NULL AND NOT (` + quarantined + `)`
	// In two parts, each of which has an index; together they have none.
	const query = `
		SELECT count(*) FROM (
			(SELECT FROM receipts r WHERE r.claimed_until IS NULL AND ` + counts + ` LIMIT $2)
			UNION ALL
			(SELECT FROM receipts r WHERE r.claimed_until IS NOT NULL AND ` + counts + ` LIMIT $2)) l`
	if f.Checked >= db.unusual.Receipts {
		return db.unusual.Receipts, nil
	}
	var n int64
	if err := tx.GetContext(ctx, &n, query, f.bundleID, db.unusual.Receipts); err != nil {
		return 0, fmt.Errorf("count receipts of app %s: %w", f.bundleID, err)
	}
	return n, nil
}

// changedIn runs a statement in a transaction and reports whether it changed a
// row.
func changedIn(ctx context.Context, tx *sqlx.Tx, act, query string, args ...any) (bool, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return false, fmt.Errorf("%s: %w", act, err)
	}
	rows, err := result.RowsAffected()
	return rows > 0, err
}

// ResumeQuarantine resumes the quarantining of an app although a class of failures
// is unusual, because a person says so: it holds for that class until
// the figures are normal. changed is false where it was not stopped.
func (db *DB) ResumeQuarantine(ctx context.Context, bundleID string, now time.Time) (changed bool, err error) {
	const query = `
		UPDATE apps SET quarantine_resumed_at = $2
		WHERE bundle_id = $1 AND quarantine_stopped_at IS NOT NULL AND quarantine_resumed_at IS NULL`
	return db.changed(ctx, fmt.Sprintf("resume quarantining of app %s", bundleID), query, bundleID, now)
}

// QuarantineStops lists the apps whose quarantining is stopped, by bundle id.
func (db *DB) QuarantineStops(ctx context.Context, now time.Time) ([]QuarantineStop, error) {
	const query = `
		SELECT a.bundle_id, a.quarantine_stopped_at, a.quarantine_stopped_for,
		       coalesce(sum(c.receipts) FILTER (WHERE c.class = a.quarantine_stopped_for), 0) AS accused,
		       coalesce(sum(c.receipts) FILTER (WHERE c.class = ''), 0) AS checked,
		       (SELECT count(*) FROM receipts r
		        WHERE ` + quarantined + ` AND r.bundle_id = a.bundle_id AND r.accepted_at IS NOT NULL
		          AND r.last_error = a.quarantine_stopped_for
		          AND r.quarantined_at > a.quarantine_stopped_at - interval '1 day') AS quarantined
		FROM apps a LEFT JOIN app_checks c ON c.bundle_id = a.bundle_id AND c.hour >= $1
		WHERE a.quarantine_stopped_at IS NOT NULL AND a.quarantine_resumed_at IS NULL
		GROUP BY a.bundle_id ORDER BY a.bundle_id`
	var stops []QuarantineStop
	if err := db.db.SelectContext(ctx, &stops, query, firstHour(now)); err != nil {
		return nil, fmt.Errorf("list apps whose quarantining is stopped: %w", err)
	}
	return stops, nil
}

// unusualOr is what counts as unusual, where the zero value is the default.
func unusualOr(given quarantine.Unusual) quarantine.Unusual {
	fallback := quarantine.DefaultUnusual()
	return quarantine.Unusual{
		Receipts: cmp.Or(given.Receipts, fallback.Receipts),
		Share:    cmp.Or(given.Share, fallback.Share),
	}
}
