package judge

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"revalidator/internal/applesim"
)

// believed is what Postgres says of one subscription or purchase, in the
// simulator's words. Of a purchase it has the RevocationDate only.
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

// key names a subscription by its original transaction id, a purchase by its
// transaction id.
type key struct{ table, bundleID, environment, id string }

func (k key) String() string {
	return fmt.Sprintf("%s %s/%s/%s", k.table, k.bundleID, k.environment, k.id)
}

const (
	subscriptionsTable = "subscriptions"
	purchasesTable     = "purchases"
)

// Differences tells each subscription and purchase that is in Postgres other
// than it is true now in the App Store. It is an error where there is none at
// all: then the comparison proves nothing.
func (j *Judge) Differences(ctx context.Context) ([]string, error) {
	want := j.truthAt(j.sim.Clock().Now())
	got := make(map[key]believed)
	for _, table := range []string{subscriptionsTable, purchasesTable} {
		documents, err := j.lines(ctx, `SELECT to_json(t) FROM `+table+` t`)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", table, err)
		}
		if len(documents) == 0 {
			return nil, fmt.Errorf("no %s: the comparison proves nothing", table)
		}
		for _, document := range documents {
			r, err := parseRow(table, document)
			if err != nil {
				return nil, err
			}
			got[r.key] = r.believed
		}
	}
	return differences(want, got), nil
}

func differences(want, got map[key]believed) []string {
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	var lines []string
	for k := range keys {
		w, true := want[k]
		g, stored := got[k]
		switch {
		case !stored:
			lines = append(lines, k.String()+" is missing")
		case !true:
			lines = append(lines, k.String()+" never was")
		default:
			if diff := gocmp.Diff(w, g); diff != "" {
				lines = append(lines, k.String()+" (-want +got)\n"+diff)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// truthAt is what was true at a moment of the App Store.
func (j *Judge) truthAt(moment time.Time) map[key]believed {
	all := make(map[key]believed)
	for truth := range j.sim.TruthAt(moment) {
		for _, s := range truth.Subscriptions {
			all[key{subscriptionsTable, truth.BundleID, truth.Environment, s.OriginalTransactionID}] = asBelieved(s)
		}
		for _, p := range truth.Purchases {
			all[key{purchasesTable, truth.BundleID, truth.Environment, p.TransactionID}] = believed{RevocationDate: p.CancellationDate}
		}
	}
	return all
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

// row is a stored row.
type row struct {
	key
	believed
	asOf time.Time
}

func parseRow(table, document string) (row, error) {
	var r struct {
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
		AsOf                   time.Time `json:"as_of"`
	}
	if err := json.Unmarshal([]byte(document), &r); err != nil {
		return row{}, fmt.Errorf("read a row of %s: %w", table, err)
	}
	if table == purchasesTable {
		return row{
			key{table, r.BundleID, r.Environment, r.TransactionID},
			believed{RevocationDate: ms(r.RevocationDate)}, r.AsOf,
		}, nil
	}
	return row{
		key{table, r.BundleID, r.Environment, r.OriginalTransactionID},
		believed{
			r.Status, r.ProductID, r.TransactionID, ms(r.ExpiresDate),
			// Replies in the style of iOS 6 do not tell, and know no family.
			cmp.Or(r.Ownership, "PURCHASED"), ms(r.RevocationDate),
			r.AutoRenewStatus, r.AutoRenewProductID, r.ExpirationIntent, r.IsInBillingRetryPeriod,
			ms(r.GracePeriodExpiresDate),
		}, r.AsOf,
	}, nil
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
