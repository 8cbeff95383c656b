package faults

import (
	"context"
	"fmt"
	"os"
	"strings"

	"revalidator/internal/dev/judge"
)

// number asks Postgres for one number.
func (w *World) number(ctx context.Context, query string, args ...any) (n int, err error) {
	err = w.DB.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// Done is how many receipts have a stored result in this night.
func (w *World) Done(ctx context.Context) (int, error) {
	return w.number(ctx, `SELECT coalesce(sum(succeeded + failed), 0) FROM run_apps WHERE run_id > $1`, w.before)
}

// Progress waits until a part of the receipts is done.
func (w *World) Progress(ctx context.Context, part float64) error {
	want := int(part * float64(w.suite.receipts))
	return await(ctx, fmt.Sprintf("%d receipts are done", want), patience, func(ctx context.Context) (bool, error) {
		done, err := w.Done(ctx)
		return done >= want, err
	})
}

// Finished is whether the run is over and nobody holds a receipt.
func (w *World) Finished(ctx context.Context) (bool, error) {
	n, err := w.number(ctx, `SELECT count(*) FROM runs WHERE id > 1 AND state = 'finished'
		AND NOT EXISTS (SELECT FROM receipts WHERE claimed_until IS NOT NULL)`)
	return n > 0, err
}

// count is how many receipts had a good answer, how many good answers there
// were, and how many results are stored.
func (w *World) count(ctx context.Context) (receipts, answers, done int, err error) {
	for _, n := range w.judge.GoodAnswers(w.since) {
		receipts++
		answers += n
	}
	done, err = w.Done(ctx)
	return receipts, answers, done, err
}

// lose notes that all good answers that are not stored yet may be lost.
func (w *World) lose(ctx context.Context) error {
	receipts, _, done, err := w.count(ctx)
	w.inFlight += max(0, receipts-done)
	return err
}

// during does harm to the way from the App Store, and notes the good answers
// that it may have cost.
func (w *World) during(ctx context.Context, harm func() error) error {
	if err := w.lose(ctx); err != nil {
		return err
	}
	_, answersBefore, doneBefore, err := w.count(ctx)
	if err != nil {
		return err
	}
	if err := harm(); err != nil {
		return err
	}
	_, answers, done, err := w.count(ctx)
	w.inFlight += max(0, (answers-answersBefore)-(done-doneBefore))
	return err
}

// texts are all places in which something may have been written down.
func (w *World) texts(ctx context.Context) (map[string]string, error) {
	places, err := w.judge.PostgresText(ctx)
	if err != nil {
		return nil, err
	}
	if places["Redis"], err = judge.RedisText(ctx, w.Redis); err != nil {
		return nil, err
	}
	for _, p := range w.everything {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return nil, err
		}
		places[p.name] = string(text)
	}
	return places, nil
}

// panics are the programs that told of a panic.
func panics(places map[string]string) []string {
	var found []string
	for place, text := range places {
		if strings.Contains(text, "\npanic: ") || strings.Contains(text, "fatal error: ") {
			found = append(found, place)
		}
	}
	return found
}
