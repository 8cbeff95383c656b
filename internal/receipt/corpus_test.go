package receipt

import (
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
)

// corpusReceipt is one published receipt and what an independent script read
// in it. A date is milliseconds, as a number or as a text; null is no value.
type corpusReceipt struct {
	File string `json:"-"`
	Text []byte `json:"-"`

	Format                     string
	Malformed                  bool
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
	dir := os.Getenv("REVALIDATOR_CORPUS")
	if dir == "" {
		t.Skip("REVALIDATOR_CORPUS is not set: it names the folder of recorded App Store data")
	}
	file, err := os.Open(filepath.Join(dir, "INDEX.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const fileColumn, expectColumn = 0, 6
	var all []corpusReceipt
	for _, row := range rows[1:] {
		if !strings.HasPrefix(row[fileColumn], "receipts/") {
			continue
		}
		c := corpusReceipt{File: filepath.Base(row[fileColumn])}
		if err := json.Unmarshal([]byte(row[expectColumn]), &c); err != nil {
			t.Fatalf("%s: %v", c.File, err)
		}
		if c.Text, err = os.ReadFile(filepath.Join(dir, row[fileColumn])); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(all) < 50 {
		t.Fatalf("the corpus has %d receipts, want 50 or more", len(all))
	}
	return all
}

// differences is where this package reads another thing than the script did.
var differences = map[string]struct {
	why   string
	apply func(want *corpusReceipt)
}{
	"emindeniz99-receipt-double-wrapped-75ad2a.b64": {
		"the script does not open the second OCTET STRING around the attributes",
		func(want *corpusReceipt) {
			want.ReceiptType, want.Environment = "ProductionSandbox", "Sandbox"
			want.BundleID, want.ApplicationVersion, want.OriginalApplicationVersion = "com.example.app", "1.2.3", "1.0"
			want.CreationDate, want.OriginalPurchaseDate = "1722945600000", "1722945600000"
			want.InApp, want.TransactionIDs, want.OriginalTransactionIDs, want.WithoutExpiry = 2, 2, 2, 1
			want.Subscriptions = map[string]corpusSubscription{
				"70000000000002": {1, "1896168600000", "com.example.app.vip"},
			}
		},
	},
}

func TestReadCorpus(t *testing.T) {
	t.Parallel()
	for _, want := range corpus(t) {
		t.Run(want.File, func(t *testing.T) {
			t.Parallel()
			data, err := DecodeBase64(want.Text)
			if want.Malformed {
				if !errors.Is(err, ErrTruncated) {
					t.Errorf("DecodeBase64: error %v, want %v", err, ErrTruncated)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := Read(data)
			if err != nil {
				t.Fatal(err)
			}
			if base64.StdEncoding.EncodeToString(info.Data) != string(want.Text) {
				t.Error("Data is not what the file holds")
			}
			if d, ok := differences[want.File]; ok {
				d.apply(&want)
			}
			got := seen(t, info)
			if diff := cmp.Diff(expected(want), got); diff != "" {
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
	if info.ApplicationVersion == "" || info.InApp != 1 {
		t.Errorf("version %q with %d records, want a version and one record", info.ApplicationVersion, info.InApp)
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
