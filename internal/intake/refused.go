package intake

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"revalidator/internal/database"
	"revalidator/internal/iap"
)

// isRefused is an error that one receipt of a batch may be the cause of: the Store
// will never take it, or its app was removed meanwhile.
func isRefused(err error) bool {
	return errors.Is(err, database.ErrRefused) || errors.Is(err, database.ErrNotFound)
}

// store stores a batch, without those of it that the Store refuses: of a batch that
// is refused, each half is stored by itself. Its error is another one of the Store.
func (c Config) store(ctx context.Context, receipts []iap.Receipt, now time.Time) (added []bool, refused map[int]error, err error) {
	added, err = c.storeAll(ctx, receipts, now)
	switch {
	case !isRefused(err):
		return added, nil, err
	case len(receipts) == 1:
		return []bool{false}, map[int]error{0: err}, nil
	}
	refused = make(map[int]error)
	for half := range slices.Chunk(receipts, (len(receipts)+1)/2) {
		first := len(added)
		of, not, err := c.store(ctx, half, now)
		if err != nil {
			return nil, nil, err
		}
		added = append(added, of...)
		for i, why := range not {
			refused[first+i] = why
		}
	}
	return added, refused, nil
}

// refuse puts what the Store refused of a batch among the rejects. Where it refuses
// all of several lines, and nothing was stored before, the fault is not theirs.
func (c *collector) refuse(b *batch) error {
	if n := len(b.receipts); n > 1 && len(b.refused) == n && c.result.Added+c.result.Known == 0 {
		return fmt.Errorf("store lines %d to %d, each of which is refused: %w", b.first().line, b.last().lastLine, b.refused[0])
	}
	i := 0
	for _, it := range b.items {
		if it.refused != nil {
			continue
		}
		if err := b.refused[i]; err != nil {
			it.refused = it.refusedBy(err)
		}
		i++
	}
	return nil
}

func (it *item) refusedBy(err error) *rejection {
	r := refuse(ReasonNotStored, "%v", err)
	if errors.Is(err, database.ErrNotFound) {
		r = refuse(ReasonUnknownApp, "the app %s was removed meanwhile", it.receipt.BundleID)
	}
	r.Line = it.record.line
	r.carry(row{
		bundleID: &it.receipt.BundleID, customerRef: &it.receipt.CustomerRef,
		receipt: []byte(base64.StdEncoding.EncodeToString(it.receipt.Data)),
	})
	return r
}
