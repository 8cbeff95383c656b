package check

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/report"
)

// Report is what check has to say, in JSON.
type Report struct {
	// Receipt is nil for a saved reply, Answer where Apple was not asked, and
	// NotAsked where it was. Of a Payload there are neither.
	Receipt  *Receipt `json:"receipt"`
	Payload  *Payload `json:"payload"`
	NotAsked *string  `json:"not_asked"`
	Answer   *Answer  `json:"answer"`
}

// Receipt is what a receipt says of itself. Only where the signature is verified
// Apple says so, and as of the creation date.
type Receipt struct {
	// ID is that of a stored receipt, nil for a file.
	ID          *int64          `json:"id"`
	Kind        iap.ReceiptKind `json:"kind"`
	BundleID    string          `json:"bundle_id"`
	Environment iap.Environment `json:"environment"`
	// EnvironmentAssumed is true where the receipt does not name the environment.
	EnvironmentAssumed         bool       `json:"environment_assumed"`
	ReceiptType                string     `json:"receipt_type"`
	ApplicationVersion         string     `json:"application_version"`
	OriginalApplicationVersion string     `json:"original_application_version"`
	CreationDate               *time.Time `json:"receipt_creation_date"`
	OriginalPurchaseDate       *time.Time `json:"original_purchase_date"`
	ExpirationDate             *time.Time `json:"expiration_date"`
	ByteSize                   int        `json:"byte_size"`
	// RequestBytes is the size of the request that asks about it.
	RequestBytes      int64 `json:"request_bytes"`
	FitsVerifyReceipt bool  `json:"fits_verify_receipt"`
	// InApp is the number of purchase records. Products sums up those that can
	// be read, which is all of them unless Error says why not.
	InApp    int       `json:"in_app"`
	Products []Product `json:"products"`
	Error    string    `json:"error"`
	Warnings []string  `json:"warnings"`
	// Signature says who signed it.
	Signature Signature `json:"signature"`
}

// Product sums up a product's records in a receipt.
type Product struct {
	ProductID    string `json:"product_id"`
	Transactions int    `json:"transactions"`
	// TransactionID is that of a single record, empty where there are several.
	TransactionID string `json:"transaction_id"`
	// PurchaseDate and ExpiresDate are the latest of all records.
	PurchaseDate *time.Time `json:"purchase_date"`
	ExpiresDate  *time.Time `json:"expires_date"`
}

// envelope is what a request holds next to the receipt.
const envelope = `{"receipt-data":"","password":"0123456789abcdef0123456789abcdef","exclude-old-transactions":false}`

func newReceipt(s Subject, maxRequest int64) *Receipt {
	i := s.Info
	request := int64(len(envelope) + (len(i.Data)+2)/3*4)
	r := &Receipt{
		Kind: i.Kind, BundleID: i.BundleID, Environment: i.Environment, ReceiptType: i.ReceiptType,
		ApplicationVersion: i.ApplicationVersion, OriginalApplicationVersion: i.OriginalApplicationVersion,
		CreationDate: orNil(i.CreationDate), OriginalPurchaseDate: orNil(i.OriginalPurchaseDate),
		ExpirationDate: orNil(i.ExpirationDate),
		ByteSize:       len(i.Data), RequestBytes: request, FitsVerifyReceipt: request <= maxRequest, InApp: i.InApp,
		EnvironmentAssumed: i.IsEnvironmentAssumed, Warnings: []string{},
	}
	if e := iap.EnvironmentOf(i.ReceiptType); e != "" && i.Environment != "" && e != i.Environment {
		r.Warnings = append(r.Warnings, typeWarning)
	}
	if s.ID != 0 {
		r.ID = &s.ID
	}
	products := make(map[string]Product)
	for t, err := range i.Transactions() {
		if err != nil {
			r.Error = err.Error()
			break
		}
		p := products[t.ProductID]
		p.ProductID = t.ProductID
		p.Transactions++
		p.TransactionID = cmp.Or(t.TransactionID, t.OriginalTransactionID)
		if p.Transactions > 1 {
			p.TransactionID = ""
		}
		p.PurchaseDate, p.ExpiresDate = latest(p.PurchaseDate, t.PurchaseDate), latest(p.ExpiresDate, t.ExpiresDate)
		products[t.ProductID] = p
	}
	r.Products = slices.AppendSeq([]Product{}, maps.Values(products))
	slices.SortFunc(r.Products, func(a, b Product) int { return strings.Compare(a.ProductID, b.ProductID) })
	return r
}

// latest is the later of a time that may be missing and one that may be zero.
func latest(a *time.Time, b time.Time) *time.Time {
	if a == nil || b.After(*a) {
		return orNil(b)
	}
	return a
}

// orNil is a time, nil where it is zero.
func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Answer is what Apple said, or what was wrong with what it said.
type Answer struct {
	Accepted bool `json:"accepted"`
	// Code is nil where there was no reply to read.
	Code        *int            `json:"code"`
	Meaning     string          `json:"meaning"`
	Error       string          `json:"error"`
	Environment iap.Environment `json:"environment"`
	BundleID    string          `json:"bundle_id"`
	// AsOf is Apple's time of the reply, nil where a saved one names none.
	AsOf      *time.Time `json:"as_of"`
	Retryable *bool      `json:"is_retryable"`
	// Calls is how many requests were made.
	Calls         int                   `json:"calls"`
	Subscriptions []report.Subscription `json:"subscriptions"`
	Purchases     []iap.Purchase        `json:"purchases"`
	// Undated are the original transaction ids of subscriptions whose newest
	// period the reply does not date, so that it shows nothing of them.
	Undated []string `json:"undated"`
	// Unknown counts what was not known in the reply or was accepted in spite of its form.
	Unknown map[string]int `json:"unknown"`
	// FailureClass is the class under which a worker records an answer that it
	// does not accept, empty for one that it does.
	FailureClass string   `json:"failure_class"`
	Warnings     []string `json:"warnings"`
}

func newAnswer(a appstore.Answer, err error) *Answer {
	r := &Answer{
		Accepted: err == nil, Environment: a.Environment, Calls: a.Calls, Unknown: a.Unknown,
		Subscriptions: []report.Subscription{}, Purchases: []iap.Purchase{}, Undated: []string{}, Warnings: []string{},
	}
	if a.Unknown[appstore.ReceiptTypeContradicts] > 0 {
		r.Warnings = append(r.Warnings, typeWarning)
	}
	var status *appstore.StatusError
	switch {
	case errors.As(err, &status):
		r.code(status.Code)
		r.Retryable = status.Retryable
	case err == nil, errors.Is(err, appstore.ErrWrongApp), IsUnbelievable(err):
		r.code(a.Code)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

func (r *Answer) code(c appstore.Code) {
	r.Code, r.Meaning = new(int(c)), c.Meaning()
}

// show adds what a worker concludes from the facts of an answer, or the class of
// failure that it records in its place.
func (r *Answer) show(f iap.Facts, conclusion *iap.Conclusion, class string) {
	r.FailureClass = class
	if conclusion == nil {
		return
	}
	r.BundleID, r.AsOf = f.BundleID, orNil(f.AsOf)
	r.Subscriptions = report.Subscriptions(conclusion.Subscriptions)
	r.Purchases = append(r.Purchases, conclusion.Purchases...)
	r.Undated = append(r.Undated, conclusion.Undated...)
}

// IsUnbelievable reports an answer that could be read whole, and is not believed.
func IsUnbelievable(err error) bool {
	return errors.Is(err, appstore.ErrNoBundleID) || errors.Is(err, appstore.ErrNoTime) || errors.Is(err, appstore.ErrContradiction)
}

// typeWarning says that a receipt_type is of another environment than is named.
const typeWarning = "receipt_type is of another environment than the one that is named: one of them was changed"
