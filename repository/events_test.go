package repository_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/claim"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// observed is a fixture with a connection beside the repository's, to look at
// the database as another program does.
type observed struct {
	fixture
	raw *sql.DB
}

func openObserved(t *testing.T, conns int) observed {
	t.Helper()
	t.Parallel()
	url := repositorytest.URL(t)
	db, err := repository.Open(repository.Config{URL: url, MaxConns: conns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	raw := rawDB(t, url)
	f := fixture{db, t}
	f.addApp(app, 1e6)
	return observed{f, raw}
}

func rawDB(t *testing.T, url secret.Value) *sql.DB {
	t.Helper()
	raw, err := sql.Open("postgres", url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return raw
}

// slot opens a manual run of its own.
func (f fixture) slot(n int) runs.Run {
	f.t.Helper()
	run, err := f.OpenRun(f.t.Context(), runs.Run{
		Kind: runs.Manual, ScheduledFor: noon.Add(time.Duration(n) * time.Second), Cutoff: noon, Deadline: noon.Add(8 * time.Hour),
	}, runs.Lease{Owner: "test", Until: noon.Add(time.Minute)}, noon)
	f.must(err)
	return run
}

// of makes an outcome about another subscription.
func of(o claim.Outcome, originalTransactionID string) claim.Outcome {
	s := &o.Conclusion.Subscriptions[0]
	s.OriginalTransactionID, s.TransactionID = originalTransactionID, originalTransactionID
	return o
}

// readerQuery is the query of docs/events.md.
const readerQuery = `SELECT id FROM subscription_events WHERE id > $1 ORDER BY id LIMIT $2`

// poll reads as docs/events.md tells readers to.
func (o observed) poll(last int64, limit int) []int64 {
	o.t.Helper()
	rows, err := o.raw.QueryContext(o.t.Context(), readerQuery, last, limit)
	o.must(err)
	defer func() { _ = rows.Close() }()
	var ids []int64
	for rows.Next() {
		var id int64
		o.must(rows.Scan(&id))
		ids = append(ids, id)
	}
	o.must(rows.Err())
	return ids
}

// waiting is how many transactions of the database wait for a lock.
func (o observed) waiting() int {
	o.t.Helper()
	const query = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
	var n int
	o.must(o.raw.QueryRowContext(o.t.Context(), query).Scan(&n))
	return n
}

func (o observed) eventually(what string, holds func() bool) {
	o.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			o.t.Fatalf("%s: not within a minute", what)
		}
	}
}

// TestNoEventAppearsBelowOneThatWasSeen holds a transaction up after it has
// drawn the ids of its events, while another one wants to write events too. A
// reader that saw the second and not the first would never see the first.
func TestNoEventAppearsBelowOneThatWasSeen(t *testing.T) {
	o := openObserved(t, 8)
	o.receipts(app, 2)
	held, free := o.slot(1), o.slot(2)
	slow := of(success(o.claim(held, 1)[0], held, noon), "1")
	quick := of(success(o.claim(free, 1)[0], free, noon), "2")

	// The totals of a run are written after the events.
	tx, err := o.raw.BeginTx(t.Context(), nil)
	o.must(err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), `SELECT 1 FROM run_apps WHERE run_id = $1 FOR UPDATE`, held.ID)
	o.must(err)
	slowDone := o.saveBeside(slow)
	o.eventually("the first transaction is held up", func() bool { return o.waiting() == 1 })
	quickDone := o.saveBeside(quick)
	o.eventually("the second transaction waits or has ended", func() bool { return o.waiting() == 2 || len(quickDone) == 1 })

	seen := o.poll(0, 10)
	o.must(tx.Commit())
	o.must(<-slowDone)
	o.must(<-quickDone)
	last := int64(0)
	if len(seen) > 0 {
		last = seen[len(seen)-1]
	}
	seen = append(seen, o.poll(last, 10)...)
	if diff := cmp.Diff(o.poll(0, 10), seen); diff != "" || len(seen) != 2 {
		t.Errorf("events (-all +seen)\n%s", diff)
	}
}

func (o observed) saveBeside(outcome claim.Outcome) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := o.SaveOutcomes(context.WithoutCancel(o.t.Context()), []claim.Outcome{outcome})
		done <- err
	}()
	return done
}

// TestReaderBesideWriters has 50 writers at work, each in transactions of its
// own, and a reader that polls.
func TestReaderBesideWriters(t *testing.T) {
	const writers, each = 50, 12
	o := openObserved(t, writers)
	o.receipts(app, writers*each)
	run := o.run()
	claims := o.claim(run, writers*each)
	heard, stop := o.ListenForEvents()
	defer stop()

	ctx := context.WithoutCancel(t.Context())
	errs := make(chan error, writers)
	for w := range writers {
		go func() {
			for i := range each {
				c := claims[w*each+i]
				outcome := of(success(c, run, noon), strconv.FormatInt(c.ReceiptID, 10))
				if i%3 == 0 { // several events at once
					outcome.Conclusion.Subscriptions[0].IsTrialPeriod = true
				}
				if _, err := o.SaveOutcomes(ctx, []claim.Outcome{outcome}); err != nil {
					errs <- fmt.Errorf("writer %d: %w", w, err)
					return
				}
			}
			errs <- nil
		}()
	}

	var seen []int64
	last, polls := int64(0), 0
	read := func() {
		for page := o.poll(last, 7); len(page) > 0; page = o.poll(last, 7) {
			seen, last = append(seen, page...), page[len(page)-1]
			polls++
		}
	}
	for done := 0; done < writers; {
		read()
		select {
		case err := <-errs:
			o.must(err)
			done++
		default:
		}
	}
	read()
	want := writers * each * 4 / 3
	if all := o.poll(0, 10_000); len(all) != want {
		t.Errorf("%d events were written, want %d", len(all), want)
	} else if diff := cmp.Diff(all, seen); diff != "" {
		t.Errorf("(-written +seen)\n%s", diff)
	}
	if polls < 50 {
		t.Errorf("the reader found something %d times: it was hardly at work beside the writers", polls)
	}
	select {
	case <-heard:
	case <-time.After(time.Minute):
		t.Error("the events were not announced")
	}
}

// history is what becomes of one subscription, one reply after the other.
func history() []iap.Subscription {
	s := success(claim.Claim{BundleID: app}, runs.Run{}, noon).Conclusion.Subscriptions[0]
	s.AutoRenewStatus, s.PurchaseDate = new(true), noon
	off := s
	off.AutoRenewStatus = new(false)
	expired := off
	expired.Status, expired.ExpirationIntent = iap.StatusExpired, iap.IntentCustomerCancelled
	back := s
	back.TransactionID, back.PurchaseDate, back.ExpiresDate = "1001", noon.Add(40*time.Hour), noon.Add(90*time.Hour)
	states := []iap.Subscription{s, off, expired, back}
	for i, hours := range []time.Duration{0, 10, 25, 50} {
		states[i].AsOf = noon.Add(hours * time.Hour)
		states[i].ToldAt = toldAt(states[i].AsOf)
	}
	return states
}

func (f fixture) replies(states ...iap.Subscription) []claim.Outcome {
	f.t.Helper()
	f.receipts(app, len(states))
	run := f.run()
	claims := f.claim(run, len(states))
	outcomes := make([]claim.Outcome, len(states))
	for i, s := range states {
		outcomes[i] = success(claims[i], run, s.AsOf)
		outcomes[i].Conclusion.Subscriptions[0] = s
	}
	return outcomes
}

func (f fixture) told() []iap.EventType {
	f.t.Helper()
	events, _, err := f.Events(f.t.Context(), repository.EventQuery{Limit: 100})
	f.must(err)
	var types []iap.EventType
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

// TestEventsOfAHistory stores the same replies one by one and all at once, and
// each a second time: by another receipt, which shows the same.
func TestEventsOfAHistory(t *testing.T) {
	want := []iap.EventType{iap.EventStarted, iap.EventAutoRenewDisabled, iap.EventExpired, iap.EventResubscribed, iap.EventAutoRenewEnabled}
	t.Run("one by one", func(t *testing.T) {
		f := open(t)
		for _, o := range f.replies(append(history(), history()...)...) {
			f.save(o)
		}
		if diff := cmp.Diff(want, f.told()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		f := open(t)
		f.save(f.replies(append(history(), history()...)...)...)
		if diff := cmp.Diff(want, f.told()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("newest first", func(t *testing.T) {
		f := open(t)
		states := history()
		for _, o := range f.replies(states[3], states[1], states[0], states[2]) {
			f.save(o)
		}
		if diff := cmp.Diff([]iap.EventType{iap.EventStarted}, f.told()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		stored, err := f.SubscriptionsOf(t.Context(), nil, app, "1000")
		f.must(err)
		if len(stored) != 1 || stored[0].TransactionID != "1001" {
			t.Errorf("stored: %+v, want the newest", stored)
		}
	})
}

// TestEventsCarryBothStates looks at everything that an event says.
func TestEventsCarryBothStates(t *testing.T) {
	f := open(t)
	states := history()[:3]
	outcomes := f.replies(states...)
	f.save(outcomes[0])
	f.save(outcomes[2]) // which tells of two changes
	events, next, err := f.Events(t.Context(), repository.EventQuery{Limit: 100})
	f.must(err)
	if len(events) != 3 || next != events[2].ID {
		t.Fatalf("got %d events, to go on after %d", len(events), next)
	}
	for i, e := range events[1:] {
		var before, after iap.Subscription
		f.must(json.Unmarshal(e.Before, &before))
		f.must(json.Unmarshal(e.After, &after))
		if diff := cmp.Diff([]iap.Subscription{states[0], states[2]}, []iap.Subscription{before, after}, cmpopts.IgnoreTypes(iap.Evidence{}, iap.Groups(0))); diff != "" {
			t.Errorf("event %d: states (-want +got)\n%s", i+1, diff)
		}
	}
	e := events[2]
	got := []any{e.Type, e.OriginalTransactionID, e.TransactionID, e.ProductID, e.AsOf, *e.HappenedAt, e.RecordedAt, *e.RunID, *e.ReceiptID, *e.Generation}
	o := outcomes[2]
	want := []any{iap.EventExpired, "1000", "1000", "monthly", states[2].AsOf, states[2].ExpiresDate, noon, o.RunID, o.ReceiptID, o.Generation}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if string(events[0].Before) != "null" {
		t.Errorf("before the first sight: got %s, want null", events[0].Before)
	}
}

func TestOldSubscriptionIsNotAnnounced(t *testing.T) {
	f := open(t)
	s := history()[0]
	s.PurchaseDate = noon.Add(-100 * time.Hour)
	outcomes := f.replies(s, history()[1])
	o := outcomes[0]
	o.ImportedAt = noon
	o.Conclusion.Purchases = []iap.Purchase{{
		BundleID: app, Environment: iap.Production, TransactionID: "7", OriginalTransactionID: "7", ProductID: "map",
		PurchaseDate: noon.Add(-1000 * time.Hour), AsOf: noon,
	}}
	f.save(o)
	if diff := cmp.Diff([]iap.EventType(nil), f.told()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	f.save(outcomes[1])
	if diff := cmp.Diff([]iap.EventType{iap.EventAutoRenewDisabled}, f.told()); diff != "" {
		t.Errorf("its next change (-want +got)\n%s", diff)
	}
}

func TestEventQueries(t *testing.T) {
	f := open(t)
	for i, o := range f.replies(history()...) {
		o.At = noon.Add(time.Duration(i) * time.Hour)
		f.save(o)
	}
	all, _, err := f.Events(t.Context(), repository.EventQuery{Limit: 100})
	f.must(err)
	id := func(i int) int64 { return all[i].ID }
	tests := []struct {
		name  string
		query repository.EventQuery
		want  []int64
		next  int64
	}{
		{"after an id", repository.EventQuery{After: id(2)}, []int64{id(3), id(4)}, id(4)},
		{"a full page", repository.EventQuery{Limit: 2}, []int64{id(0), id(1)}, id(1)},
		{"of a type, and on after all others", repository.EventQuery{Types: []iap.EventType{iap.EventExpired}}, []int64{id(2)}, id(4)},
		{"of another app", repository.EventQuery{BundleID: "com.example.other"}, nil, id(4)},
		{"since a time", repository.EventQuery{Since: noon.Add(2 * time.Hour)}, []int64{id(2), id(3), id(4)}, id(4)},
		{"after the last", repository.EventQuery{After: id(4) + 10}, nil, id(4) + 10},
	}
	for _, test := range tests {
		if test.query.Limit == 0 {
			test.query.Limit = 100
		}
		events, next, err := f.Events(t.Context(), test.query)
		f.must(err)
		var got []int64
		for _, e := range events {
			got = append(got, e.ID)
		}
		if diff := cmp.Diff(test.want, got); diff != "" || next != test.next {
			t.Errorf("%s: to go on after %d, want %d; (-want +got)\n%s", test.name, next, test.next, diff)
		}
	}
	newest, next, err := f.NewestEvents(t.Context(), repository.EventQuery{Limit: 2})
	f.must(err)
	if len(newest) != 2 || newest[0].ID != id(3) || next != id(4) {
		t.Errorf("the newest two: got %d, from %d, to go on after %d", len(newest), newest[0].ID, next)
	}
	for hours, want := range []int64{0, id(0), id(1), id(2), id(4), id(4)} {
		got, err := f.EventBefore(t.Context(), noon.Add(time.Duration(hours)*time.Hour))
		f.must(err)
		if got != want {
			t.Errorf("before what was recorded %d hours after noon: got id %d, want %d", hours, got, want)
		}
	}
}
