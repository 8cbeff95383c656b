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
	told, err := j.events(ctx)
	if err != nil {
		return err
	}
	truths := map[int64]map[key]believed{}
	truth := func(moment time.Time) map[key]believed {
		if truths[ms(moment)] == nil {
			truths[ms(moment)] = j.truthAt(moment)
		}
		return truths[ms(moment)]
	}
	var wrong, events []string
	for k, rows := range versions {
		var before *believed
		for i, r := range rows {
			after, was := truth(r.asOf)[k]
			if diff := gocmp.Diff(after, r.believed); !was || diff != "" {
				wrong = append(wrong, fmt.Sprintf("%s as of %s never was so (-want +got)\n%s", k, r.asOf.UTC().Format(time.RFC3339), diff))
			}
			if i > 0 && !r.asOf.After(rows[i-1].asOf) {
				wrong = append(wrong, fmt.Sprintf("%s went back from %s to %s", k, rows[i-1].asOf, r.asOf))
			}
			at := moment{k, ms(r.asOf)}
			if want, got := changes(k.table, before, after), told[at]; want != got {
				events = append(events, fmt.Sprintf("%s as of %s has %d events, want %d", k, r.asOf.UTC().Format(time.RFC3339), got, want))
			}
			delete(told, at)
			before = &after
		}
	}
	for at, n := range told {
		events = append(events, fmt.Sprintf("%s as of %s has %d events and no change", at.key, time.UnixMilli(at.asOf).UTC().Format(time.RFC3339), n))
	}
	slices.Sort(wrong)
	slices.Sort(events)
	v.Wrong += v.complainAll("version", wrong)
	v.Events += v.complainAll("events", events)
	return nil
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

// events counts what subscription_events tells, per row and moment.
func (j *Judge) events(ctx context.Context) (map[moment]int, error) {
	const query = `
		SELECT CASE WHEN after ? 'expires_date' THEN 'subscriptions' ELSE 'purchases' END, bundle_id, environment,
		       CASE WHEN after ? 'expires_date' THEN original_transaction_id ELSE transaction_id END, as_of, count(*)
		FROM subscription_events GROUP BY 1, 2, 3, 4, 5`
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	told := make(map[moment]int)
	for rows.Next() {
		var at moment
		var asOf time.Time
		var n int
		if err := rows.Scan(&at.table, &at.bundleID, &at.environment, &at.id, &asOf, &n); err != nil {
			return nil, fmt.Errorf("read the events: %w", err)
		}
		at.asOf = ms(asOf)
		told[at] = n
	}
	return told, rows.Err()
}

// changes is how many events tell of the step from before, nil for the first
// version, to after: a first sight, a later period, a status that no new period
// explains, another product, and auto-renew turned on or off are one each.
func changes(table string, before *believed, after believed) int {
	count := func(happened ...bool) (n int) {
		for _, h := range happened {
			if h {
				n++
			}
		}
		return n
	}
	switch {
	case table == purchasesTable && before == nil:
		return 1 + count(after.RevocationDate != 0)
	case table == purchasesTable:
		return count((before.RevocationDate == 0) != (after.RevocationDate == 0))
	case before == nil:
		return 1
	}
	later := after.ExpiresDate > before.ExpiresDate
	renews := func(b believed) bool { return b.AutoRenewStatus != nil && *b.AutoRenewStatus }
	return count(
		later && after.Status != "revoked",
		before.Status != after.Status && !(later && after.Status == "active"),
		before.ProductID != after.ProductID,
		before.AutoRenewStatus != nil && after.AutoRenewStatus != nil && renews(*before) != renews(after),
	)
}
