package worker

import (
	"context"
	"time"

	"revalidator/internal/ledger"
)

// Receipts are loaded so many at a time, and one waits so long for company: planning
// the query costs Postgres as much as a dozen receipts.
const (
	loadSize  = 256
	loadDelay = 3 * time.Millisecond
)

// loaded is the receipt of a claim, if that is still held.
type loaded struct {
	receipt ledger.Receipt
	held    bool
}

func newLoader(store Store) *batcher[ledger.ClaimKey, loaded] {
	return newBatcher(loadSize, loadDelay, func(ctx context.Context, claims []ledger.ClaimKey) ([]loaded, error) {
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

// load is the receipt of a claim. Its error is ledger.ErrLostClaim where that is
// not held any more. A batch is not given up for one task whose time is up.
func (w *Worker) load(ctx context.Context, id, generation int64) (ledger.Receipt, error) {
	read := w.cfg.Now()
	l, err := w.loader.share(context.WithoutCancel(ctx), ledger.ClaimKey{ReceiptID: id, Generation: generation})
	if err == nil && !l.held {
		err = ledger.ErrLostClaim
	}
	l.receipt.ReadAt = read
	return l.receipt, err
}
