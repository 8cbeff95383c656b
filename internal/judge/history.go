package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// Watch has Postgres keep every version of a subscription or purchase from now
// on, in a schema of the judge's.
func (j *Judge) Watch(ctx context.Context) error {
	const statement = `
		CREATE SCHEMA judge;
		CREATE TABLE judge.history (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, version jsonb NOT NULL);
		CREATE FUNCTION judge.keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
		BEGIN
			INSERT INTO judge.history (name, version) VALUES (TG_TABLE_NAME, to_jsonb(NEW));
			RETURN NULL;
		END $$;
		CREATE TRIGGER keep AFTER INSERT OR UPDATE ON subscriptions FOR EACH ROW EXECUTE FUNCTION judge.keep();
		CREATE TRIGGER keep AFTER INSERT OR UPDATE ON purchases FOR EACH ROW EXECUTE FUNCTION judge.keep();`
	if _, err := j.db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("have every version kept: %w", err)
	}
	return nil
}

// history looks at every version that was ever written: whether it was true at
// its time, whether it was newer than the one before, and whether it has the
// events that tell of it.
func (j *Judge) history(ctx context.Context, c Case, v *Verdict) error {
	if c.Quick {
		return nil
	}
	versions, err := j.versions(ctx)
	if err != nil {
		return err
	}
	told, doubled, err := j.events(ctx)
	if err != nil {
		return err
	}
	truth := j.truths()
	var wrong []string
	events := doubled
	for k, rows := range versions {
		for i, r := range rows {
			was, known := truth(r.asOf)[k]
			if diff := gocmp.Diff(was, r.believed); !known || diff != "" {
				wrong = append(wrong, fmt.Sprintf("%s as of %s never was so (-want +got)\n%s", k, day(r.asOf), diff))
			}
			at := moment{k, ms(r.asOf)}
			if i > 0 {
				if !r.asOf.After(rows[i-1].asOf) {
					wrong = append(wrong, fmt.Sprintf("%s went back from %s to %s", k, day(rows[i-1].asOf), day(r.asOf)))
				}
				if least := changes(truth(rows[i-1].asOf)[k], was); told[at] < least {
					events = append(events, fmt.Sprintf("%s as of %s has %d events, want %d at least", k, day(r.asOf), told[at], least))
				}
			}
			delete(told, at)
		}
	}
	for at, n := range told {
		events = append(events, fmt.Sprintf("%s as of %s has %d events and no change", at.key, day(time.UnixMilli(at.asOf)), n))
	}
	slices.Sort(wrong)
	slices.Sort(events)
	v.Wrong += v.complainAll("version", wrong)
	v.Events += v.complainAll("events", events)
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// truths is truthAt, worked out once for each moment.
func (j *Judge) truths() func(time.Time) map[key]believed {
	known := map[int64]map[key]believed{}
	return func(moment time.Time) map[key]believed {
		if known[ms(moment)] == nil {
			known[ms(moment)] = j.truthAt(moment)
		}
		return known[ms(moment)]
	}
}

// versions are all that were written of each row, in order.
func (j *Judge) versions(ctx context.Context) (map[key][]row, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT name, version FROM judge.history ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	defer func() { _ = rows.Close() }()
	versions := make(map[key][]row)
	for rows.Next() {
		var table, document string
		if err := rows.Scan(&table, &document); err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		r, err := parseRow(table, document)
		if err != nil {
			return nil, err
		}
		versions[r.key] = append(versions[r.key], r)
	}
	return versions, rows.Err()
}

// moment is a row at a time of Apple's.
type moment struct {
	key
	asOf int64
}

// events counts what subscription_events tells, per row and moment, and names
// what it tells twice: the same of one transaction.
func (j *Judge) events(ctx context.Context) (told map[moment]int, doubled []string, err error) {
	const query = `
		SELECT CASE WHEN after ? 'expires_date' THEN 'subscriptions' ELSE 'purchases' END, bundle_id, environment,
		       CASE WHEN after ? 'expires_date' THEN original_transaction_id ELSE transaction_id END, as_of,
		       type || ' of ' || transaction_id, count(*)
		FROM subscription_events GROUP BY 1, 2, 3, 4, 5, 6`
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return nil, nil, fmt.Errorf("read the events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	told = make(map[moment]int)
	for rows.Next() {
		var at moment
		var asOf time.Time
		var what string
		var n int
		if err := rows.Scan(&at.table, &at.bundleID, &at.environment, &at.id, &asOf, &what, &n); err != nil {
			return nil, nil, fmt.Errorf("read the events: %w", err)
		}
		at.asOf = ms(asOf)
		told[at] += n
		if n > 1 {
			doubled = append(doubled, fmt.Sprintf("%s as of %s tells %s %d times", at.key, day(asOf), what, n))
		}
	}
	return told, doubled, rows.Err()
}

// changes is how many events must tell of the step from one truth to the next at
// the least. A later period, another status and another product may be one event;
// auto-renew that was turned on or off is another. Of a purchase only its
// revocation changes. How each is named is for the tests of the program to say.
func changes(before, after believed) (least int) {
	if before.Status != after.Status || before.ExpiresDate < after.ExpiresDate || before.ProductID != after.ProductID ||
		(before.RevocationDate == 0) != (after.RevocationDate == 0) {
		least++
	}
	if before.AutoRenewStatus != nil && after.AutoRenewStatus != nil && *before.AutoRenewStatus != *after.AutoRenewStatus {
		least++
	}
	return least
}
