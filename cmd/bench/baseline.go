package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the driver
	"golang.org/x/sync/errgroup"
)

// The baseline is the loop that a Go programmer would write in an afternoon,
// and would be right to for a start: a pool of goroutines, each with a SELECT of
// one receipt, base64, encoding/json both ways, and an UPDATE. It has no queue,
// no lease, no rate limit and no memory of subscriptions. Its pool of database
// connections is as large as that of goroutines, which not everybody would have
// thought of. The reply is decoded twice, as the most used library does it
// (https://github.com/awa/go-iap): once for its status, once for the rest.

const baselineSchema = `
	CREATE TABLE baseline_receipts (
		id            bigint PRIMARY KEY,
		data          bytea NOT NULL,
		status        text,
		product_id    text,
		expires_at    timestamptz,
		checked_at    timestamptz,
		next_check_at timestamptz NOT NULL
	)`

type baselineRequest struct {
	ReceiptData            string `json:"receipt-data"`
	Password               string `json:"password"`
	ExcludeOldTransactions bool   `json:"exclude-old-transactions"`
}

type baselineTransaction struct {
	Quantity                    string `json:"quantity"`
	ProductID                   string `json:"product_id"`
	TransactionID               string `json:"transaction_id"`
	OriginalTransactionID       string `json:"original_transaction_id"`
	PurchaseDate                string `json:"purchase_date"`
	PurchaseDateMS              string `json:"purchase_date_ms"`
	OriginalPurchaseDate        string `json:"original_purchase_date"`
	OriginalPurchaseDateMS      string `json:"original_purchase_date_ms"`
	ExpiresDate                 string `json:"expires_date"`
	ExpiresDateMS               string `json:"expires_date_ms"`
	CancellationDateMS          string `json:"cancellation_date_ms"`
	WebOrderLineItemID          string `json:"web_order_line_item_id"`
	IsTrialPeriod               string `json:"is_trial_period"`
	IsInIntroOfferPeriod        string `json:"is_in_intro_offer_period"`
	SubscriptionGroupIdentifier string `json:"subscription_group_identifier"`
	InAppOwnershipType          string `json:"in_app_ownership_type"`
}

type baselineReply struct {
	Status      int    `json:"status"`
	Environment string `json:"environment"`
	Receipt     struct {
		BundleID      string                `json:"bundle_id"`
		RequestDateMS string                `json:"request_date_ms"`
		InApp         []baselineTransaction `json:"in_app"`
	} `json:"receipt"`
	LatestReceipt      string                `json:"latest_receipt"`
	LatestReceiptInfo  []baselineTransaction `json:"latest_receipt_info"`
	PendingRenewalInfo []struct {
		AutoRenewProductID    string `json:"auto_renew_product_id"`
		OriginalTransactionID string `json:"original_transaction_id"`
		ProductID             string `json:"product_id"`
		AutoRenewStatus       string `json:"auto_renew_status"`
	} `json:"pending_renewal_info"`
}

type baseline struct {
	db   *sqlx.DB
	http *http.Client
	url  string
}

// runBaseline is the role of the baseline. It prints how many receipts there
// were, and waits to be measured and stopped.
func runBaseline(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(roleBaseline, flag.ContinueOnError)
	url := flags.String("url", "", "address of the App Store")
	workers := flags.Int("workers", 32, "size of the pool")
	if err := flags.Parse(args); err != nil {
		return err
	}
	db, err := sqlx.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(*workers)
	db.SetMaxIdleConns(*workers)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = *workers
	b := &baseline{db: db, http: &http.Client{Timeout: time.Minute, Transport: transport}, url: *url}
	n, err := b.checkAll(ctx, *workers)
	if err != nil {
		return err
	}
	fmt.Println(n)
	<-ctx.Done()
	return nil
}

func (b *baseline) checkAll(ctx context.Context, workers int) (int, error) {
	var ids []int64
	const due = `SELECT id FROM baseline_receipts WHERE next_check_at <= now() ORDER BY next_check_at`
	if err := b.db.SelectContext(ctx, &ids, due); err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, id := range ids {
		group.Go(func() error { return b.check(ctx, id) })
	}
	return len(ids), group.Wait()
}

func (b *baseline) check(ctx context.Context, id int64) error {
	var data []byte
	if err := b.db.GetContext(ctx, &data, `SELECT data FROM baseline_receipts WHERE id = $1`, id); err != nil {
		return err
	}
	reply, err := b.verify(ctx, data)
	if err != nil {
		return err
	}
	latest, err := newest(reply)
	if err != nil {
		return err
	}
	ms, err := strconv.ParseInt(latest.ExpiresDateMS, 10, 64)
	if err != nil {
		return err
	}
	expires := time.UnixMilli(ms)
	status := "active"
	if expires.Before(time.Now()) {
		status = "expired"
	}
	const update = `
		UPDATE baseline_receipts
		SET status = $2, product_id = $3, expires_at = $4, next_check_at = $4, checked_at = now() WHERE id = $1`
	_, err = b.db.ExecContext(ctx, update, id, status, latest.ProductID, expires)
	return err
}

func (b *baseline) verify(ctx context.Context, data []byte) (*baselineReply, error) {
	body, err := json.Marshal(baselineRequest{
		ReceiptData: base64.StdEncoding.EncodeToString(data), Password: appSecret, ExcludeOldTransactions: true,
	})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := b.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var said struct {
		Status int `json:"status"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, err
	}
	if said.Status != 0 {
		return nil, fmt.Errorf("status %d", said.Status)
	}
	var reply baselineReply
	if err := json.Unmarshal(text, &reply); err != nil {
		return nil, err
	}
	return &reply, nil
}

// newest is the transaction that expires last.
func newest(reply *baselineReply) (*baselineTransaction, error) {
	var latest *baselineTransaction
	for _, list := range [][]baselineTransaction{reply.LatestReceiptInfo, reply.Receipt.InApp} {
		for i := range list {
			if latest == nil || list[i].ExpiresDateMS > latest.ExpiresDateMS {
				latest = &list[i]
			}
		}
	}
	if latest == nil {
		return nil, errors.New("no transactions")
	}
	return latest, nil
}
