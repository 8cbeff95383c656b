package worker

import (
	"context"
	"time"

	"revalidator/internal/claim"
)

// Receipts are loaded so many at a time, and one waits so long for company: planning
// the query costs Postgres as much as a dozen receipts.
const (
	loadSize  = 256
	loadDelay = 3 * time.Millisecond
)

// loaded is the receipt of a claim, if that is still held.
type loaded struct {
	receipt claim.Receipt
	held    bool
}

func newLoader(store Store) *batcher[claim.Key, loaded] {
	return newBatcher(loadSize, loadDelay, func(ctx context.Context, claims []claim.Key) ([]loaded, error) {
		receipts, err := store.ClaimedReceipts(ctx, claims)
		if err != nil {
			return nil, err
		}
		all := make([]loaded, len(claims))
		for i, c := range claims {
			all[i].receipt, all[i].held = receipts[c]
		}
		return all, nil
	})
}

// load is the receipt of a claim. Its error is claim.ErrLost where that is
// not held any more. A batch is not given up for one task whose time is up.
func (w *Worker) load(ctx context.Context, id, generation int64) (claim.Receipt, error) {
	read := w.cfg.Now()
	l, err := w.loader.share(context.WithoutCancel(ctx), claim.Key{ReceiptID: id, Generation: generation})
	if err == nil && !l.held {
		err = claim.ErrLost
	}
	l.receipt.ReadAt = read
	return l.receipt, err
}
