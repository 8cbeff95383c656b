package judge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"revalidator/internal/dev/applesim"
)

// Watch has Postgres keep every version of a subscription or purchase from now
// on, in a schema of the judge's.
func (j *Judge) Watch(ctx context.Context) error {
	const statement = `
		CREATE SCHEMA judge;
		CREATE TABLE judge.history (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, version jsonb NOT NULL,
			transaction xid8 NOT NULL DEFAULT pg_current_xact_id());
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

// history looks at every version that was ever written: whether an answer led to
// it from the one before, or where none is known, as in a night of another App
// Store, whether it was true at its time; and whether the step to it is told by
// the events that it calls for, and by no others.
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
	h := &past{answers: j.answers(), truth: j.truths(), now: j.sim.Clock().Now(), told: told, imported: imported}
	for k, rows := range versions {
		h.row(k, told.with(k, rows))
	}
	h.unstored(versions)
	for at, told := range h.told.events {
		h.events = append(h.events, fmt.Sprintf("%s as of %s is told as %q, and there is no change", at.key, day(time.UnixMilli(at.asOf)), told))
	}
	slices.Sort(h.wrong)
	slices.Sort(h.events)
	v.Wrong += v.complainAll("version", h.wrong)
	v.Events += v.complainAll("events", h.events)
	return nil
}

// past is what the judge finds in a history.
type past struct {
	answers       answers
	truth         func(time.Time) map[key]state
	now           time.Time
	told          telling
	imported      map[key]time.Time
	wrong, events []string
}

// row follows a row from version to version.
func (h *past) row(k key, rows []row) {
	var b belief
	var called []string // at the time of the row
	for i := range rows {
		r := &rows[i]
		if b.row != nil && r.asOf.Before(b.row.asOf) {
			h.wrong = append(h.wrong, fmt.Sprintf("%s went back from %s to %s", k, day(b.row.asOf), day(r.asOf)))
		}
		if b.row == nil || !r.asOf.Equal(b.row.asOf) {
			called = nil
		}
		var before *state
		if b.row != nil {
			before = b.row.state()
		}
		called = append(called, calledFor(k.table, before, *r.state(), isNews(r.bought, h.imported[k]))...)
		b = h.version(k, b, r)
		if i+1 == len(rows) || !rows[i+1].asOf.Equal(r.asOf) {
			h.event(moment{k, ms(r.asOf)}, called)
		}
	}
	h.last(k, b)
}

// event compares what is told of a row at a moment with what is called for.
func (h *past) event(at moment, want []string) {
	slices.Sort(want)
	if !slices.Equal(h.told.events[at], want) {
		h.events = append(h.events, fmt.Sprintf("%s as of %s is told as %q, want %q", at.key, day(time.UnixMilli(at.asOf)), h.told.events[at], want))
	}
	delete(h.told.events, at)
}

// version finds the answer that led to a version, and complains where none did.
func (h *past) version(k key, b belief, r *row) belief {
	if b.row != nil && r.asOf.Equal(b.row.asOf) && b.row.isAs(r) {
		return belief{r, b.paid} // nothing that the judge looks at
	}
	candidates := h.answers.dated(k, ms(r.asOf))
	if len(candidates) == 0 {
		h.unexplained(k, r)
		return belief{row: r, paid: b.paid}
	}
	var unlike string
	for _, a := range candidates {
		for _, e := range b.expected(a, h.answers.of[k]) {
			if len(candidates) > 1 {
				e.asIfSecond(candidates, b)
			}
			if unlike = e.unlike(*r); unlike == "" {
				return b.became(r, a)
			}
		}
	}
	h.wrong = append(h.wrong, fmt.Sprintf("%s as of %s follows from no answer (-want +got) %s", k, day(r.asOf), cmp.Or(unlike, "nothing was told")))
	return belief{row: r, paid: b.paid}
}

// unexplained judges a version that no known answer has the time of.
func (h *past) unexplained(k key, r *row) {
	switch {
	case h.answers.off[ms(r.asOf)]:
		h.wrong = append(h.wrong, fmt.Sprintf("%s as of %s believes a clock that is wrong", k, day(r.asOf)))
		return
	case r.asOf.After(h.now.Add(clockTolerance)):
		h.wrong = append(h.wrong, fmt.Sprintf("%s as of %s is of the future", k, day(r.asOf)))
		return
	}
	was, known := h.truth(r.asOf)[k]
	if diff := was.unlike(*r); !known || diff != "" {
		h.wrong = append(h.wrong, fmt.Sprintf("%s as of %s never was so (-want +got)\n%s", k, day(r.asOf), diff))
	}
}

// last looks at what a row has come to: it has to be as new as the newest answer
// that told of it, and over where nothing has told of it for long.
func (h *past) last(k key, b belief) {
	list := h.answers.of[k]
	for _, a := range list {
		if a.Dated.After(b.row.asOf) && !a.Broken && (a.purchase != nil || !a.showsLess(b.row)) {
			h.wrong = append(h.wrong, fmt.Sprintf("%s is as of %s, and an answer as of %s is not stored", k, day(b.row.asOf), day(a.Dated)))
			return
		}
	}
	if len(list) == 0 || k.table == purchasesTable {
		return
	}
	isOver := b.row.Status == string(applesim.StatusExpired) || b.row.Status == string(applesim.StatusRevoked)
	if days, over := b.daysMissing(list[len(list)-1], list); days >= missing && over >= (missing-1)*apart && !isOver {
		h.wrong = append(h.wrong, fmt.Sprintf("%s is %s still, and was not shown on %d days", k, b.row.Status, days))
	}
}

// unstored looks for what was told and has no row.
func (h *past) unstored(versions map[key][]row) {
	for k, list := range h.answers.of {
		if versions[k] != nil {
			continue
		}
		for _, a := range list {
			if !a.Broken && (a.purchase != nil || !a.showsLess(nil)) {
				h.wrong = append(h.wrong, fmt.Sprintf("%s was told as of %s, and is not stored", k, day(a.Dated)))
				break
			}
		}
	}
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

// versions are all that were committed of each row, in order: of those that one
// transaction wrote, nobody saw but the last.
func (j *Judge) versions(ctx context.Context) (map[key][]row, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT name, version, transaction::text FROM judge.history ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	defer func() { _ = rows.Close() }()
	versions, by := make(map[key][]row), make(map[key]string)
	for rows.Next() {
		var table, document, transaction string
		if err := rows.Scan(&table, &document, &transaction); err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		r, err := parseRow(table, document)
		if err != nil {
			return nil, err
		}
		all := versions[r.key]
		if by[r.key] == transaction {
			all = all[:len(all)-1]
		}
		versions[r.key], by[r.key] = append(all, r), transaction
	}
	return versions, rows.Err()
}
