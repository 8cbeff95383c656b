package scheduler

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
)

// pageSize is how many receipts are claimed at a time, and about how many of
// them are held in memory.
const pageSize = 2000

// fill claims receipts of a run until as many are with the workers as may be, or
// no more are to be had, and returns how many it claimed. While the tasks of one
// page are on their way to Redis, the next is claimed. What the workers hold is
// counted once, because that takes the longer the more it is; what they end
// meanwhile is room for the next time.
func (s *Scheduler) fill(ctx context.Context, run runs.Run) (claimed int, err error) {
	most, err := s.page(ctx)
	if err != nil || most == 0 {
		return 0, err
	}
	held, err := s.cfg.Store.ClaimedCount(ctx)
	if err != nil {
		return 0, err
	}
	// The other things of a round have to be done in time.
	enough := s.cfg.Now().Add(s.cfg.Feed.OwnerLease / 3)
	enqueueing, ctx := errgroup.WithContext(ctx) // the first that fails ends it
	enqueueing.SetLimit(1)
	since := make(map[string]time.Time)
	for room := s.cfg.Feed.Depth - held.Total(); room > claimed && s.cfg.Now().Before(enough); {
		limit := min(room-claimed, most)
		var claims []claim.Claim
		if claims, err = s.claim(ctx, run, held, since, limit); err != nil || len(claims) == 0 {
			break
		}
		claimed += len(claims)
		held.Add(claims)
		for _, c := range claims { // oldest due first
			since[c.BundleID] = c.DueAt
		}
		enqueueing.Go(func() error { return s.enqueue(ctx, run, claims) })
		// Shares and rounding leave a page a little short also where there is more.
		if len(claims) < limit/2 || limit < pageSize {
			break
		}
	}
	return claimed, errors.Join(err, enqueueing.Wait())
}

// page is how many receipts to claim at a time: none while checks of production
// are held because the clock is wrong, and about one for each app where a probe
// is due. What else is claimed would only be released, with times of a wrong
// clock. Where the sandbox alone is held, the workers put its receipts off.
func (s *Scheduler) page(ctx context.Context) (int, error) {
	if s.cfg.Clocks == nil {
		return pageSize, nil
	}
	clocks, err := s.cfg.Clocks.EndpointClocks(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range clocks {
		switch {
		case c.Environment != iap.Production || !c.Held():
		case c.ProbeDue(s.cfg.Now()):
			return 1, nil
		default:
			return 0, nil
		}
	}
	return pageSize, nil
}
