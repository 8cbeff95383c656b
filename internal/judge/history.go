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
// its time, whether it was newer than the one before, and whether it is told by
// the events that the step to it calls for, and by no others.
func (j *Judge) history(ctx context.Context, c Case, v *Verdict) error {
	if c.Quick {
		return nil
	}
	versions, err := j.versions(ctx)
	if err != nil {
		return err
	}
	told, err := j.told(ctx)
	if err != nil {
		return err
	}
	imported, err := j.imported(ctx)
	if err != nil {
		return err
	}
	truth := j.truths()
	var wrong, events []string
	for k, rows := range versions {
		var before *state
		for i, r := range rows {
			was, known := truth(r.asOf)[k]
			if diff := gocmp.Diff(was.believed, r.believed); !known || diff != "" {
				wrong = append(wrong, fmt.Sprintf("%s as of %s never was so (-want +got)\n%s", k, day(r.asOf), diff))
			}
			if i > 0 && !r.asOf.After(rows[i-1].asOf) {
				wrong = append(wrong, fmt.Sprintf("%s went back from %s to %s", k, day(rows[i-1].asOf), day(r.asOf)))
			}
			now, at := was.shownBy(r, before), moment{k, ms(r.asOf)}
			if want := calledFor(k.table, before, now, isNews(r.bought, imported[k])); !slices.Equal(told[at], want) {
				events = append(events, fmt.Sprintf("%s as of %s is told as %q, want %q", k, day(r.asOf), told[at], want))
			}
			delete(told, at)
			before = &now
		}
	}
	for at, told := range told {
		events = append(events, fmt.Sprintf("%s as of %s is told as %q, and there is no change", at.key, day(time.UnixMilli(at.asOf)), told))
	}
	slices.Sort(wrong)
	slices.Sort(events)
	v.Wrong += v.complainAll("version", wrong)
	v.Events += v.complainAll("events", events)
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// truths is truthAt, worked out once for each moment.
func (j *Judge) truths() func(time.Time) map[key]state {
	known := map[int64]map[key]state{}
	return func(moment time.Time) map[key]state {
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
