package faults

import (
	"context"
	"database/sql"
	"fmt"

	"revalidator/internal/claim"
)

// traceClaims has Postgres keep every change of a claim from now on, in the order in
// which each receipt went through them.
func traceClaims(ctx context.Context, db *sql.DB) error {
	const statement = `
		CREATE SCHEMA trace;
		CREATE TABLE trace.claims (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, receipt_id bigint NOT NULL,
			generation_before bigint NOT NULL, claimed_before boolean NOT NULL, due_before boolean NOT NULL,
			generation_after bigint NOT NULL, claimed_after boolean NOT NULL, due_after boolean NOT NULL, stored boolean NOT NULL);
		CREATE FUNCTION trace.keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
		BEGIN
			INSERT INTO trace.claims (receipt_id, generation_before, claimed_before, due_before, generation_after, claimed_after, due_after, stored)
			VALUES (NEW.id, OLD.generation, OLD.claimed_until IS NOT NULL, OLD.next_check_at IS NOT NULL,
				NEW.generation, NEW.claimed_until IS NOT NULL, NEW.next_check_at IS NOT NULL, NEW.last_checked_at IS DISTINCT FROM OLD.last_checked_at);
			RETURN NULL;
		END $$;
		CREATE TRIGGER trace AFTER UPDATE ON receipts FOR EACH ROW
			WHEN (NEW.generation <> OLD.generation OR (NEW.claimed_until IS NULL) <> (OLD.claimed_until IS NULL)
				OR NEW.last_checked_at IS DISTINCT FROM OLD.last_checked_at)
			EXECUTE FUNCTION trace.keep();`
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("have every change of a claim kept: %w", err)
	}
	return nil
}

// change is one change of a receipt's claim.
type change struct {
	receiptID     int64
	before, after claim.State
	stored        bool
}

// replay holds the changes of all claims to the rules of internal/claim, which are
// those that internal/dev/model explores, and returns what is none of their steps.
func replay(changes func(yield func(change, error) bool)) (complaints []string, err error) {
	now := make(map[int64]claim.State)
	results := make(map[[2]int64]bool) // by receipt and generation
	for c, err := range changes {
		if err != nil {
			return nil, err
		}
		if last, known := now[c.receiptID]; known && (last.Generation != c.before.Generation || last.Claimed != c.before.Claimed) {
			complaints = append(complaints, fmt.Sprintf("receipt %d: a change from %+v follows one to %+v", c.receiptID, c.before, last))
		}
		now[c.receiptID] = c.after
		step, err := claim.Explain(c.before, c.after, c.stored)
		if err != nil {
			complaints = append(complaints, fmt.Sprintf("receipt %d: %v", c.receiptID, err))
		}
		if step != claim.StepSave {
			continue
		}
		result := [2]int64{c.receiptID, c.before.Generation}
		if results[result] {
			complaints = append(complaints, fmt.Sprintf("receipt %d: the result of generation %d is stored twice", c.receiptID, c.before.Generation))
		}
		results[result] = true
	}
	return complaints, nil
}

// mostTraced is how many complaints about claims are told.
const mostTraced = 3

// replayClaims replays what traceClaims has kept.
func (w *World) replayClaims(ctx context.Context) ([]string, error) {
	const query = `
		SELECT receipt_id, generation_before, claimed_before, due_before, generation_after, claimed_after, due_after, stored
		FROM trace.claims ORDER BY id`
	rows, err := w.DB.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("replay claims: %w", err)
	}
	defer func() { _ = rows.Close() }()
	complaints, err := replay(func(yield func(change, error) bool) {
		for rows.Next() {
			var c change
			err := rows.Scan(&c.receiptID, &c.before.Generation, &c.before.Claimed, &c.before.Due,
				&c.after.Generation, &c.after.Claimed, &c.after.Due, &c.stored)
			if !yield(c, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(change{}, err)
		}
	})
	return complaints[:min(len(complaints), mostTraced)], err
}
