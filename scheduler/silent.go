package scheduler

import (
	"context"
	"slices"
	"sync"
	"time"

	"revalidator/internal/claim"
)

// A claim that is older than silentAfter has its task: enqueueing takes less. It is
// looked for every silentEvery, so that one without a task is reported within a
// minute, and not when it runs out. So many are looked at: the oldest.
const (
	silentAfter  = enqueueTimeout + 5*time.Second
	silentEvery  = 15 * time.Second
	silentSample = 200
)

// silentClaims is what is known of claims without a task.
type silentClaims struct {
	mu   sync.Mutex
	next time.Time // when they are looked for again
	told bool
}

// SilentClaims are claims of which the queue shows no sign: their tasks neither
// wait nor are active, so that their receipts wait until the claims run out. It
// looks at the oldest claims only.
func (s *Scheduler) SilentClaims(ctx context.Context) ([]claim.Claim, error) {
	before, lease := s.cfg.Now().Add(-silentAfter), s.cfg.Feed.ClaimLease
	claims, err := s.cfg.Store.ClaimsBefore(ctx, before, lease, silentSample)
	if err != nil || len(claims) == 0 {
		return nil, err
	}
	missing, err := s.cfg.Queue.Missing(ctx, s.tasks(0, claims))
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	silent := make(map[claim.Key]bool, len(missing))
	for _, v := range missing {
		silent[claim.Key{ReceiptID: v.ReceiptID, Generation: v.Generation}] = true
	}
	// A claim ends before its task does: one that has ended meanwhile had a task.
	claims, err = s.cfg.Store.ClaimsBefore(ctx, before, lease, silentSample)
	return slices.DeleteFunc(claims, func(c claim.Claim) bool {
		return !silent[claim.Key{ReceiptID: c.ReceiptID, Generation: c.Generation}]
	}), err
}

// reportSilent logs once when there are claims without a task, and when there are
// none any more.
func (s *Scheduler) reportSilent(ctx context.Context, now time.Time) error {
	s.silent.mu.Lock()
	defer s.silent.mu.Unlock()
	if now.Before(s.silent.next) {
		return nil
	}
	s.silent.next = now.Add(silentEvery)
	claims, err := s.SilentClaims(ctx)
	if err != nil {
		return err
	}
	switch {
	case len(claims) > 0 && !s.silent.told:
		s.cfg.Logger.Error("claims have no task: their receipts wait until the claims run out; see 'revalidator doctor'",
			"claims", len(claims), "receipt_id", claims[0].ReceiptID)
	case len(claims) == 0 && s.silent.told:
		s.cfg.Logger.Info("every claim has its task again")
	}
	s.silent.told = len(claims) > 0
	s.metrics.silent.Set(float64(len(claims)))
	return nil
}
