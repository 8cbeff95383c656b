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

	"revalidator/internal/dev/applesim"
)

// believed is what Postgres says of one subscription or purchase, in the
// simulator's words. Of a purchase it has the TransactionID and the
// RevocationDate only.
type believed struct {
	Status                 string
	ProductID              string
	TransactionID          string
	PurchaseDate           int64
	ExpiresDate            int64
	IsTrialPeriod          bool
	IsIntroductory         bool // a trial, or at an introductory price
	OfferCodeRefName       string
	Ownership              string
	RevocationDate         int64
	AutoRenewStatus        *bool
	AutoRenewProductID     string
	ExpirationIntent       string
	IsInBillingRetryPeriod bool
	GracePeriodExpiresDate int64
	PriceConsentStatus     string
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
	got := make(map[key]row)
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
			got[r.key] = r
		}
	}
	return differences(want, got), nil
}

// unlike is how a row differs from the truth; empty where it does not. A refund that
// was taken back may be believed still: it takes two answers, which the history has
// to show. And where a renewal was refunded before it began, it may be all that is
// known of the period before it.
func (s state) unlike(r row) string {
	if slices.Contains(s.reversed, r.TransactionID) && has(r.revoked, r.TransactionID) {
		s.Status, s.RevocationDate = r.Status, r.RevocationDate
	}
	if has(s.revoked, r.TransactionID) && r.PurchaseDate == s.ExpiresDate {
		s.TransactionID, s.PurchaseDate = r.TransactionID, r.PurchaseDate
		s.IsTrialPeriod, s.IsIntroductory, s.OfferCodeRefName = r.IsTrialPeriod, r.IsIntroductory, r.OfferCodeRefName
	}
	return gocmp.Diff(s.believed, r.believed)
}

func differences(want map[key]state, got map[key]row) []string {
	keys := slices.Collect(maps.Keys(want))
	for k := range got {
		if _, true := want[k]; !true {
			keys = append(keys, k)
		}
	}
	var lines []string
	for _, k := range keys {
		w, true := want[k]
		g, stored := got[k]
		switch {
		case !stored:
			lines = append(lines, k.String()+" is missing")
		case !true:
			lines = append(lines, k.String()+" never was")
		default:
			if diff := w.unlike(g); diff != "" {
				lines = append(lines, k.String()+" (-want +got)\n"+diff)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// truthAt is what was true at a moment of the App Store.
func (j *Judge) truthAt(moment time.Time) map[key]state {
	all := make(map[key]state)
	for truth := range j.sim.TruthAt(moment) {
		for _, s := range truth.Subscriptions {
			all[key{subscriptionsTable, truth.BundleID, truth.Environment, s.OriginalTransactionID}] = state{asBelieved(s), revocations(s.Revoked...), s.Reversed, s.OriginalPurchaseDate}
		}
		for _, p := range truth.Purchases {
			b := state{believed: believed{TransactionID: p.TransactionID, RevocationDate: p.CancellationDate}}
			if p.CancellationDate != 0 {
				b.revoked = revocations(p.TransactionID)
			}
			all[key{purchasesTable, truth.BundleID, truth.Environment, p.TransactionID}] = b
		}
	}
	return all
}

func asBelieved(s applesim.Subscription) believed {
	b := believed{
		Status: string(s.Status), ProductID: s.ProductID, TransactionID: s.TransactionID,
		PurchaseDate: s.PurchaseDate, ExpiresDate: s.ExpiresDate, Ownership: s.InAppOwnershipType,
		IsTrialPeriod: s.IsTrialPeriod, IsIntroductory: s.IsTrialPeriod || s.IsInIntroOfferPeriod,
		OfferCodeRefName: s.OfferCodeRefName,
	}
	if b.Status == "revoked" {
		b.RevocationDate = s.CancellationDate
	}
	if r := s.Renewal; r != nil {
		b.AutoRenewStatus, b.AutoRenewProductID = &r.AutoRenewStatus, r.AutoRenewProductID
		b.ExpirationIntent, b.IsInBillingRetryPeriod = r.ExpirationIntent, r.IsInBillingRetryPeriod
		b.GracePeriodExpiresDate, b.PriceConsentStatus = r.GracePeriodExpiresDate, r.PriceConsentStatus
	}
	return b
}

// row is a stored row.
type row struct {
	key
	believed
	asOf time.Time
	// bought is when it was bought first, and revoked when each of its periods
	// was revoked, by transaction id.
	bought  time.Time
	revoked map[string]int64
	// original is the original purchase.
	original int64
}

func (r *row) state() *state { return &state{believed: r.believed, revoked: r.revoked} }

// isAs reports whether nothing differs that the judge looks at.
func (r *row) isAs(other *row) bool {
	return gocmp.Equal(r.believed, other.believed) && maps.Equal(r.revoked, other.revoked) && r.original == other.original
}

func parseRow(table, document string) (row, error) {
	var r struct {
		BundleID               string    `json:"bundle_id"`
		Environment            string    `json:"environment"`
		OriginalTransactionID  string    `json:"original_transaction_id"`
		Status                 string    `json:"status"`
		ProductID              string    `json:"product_id"`
		TransactionID          string    `json:"transaction_id"`
		PurchaseDate           time.Time `json:"purchase_date"`
		OriginalPurchaseDate   time.Time `json:"original_purchase_date"`
		ExpiresDate            time.Time `json:"expires_date"`
		IsTrialPeriod          bool      `json:"is_trial_period"`
		OfferType              string    `json:"offer_type"`
		OfferID                string    `json:"offer_id"`
		Ownership              string    `json:"in_app_ownership_type"`
		RevocationDate         time.Time `json:"revocation_date"`
		AutoRenewStatus        *bool     `json:"auto_renew_status"`
		AutoRenewProductID     string    `json:"auto_renew_product_id"`
		ExpirationIntent       string    `json:"expiration_intent"`
		IsInBillingRetryPeriod bool      `json:"is_in_billing_retry_period"`
		GracePeriodExpiresDate time.Time `json:"grace_period_expires_date"`
		PriceConsentStatus     string    `json:"price_consent_status"`
		Revocations            []struct {
			TransactionID  string    `json:"transaction_id"`
			RevocationDate time.Time `json:"revocation_date"`
		} `json:"revocations"`
		AsOf time.Time `json:"as_of"`
	}
	if err := json.Unmarshal([]byte(document), &r); err != nil {
		return row{}, fmt.Errorf("read a row of %s: %w", table, err)
	}
	found := row{asOf: r.AsOf, bought: cmp.Or(r.OriginalPurchaseDate, r.PurchaseDate), revoked: map[string]int64{}, original: ms(r.OriginalPurchaseDate)}
	for _, period := range r.Revocations {
		found.revoked[period.TransactionID] = ms(period.RevocationDate)
	}
	if !r.RevocationDate.IsZero() {
		found.revoked[r.TransactionID] = ms(r.RevocationDate)
	}
	if table == purchasesTable {
		found.key = key{table, r.BundleID, r.Environment, r.TransactionID}
		found.believed = believed{TransactionID: r.TransactionID, RevocationDate: ms(r.RevocationDate)}
		return found, nil
	}
	found.key = key{table, r.BundleID, r.Environment, r.OriginalTransactionID}
	found.believed = believed{
		Status: r.Status, ProductID: r.ProductID, TransactionID: r.TransactionID,
		PurchaseDate: ms(r.PurchaseDate), ExpiresDate: ms(r.ExpiresDate),
		IsTrialPeriod: r.IsTrialPeriod, IsIntroductory: r.OfferType == "introductory",
		// Replies in the style of iOS 6 do not tell, and know no family.
		Ownership: cmp.Or(r.Ownership, "PURCHASED"), RevocationDate: ms(r.RevocationDate),
		AutoRenewStatus: r.AutoRenewStatus, AutoRenewProductID: r.AutoRenewProductID,
		ExpirationIntent: r.ExpirationIntent, IsInBillingRetryPeriod: r.IsInBillingRetryPeriod,
		GracePeriodExpiresDate: ms(r.GracePeriodExpiresDate), PriceConsentStatus: r.PriceConsentStatus,
	}
	if r.OfferType == "offer_code" {
		found.OfferCodeRefName = r.OfferID
	}
	return found, nil
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
