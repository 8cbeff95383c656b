package report

import (
	"context"
	"time"

	"revalidator/internal/iap"
	"revalidator/repository"
)

// EventStore has events.
type EventStore interface {
	// EventBefore is the last id that was recorded before a time.
	EventBefore(ctx context.Context, at time.Time) (int64, error)
	// NewestEvents are the last ones, and Events those after an id. Both say after
	// which id to continue.
	NewestEvents(ctx context.Context, q repository.EventQuery) ([]repository.EventDetails, int64, error)
	Events(ctx context.Context, q repository.EventQuery) ([]repository.EventDetails, int64, error)
}

// eventPage is how many events are read at a time.
const eventPage = 500

// EventReader hands events to Print in their order, page after page.
type EventReader struct {
	Store EventStore
	Query repository.EventQuery
	Print func([]repository.EventDetails) error

	// stopped is the error of Print, after which nobody reads any more.
	stopped error
}

// Start hands out what there is: where the query has a beginning, by a time or with
// resumes after an id, everything from there on, else the newest. It returns how many
// of the newest there were.
func (r *EventReader) Start(ctx context.Context, resumes bool, newest int) (n int, err error) {
	r.Query.Limit = eventPage
	if !r.Query.Since.IsZero() {
		if r.Query.After, err = r.Store.EventBefore(ctx, r.Query.Since); err != nil {
			return 0, err
		}
	}
	if resumes || !r.Query.Since.IsZero() {
		return 0, r.rest(ctx)
	}
	q := r.Query
	q.Limit = newest
	events, next, err := r.Store.NewestEvents(ctx, q)
	if err != nil {
		return 0, err
	}
	r.Query.After = next
	return len(events), r.print(events)
}

func (r *EventReader) print(events []repository.EventDetails) error {
	r.stopped = r.Print(events)
	return r.stopped
}

// rest hands out page after page until there is no more for now.
func (r *EventReader) rest(ctx context.Context) error {
	for {
		events, next, err := r.Store.Events(ctx, r.Query)
		if err != nil {
			return err
		}
		if err := r.print(events); err != nil {
			return err
		}
		r.Query.After = next
		if len(events) < r.Query.Limit {
			return nil
		}
	}
}

// Follow hands out events as they come until ctx ends, which is no error: when one is
// heard of, and at each poll. While the store does not answer it continues to try, and
// nothing is left out; failing is told the first error.
func (r *EventReader) Follow(ctx context.Context, heard <-chan struct{}, poll <-chan time.Time, failing func(error)) error {
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-heard:
		case <-poll:
		}
		err := r.rest(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case r.stopped != nil:
			return r.stopped
		case err != nil && !failed:
			failing(err)
		}
		failed = err != nil
	}
}

// ExpiredFor is an expiration intent in a word or two.
func ExpiredFor(i iap.ExpirationIntent) string {
	switch i {
	case iap.IntentCustomerCancelled:
		return "cancelled"
	case iap.IntentBillingError:
		return "billing error"
	case iap.IntentPriceIncrease:
		return "price increase"
	case iap.IntentProductNotAvailable:
		return "not available"
	case iap.IntentUnknown:
		return "not known why"
	}
	return "intent " + string(i)
}
