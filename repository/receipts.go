package repository

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// newReceipt is a receipt on its way into the table. Its bytes travel next to
// it, in binary, and meet it again by their hash.
type newReceipt struct {
	BundleID      string           `json:"bundle_id"`
	CustomerRef   string           `json:"customer_ref"`
	Kind          iap.ReceiptKind  `json:"kind"`
	Environment   iap.Environment  `json:"environment,omitempty"`
	SHA256        string           `json:"sha256"`
	ByteSize      int              `json:"byte_size"`
	State         iap.ReceiptState `json:"state"`
	NextCheckAt   *time.Time       `json:"next_check_at"`
	NextCheckRule iap.Rule         `json:"next_check_rule"`
	LastError     string           `json:"last_error,omitempty"`
	Signature     string           `json:"signature,omitempty"`
}

// AddReceipts stores a batch of receipts that are due at once, in one
// transaction, with the facts of those that have some. added[i] is false where the same receipt of the same customer
// was there already, also earlier in the batch. An unknown bundle id fails the
// batch with ErrNotFound.
func (db *DB) AddReceipts(ctx context.Context, batch []iap.Receipt, now time.Time) (added []bool, err error) {
	const insert = `
		INSERT INTO receipts (bundle_id, customer_ref, kind, environment, sha256, byte_size,
		                      state, next_check_at, next_check_rule, last_error, signature, created_at)
		SELECT n.bundle_id, n.customer_ref, n.kind, n.environment, decode(n.sha256, 'hex'), n.byte_size,
		       n.state, n.next_check_at, n.next_check_rule, n.last_error, n.signature, $2
		FROM json_to_recordset($1) AS n(bundle_id text, customer_ref text, kind text, environment text,
		     sha256 text, byte_size integer, state text, next_check_at timestamptz, next_check_rule text,
		     last_error text, signature text)
		ORDER BY n.sha256
		ON CONFLICT DO NOTHING
		RETURNING id, bundle_id, customer_ref, encode(sha256, 'hex') AS sha256`
	// The bytes of all travel as one value: an array of them would travel in hex.
	const insertData = `
		INSERT INTO receipt_data (receipt_id, data)
		SELECT id, substring($4::bytea FROM first FOR size)
		FROM unnest($1::bigint[], $2::integer[], $3::integer[]) AS n(id, first, size)`

	rows, byKey := newReceipts(batch, now)
	document, err := json.Marshal(rows)
	if err != nil {
		return nil, fmt.Errorf("add %d receipts: %w", len(batch), err)
	}
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		added = make([]bool, len(batch))
		var inserted []struct {
			ID          int64  `db:"id"`
			BundleID    string `db:"bundle_id"`
			CustomerRef string `db:"customer_ref"`
			SHA256      string `db:"sha256"`
		}
		if err := tx.SelectContext(ctx, &inserted, insert, string(document), now); err != nil {
			return named(err)
		}
		var ids, firsts, sizes []int64
		data := make([]byte, 0, total(batch))
		for _, r := range inserted {
			i := byKey[receiptKey{r.BundleID, r.CustomerRef, r.SHA256}]
			added[i] = true
			ids, firsts, sizes = append(ids, r.ID), append(firsts, int64(len(data)+1)), append(sizes, int64(len(batch[i].Data)))
			data = append(data, batch[i].Data...)
		}
		if _, err := tx.ExecContext(ctx, insertData, pq.Array(ids), pq.Array(firsts), pq.Array(sizes), data); err != nil {
			return err
		}
		var told []claim.Outcome
		for _, r := range inserted {
			if i := byKey[receiptKey{r.BundleID, r.CustomerRef, r.SHA256}]; batch[i].Facts != nil {
				told = append(told, toldOnArrival(r.ID, batch[i], now))
			}
		}
		return saveArrivals(ctx, tx, told, now)
	})
	if err != nil {
		return nil, fmt.Errorf("add %d receipts: %w", len(batch), err)
	}
	return added, nil
}

// total is the number of bytes of a batch.
func total(batch []iap.Receipt) (n int) {
	for _, r := range batch {
		n += len(r.Data)
	}
	return n
}

// noSourceEvery is when a signed transaction is planned again.
const noSourceEvery = 24 * time.Hour

// toldOnArrival is what a new receipt tells by itself. Its own plan is left alone.
func toldOnArrival(id int64, r iap.Receipt, now time.Time) claim.Outcome {
	conclusion, policy := iap.Derive(r.Facts), iap.DefaultPolicy()
	return claim.Outcome{
		ReceiptID: id, BundleID: r.BundleID, Environment: r.Facts.Environment, At: now, ImportedAt: now,
		Conclusion: &conclusion, Policy: &policy,
	}
}

// saveArrivals merges what new receipts tell with what is stored, by Apple's time as
// the results of checks are. A transaction shows itself alone, so that what it does not
// show says nothing.
func saveArrivals(ctx context.Context, tx *sqlx.Tx, told []claim.Outcome, now time.Time) error {
	if len(told) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, byKeyOnly); err != nil {
		return err
	}
	events, err := mergeConclusions(ctx, tx, told)
	if err != nil {
		return err
	}
	_, err = saveEvents(ctx, tx, events, now)
	return err
}

type receiptKey struct{ bundleID, customerRef, sha256 string }

func newReceipts(batch []iap.Receipt, now time.Time) ([]newReceipt, map[receiptKey]int) {
	rows := make([]newReceipt, 0, len(batch))
	byKey := make(map[receiptKey]int, len(batch))
	for i, r := range batch {
		sum := r.SHA256()
		row := newReceipt{
			BundleID: r.BundleID, CustomerRef: r.CustomerRef, Kind: r.Kind, Environment: r.Environment,
			SHA256: hex.EncodeToString(sum[:]), ByteSize: len(r.Data), Signature: r.Signature,
			State: iap.ReceiptNew, NextCheckAt: &now, NextCheckRule: iap.RuleNew,
		}
		if r.Kind == iap.KindXcode {
			row.State, row.NextCheckAt, row.NextCheckRule = iap.ReceiptXcode, nil, iap.RuleSettled
		}
		if r.Kind == iap.KindSignedTransaction {
			tomorrow := now.Add(noSourceEvery)
			row.NextCheckAt, row.NextCheckRule, row.LastError = &tomorrow, iap.RuleRetry, claim.ClassNoSource
		}
		key := receiptKey{row.BundleID, row.CustomerRef, row.SHA256}
		if _, twice := byKey[key]; !twice {
			byKey[key] = i
			rows = append(rows, row)
		}
	}
	return rows, byKey
}
