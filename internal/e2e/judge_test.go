package e2e

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"revalidator/internal/applesim"
)

// believed is what Postgres says of one subscription, in the simulator's words.
// The judge reads it with SQL of its own, so that no fault of the repository's
// hides another.
type believed struct {
	Status                 string
	ProductID              string
	TransactionID          string
	ExpiresDate            int64
	Ownership              string
	RevocationDate         int64
	AutoRenewStatus        *bool
	AutoRenewProductID     string
	ExpirationIntent       string
	IsInBillingRetryPeriod bool
	GracePeriodExpiresDate int64
}

// mustMatchTruth compares every subscription and purchase in Postgres with the
// simulator's truth.
func (n *night) mustMatchTruth() {
	n.t.Helper()
	wantSubscriptions, wantPurchases := map[string]believed{}, map[string]int64{}
	for truth := range n.sim.Truth() {
		for _, s := range truth.Subscriptions {
			wantSubscriptions[truth.BundleID+"/"+truth.Environment+"/"+s.OriginalTransactionID] = asBelieved(s)
		}
		for _, p := range truth.Purchases {
			wantPurchases[truth.BundleID+"/"+truth.Environment+"/"+p.TransactionID] = p.CancellationDate
		}
	}
	gotSubscriptions, gotPurchases := n.subscriptions(), n.purchases()
	if diff := gocmp.Diff(wantSubscriptions, gotSubscriptions); diff != "" {
		n.t.Errorf("subscriptions differ from the truth (-want +got)\n%.6000s", diff)
	}
	if diff := gocmp.Diff(wantPurchases, gotPurchases); diff != "" {
		n.t.Errorf("purchases differ from the truth (-want +got)\n%.6000s", diff)
	}
	if len(gotSubscriptions) == 0 || len(gotPurchases) == 0 {
		n.t.Errorf("%d subscriptions and %d purchases: the comparison proves nothing", len(gotSubscriptions), len(gotPurchases))
	}
}

func asBelieved(s applesim.Subscription) believed {
	b := believed{
		Status: string(s.Status), ProductID: s.ProductID, TransactionID: s.TransactionID,
		ExpiresDate: s.ExpiresDate, Ownership: s.InAppOwnershipType,
	}
	if b.Status == "revoked" {
		b.RevocationDate = s.CancellationDate
	}
	if r := s.Renewal; r != nil {
		b.AutoRenewStatus, b.AutoRenewProductID = &r.AutoRenewStatus, r.AutoRenewProductID
		b.ExpirationIntent, b.IsInBillingRetryPeriod = r.ExpirationIntent, r.IsInBillingRetryPeriod
		b.GracePeriodExpiresDate = r.GracePeriodExpiresDate
	}
	return b
}

func (n *night) subscriptions() map[string]believed {
	n.t.Helper()
	got := map[string]believed{}
	for _, document := range n.query(`SELECT to_json(s) FROM subscriptions s`) {
		var row struct {
			BundleID               string    `json:"bundle_id"`
			Environment            string    `json:"environment"`
			OriginalTransactionID  string    `json:"original_transaction_id"`
			Status                 string    `json:"status"`
			ProductID              string    `json:"product_id"`
			TransactionID          string    `json:"transaction_id"`
			ExpiresDate            time.Time `json:"expires_date"`
			Ownership              string    `json:"in_app_ownership_type"`
			RevocationDate         time.Time `json:"revocation_date"`
			AutoRenewStatus        *bool     `json:"auto_renew_status"`
			AutoRenewProductID     string    `json:"auto_renew_product_id"`
			ExpirationIntent       string    `json:"expiration_intent"`
			IsInBillingRetryPeriod bool      `json:"is_in_billing_retry_period"`
			GracePeriodExpiresDate time.Time `json:"grace_period_expires_date"`
		}
		must(n.t, json.Unmarshal(document, &row))
		got[row.BundleID+"/"+row.Environment+"/"+row.OriginalTransactionID] = believed{
			row.Status, row.ProductID, row.TransactionID, ms(row.ExpiresDate),
			// Replies in the style of iOS 6 do not tell, and know no family.
			cmp.Or(row.Ownership, "PURCHASED"), ms(row.RevocationDate),
			row.AutoRenewStatus, row.AutoRenewProductID, row.ExpirationIntent, row.IsInBillingRetryPeriod,
			ms(row.GracePeriodExpiresDate),
		}
	}
	return got
}

func (n *night) purchases() map[string]int64 {
	n.t.Helper()
	got := map[string]int64{}
	for _, document := range n.query(`SELECT to_json(p) FROM purchases p`) {
		var row struct {
			BundleID       string    `json:"bundle_id"`
			Environment    string    `json:"environment"`
			TransactionID  string    `json:"transaction_id"`
			RevocationDate time.Time `json:"revocation_date"`
		}
		must(n.t, json.Unmarshal(document, &row))
		got[row.BundleID+"/"+row.Environment+"/"+row.TransactionID] = ms(row.RevocationDate)
	}
	return got
}

// query runs a statement that returns one JSON document per row.
func (n *night) query(statement string) [][]byte {
	n.t.Helper()
	db, err := sql.Open("postgres", n.url.Reveal())
	must(n.t, err)
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(n.t.Context(), statement)
	must(n.t, err)
	defer func() { _ = rows.Close() }()
	var documents [][]byte
	for rows.Next() {
		var document []byte
		must(n.t, rows.Scan(&document))
		documents = append(documents, document)
	}
	must(n.t, rows.Err())
	return documents
}

// count runs a statement that returns one number.
func (n *night) count(statement string) int {
	n.t.Helper()
	var number int
	must(n.t, json.Unmarshal(n.query(statement)[0], &number))
	return number
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
