package appstore

import (
	"context"
	"fmt"
	"slices"

	"revalidator/internal/iap"
)

// growFunc is that of a Request.
type growFunc func(ctx context.Context, bytes int64) error

// within is grow for one HTTP request, nil where nobody counts.
func (grow growFunc) within(ctx context.Context) func(int64) error {
	if grow == nil {
		return nil
	}
	return func(bytes int64) error { return grow(ctx, bytes) }
}

// kept is what a reply leaves in memory while it is read.
type kept struct {
	// grow gets it, and may end the reading; nil is nobody.
	grow  func(bytes int64) error
	texts int64 // bytes of texts that are held, not all of them once
	// changes is how often a period was of another subscription, named chain,
	// than the one before it: at least how many subscriptions there are.
	changes int
	chain   string
	// purchases is how many records of each list are no periods, and revoked how
	// many of all were refunded or withdrawn.
	purchases [iap.ListLatest + 1]int
	revoked   int
	told      int64 // the weight that grow got last
	// refused is why there was no room, at which record and weight: from then on
	// records are only counted.
	refused error
	at      int
}

// RoomError is a reply that was read to its end and not kept, because Request.Grow
// had no room for all of it. It unwraps to the error of Grow.
type RoomError struct {
	// Bytes is about how much memory it needs, by what it had until then.
	Bytes int64
	// Err is the error of Grow.
	Err error
}

// RoomNeeded is Bytes.
func (e *RoomError) RoomNeeded() int64 { return e.Bytes }

func (e *RoomError) Error() string { return fmt.Sprintf("no room for %d bytes: %v", e.Bytes, e.Err) }

// Unwrap returns the error of Request.Grow.
func (e *RoomError) Unwrap() error { return e.Err }

// weighStep is by how much a reply grows between two calls of grow.
const weighStep = 8 << 10

// weighTransaction reports what is kept with one more transaction.
func (d *decoder) weighTransaction(t iap.Transaction, list iap.List) {
	k := &d.kept
	if t.IsRevoked() {
		k.revoked++
	}
	switch {
	case !t.IsSubscription() && !t.IsExpiryUnreadable:
		k.purchases[list]++
	case t.OriginalTransactionID != k.chain:
		k.chain = t.OriginalTransactionID
		k.changes++
	}
	d.weigh()
}

// weigh reports what is kept.
func (d *decoder) weigh() {
	k := &d.kept
	if k.grow == nil {
		return
	}
	weight := d.out.Facts.Weight(k.changes, slices.Max(k.purchases[:]), k.revoked) + k.texts
	if weight < k.told+weighStep {
		return
	}
	k.told = weight
	if err := k.grow(weight); err != nil {
		k.refused, k.at = err, d.read()
		d.out.Facts, d.texts = iap.Facts{}, nil
	}
}

// read is how many records there were.
func (d *decoder) read() int { return d.most - d.records }

// roomError is nil where there was room. What is still to come is taken to be as
// what was there, and a quarter more.
func (d *decoder) roomError() error {
	k := &d.kept
	if k.refused == nil {
		return nil
	}
	return &RoomError{Bytes: k.told / 4 * 5 * int64(d.read()) / int64(max(k.at, 1)), Err: k.refused}
}
