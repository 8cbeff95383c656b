package receipt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/corpustest"
	"revalidator/internal/iap"
)

// corpusReceipt is one published receipt and what an independent script read
// in it. A date is milliseconds, as a number or as a text; null is no value.
type corpusReceipt struct {
	File string `json:"-"`
	Text []byte `json:"-"`

	Format                     string
	Malformed                  bool
	Error                      string      // of a malformed one
	DERBytes                   int         `json:"der_bytes"`
	ReceiptType                string      `json:"receipt_type"`
	Environment                string      `json:"environment"`
	BundleID                   string      `json:"bundle_id"`
	ApplicationVersion         string      `json:"application_version"`
	OriginalApplicationVersion string      `json:"original_application_version"`
	CreationDate               json.Number `json:"receipt_creation_date_ms"`
	OriginalPurchaseDate       json.Number `json:"original_purchase_date_ms"`
	ExpirationDate             json.Number `json:"expiration_date_ms"`
	InApp                      int         `json:"n_in_app"`
	TransactionIDs             int         `json:"n_distinct_transaction_ids"`
	OriginalTransactionIDs     int         `json:"n_original_transaction_ids"`
	WithoutExpiry              int         `json:"n_without_expiry"`
	Subscriptions              map[string]corpusSubscription

	// Of transaction receipts only.
	ProductID             string      `json:"product_id"`
	TransactionID         string      `json:"transaction_id"`
	OriginalTransactionID string      `json:"original_transaction_id"`
	PurchaseDate          json.Number `json:"purchase_date_ms"`
	ExpiresDate           json.Number `json:"expires_date_ms"`
}

type corpusSubscription struct {
	N          int         `json:"n"`
	MaxExpires json.Number `json:"max_expires_ms"`
	ProductID  string      `json:"product_id"`
}

func corpus(t *testing.T) []corpusReceipt {
	t.Helper()
	var all []corpusReceipt
	for _, e := range corpustest.Entries(t, corpustest.KindReceipt) {
		c := corpusReceipt{File: e.Name(), Text: e.Data}
		e.Expect(t, &c)
		all = append(all, c)
	}
	return all
}

func TestReadCorpus(t *testing.T) {
	t.Parallel()
	for _, want := range corpus(t) {
		t.Run(want.File, func(t *testing.T) {
			t.Parallel()
			info, err := Parse(want.Text)
			if want.Malformed {
				if isCutOff := strings.Contains(want.Error, "past end"); err == nil || isCutOff != errors.Is(err, ErrTruncated) {
					t.Errorf("error %v, but the script says: %s", err, want.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if base64.StdEncoding.EncodeToString(info.Data) != strings.TrimSpace(string(want.Text)) {
				t.Error("Data is not what the file holds")
			}
			got := seen(t, info)
			if diff := cmp.Diff(expected(want), got, corpustest.InAnyOrder()); diff != "" {
				t.Errorf("Read (-want +got):\n%s", diff)
			}
		})
	}
}

// expected keeps of an expectation what a receipt's own bytes can tell here.
func expected(want corpusReceipt) corpusReceipt {
	want.File, want.Text = "", nil
	if want.Environment == "Xcode" {
		want.Environment = ""
	}
	return want
}

// seen writes what Read made of a receipt in the terms of the corpus.
func seen(t *testing.T, info Info) corpusReceipt {
	t.Helper()
	got := corpusReceipt{
		Format:                     "pkcs7",
		DERBytes:                   len(info.Data),
		ReceiptType:                info.ReceiptType,
		Environment:                string(info.Environment),
		BundleID:                   info.BundleID,
		ApplicationVersion:         info.ApplicationVersion,
		OriginalApplicationVersion: info.OriginalApplicationVersion,
		CreationDate:               millis(info.CreationDate),
		OriginalPurchaseDate:       millis(info.OriginalPurchaseDate),
		ExpirationDate:             millis(info.ExpirationDate),
		InApp:                      info.InApp,
	}
	if info.Kind == iap.KindTransactionReceipt {
		return seenTransaction(t, info)
	}
	if isXcode := info.ReceiptType == "Xcode"; isXcode != (info.Kind == iap.KindXcode) {
		t.Errorf("kind %s for receipt type %q", info.Kind, info.ReceiptType)
	}
	ids, originals := map[string]bool{}, map[string]bool{}
	for tx, err := range info.Transactions() {
		if err != nil {
			t.Fatal(err)
		}
		if tx.OriginalTransactionID == "" { // as Xcode leaves it
			tx.OriginalTransactionID = tx.TransactionID
		}
		ids[tx.TransactionID], originals[tx.OriginalTransactionID] = true, true
		if !tx.IsSubscription() {
			got.WithoutExpiry++
			continue
		}
		if got.Subscriptions == nil {
			got.Subscriptions = make(map[string]corpusSubscription)
		}
		got.Subscriptions[tx.OriginalTransactionID] = got.Subscriptions[tx.OriginalTransactionID].with(tx)
	}
	got.TransactionIDs, got.OriginalTransactionIDs = len(ids), len(originals)
	return got
}

func (s corpusSubscription) with(tx iap.Transaction) corpusSubscription {
	s.N++
	if known, _ := s.MaxExpires.Int64(); tx.ExpiresDate.UnixMilli() > known {
		s.MaxExpires, s.ProductID = millis(tx.ExpiresDate), tx.ProductID
	}
	return s
}

func seenTransaction(t *testing.T, info Info) corpusReceipt {
	t.Helper()
	got := corpusReceipt{Format: "ios6-plist", Environment: string(info.Environment), BundleID: info.BundleID}
	if info.InApp != 1 {
		t.Errorf("got %d records, want one", info.InApp)
	}
	for tx, err := range info.Transactions() {
		if err != nil {
			t.Fatal(err)
		}
		got.ProductID = tx.ProductID
		got.TransactionID, got.OriginalTransactionID = tx.TransactionID, tx.OriginalTransactionID
		got.PurchaseDate, got.ExpiresDate = millis(tx.PurchaseDate), millis(tx.ExpiresDate)
	}
	return got
}

func millis(t time.Time) json.Number {
	if t.IsZero() {
		return ""
	}
	n, _ := json.Marshal(t.UnixMilli())
	return json.Number(n)
}
