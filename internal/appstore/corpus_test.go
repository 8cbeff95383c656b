package appstore_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/dev/corpustest"
	"revalidator/internal/iap"
)

// expected is what an independent script found in a reply. What needs no
// comparison (style, sizes, latest_receipt) is left out.
type expected struct {
	Status        *int   `json:"status,omitempty"`
	Environment   string `json:"environment,omitempty"`
	BundleID      string `json:"bundle_id,omitempty"`
	RequestDateMS int64  `json:"request_date_ms,omitempty"`

	Transactions  int `json:"n_transactions,omitempty"`
	Originals     int `json:"n_original_transaction_ids,omitempty"`
	WithoutExpiry int `json:"n_without_expiry,omitempty"`

	Subscriptions map[string]fields `json:"subscriptions,omitempty"`
	Revoked       []fields          `json:"revoked,omitempty"`
	Upgraded      []string          `json:"upgraded,omitempty"`
	FamilyShared  []string          `json:"family_shared,omitempty"`
	Renewal       []fields          `json:"renewal,omitempty"`
	Active        []string          `json:"active_at_request_date,omitempty"`
}

type fields = map[string]any

// reply is one reply of the corpus with what is expected of it.
type reply struct {
	file string
	body []byte
	want expected
}

// corpus reads every reply of the folder of recorded data.
func corpus(t testing.TB) []reply {
	t.Helper()
	var replies []reply
	for _, e := range corpustest.Entries(t, corpustest.KindResponse, corpustest.KindFragment, corpustest.KindNotification) {
		if e.Kind == corpustest.KindNotification {
			replies = append(replies, unifiedReceipt(t, e)...)
			continue
		}
		r := reply{file: e.File, body: e.Data}
		e.Expect(t, &r.want)
		replies = append(replies, r)
	}
	return replies
}

// unifiedReceipt takes the part of a notification that has the shape of a
// reply, where there is one.
func unifiedReceipt(t testing.TB, e corpustest.Entry) []reply {
	t.Helper()
	var got struct {
		Unified json.RawMessage `json:"unified_receipt"`
	}
	if err := json.Unmarshal(e.Data, &got); err != nil {
		t.Fatalf("%s: %v", e.File, err)
	}
	var want struct {
		Unified *expected `json:"unified_receipt"`
	}
	e.Expect(t, &want)
	if want.Unified == nil {
		return nil
	}
	return []reply{{e.File, got.Unified, *want.Unified}}
}

// textDateFields are the fields that differ on purpose, by the date that a
// reply has as a text only: no recorded reply needs that date, so it is counted
// in Unknown and not read.
func textDateFields() map[string][]string {
	return map[string][]string{
		"expires_date":      {"n_without_expiry", "subscriptions", "active_at_request_date"},
		"cancellation_date": {"revoked", "subscriptions", "active_at_request_date"},
	}
}

func TestVerifyReceiptCorpus(t *testing.T) {
	t.Parallel()
	for _, r := range corpus(t) {
		got, want := verify(t, r)
		for _, date := range corpustest.TextDates(r.body) {
			for _, field := range textDateFields()[date] {
				delete(got, field)
				delete(want, field)
			}
		}
		if diff := cmp.Diff(want, got, corpustest.InAnyOrder()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.file, diff)
		}
	}
}

// verify asks a server that answers with the reply, and returns what the
// answer says next to what the corpus says of it.
func verify(t *testing.T, r reply) (got, want fields) {
	t.Helper()
	handler := func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Date", fixedNow.Format(http.TimeFormat))
		answer(string(r.body))(w, q)
	}
	req := request()
	req.BundleID = r.want.BundleID
	a, err := newClient(t, serve(t, handler, handler)).VerifyReceipt(t.Context(), req)
	if wantErr := r.err(); !errors.Is(err, wantErr) {
		t.Errorf("%s: got error %v, want %v", r.file, err, wantErr)
	}
	if err == nil && r.want.Environment == "" {
		r.want.Environment = string(iap.Production) // the one that was asked
	}
	return flatten(t, describe(a, err)), flatten(t, r.want)
}

// err is the error that the client must return with such a reply.
func (r reply) err() error {
	switch e := r.want; {
	case e.Status == nil:
		return appstore.ErrNoStatus
	case *e.Status != 0 && *e.Status != 21006:
		return (&appstore.StatusError{Code: appstore.Code(*e.Status)}).Unwrap()
	case e.BundleID == "" && *e.Status == 0:
		return appstore.ErrNoBundleID
	}
	return nil
}

// flatten names the fields that are set, so that differences can be listed.
func flatten(t *testing.T, e expected) fields {
	t.Helper()
	encoded, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var all fields
	if err := json.Unmarshal(encoded, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// describe says of an answer what the corpus says of a reply.
func describe(a appstore.Answer, err error) expected {
	e := expected{BundleID: a.Facts.BundleID, Environment: string(a.Facts.Environment)}
	if !errors.Is(err, appstore.ErrNoStatus) {
		e.Status = new(int(a.Code))
	}
	if !a.Facts.AsOf.Equal(fixedNow) { // which the Date header said
		e.RequestDateMS = a.Facts.AsOf.UnixMilli()
	}
	transactions := a.Facts.Transactions()
	e.Transactions = len(transactions)
	chains := make(map[string][]iap.Transaction)
	for _, tr := range transactions {
		chain := chains[tr.OriginalTransactionID]
		if tr.IsSubscription() {
			chain = append(chain, tr)
		} else {
			e.WithoutExpiry++
		}
		chains[tr.OriginalTransactionID] = chain
		e.mark(tr)
	}
	e.Originals = len(chains)
	e.describeChains(chains)
	for _, r := range a.Facts.RenewalInfos() {
		e.Renewal = append(e.Renewal, describeRenewal(r))
	}
	return e
}

func (e *expected) mark(t iap.Transaction) {
	if t.IsRevoked() {
		revoked := fields{"transaction_id": t.TransactionID, "ms": t.CancellationDate.UnixMilli()}
		set(revoked, "reason", t.CancellationReason)
		e.Revoked = append(e.Revoked, revoked)
	}
	if t.IsUpgraded {
		e.Upgraded = append(e.Upgraded, t.TransactionID)
	}
	if t.InAppOwnershipType == iap.OwnershipFamilyShared {
		e.FamilyShared = append(e.FamilyShared, t.TransactionID)
	}
}

func (e *expected) describeChains(chains map[string][]iap.Transaction) {
	e.Subscriptions = make(map[string]fields)
	for _, id := range slices.Sorted(maps.Keys(chains)) {
		chain := chains[id]
		if len(chain) == 0 {
			continue
		}
		newest := slices.MaxFunc(chain, byExpiry)
		described := fields{"n": len(chain), "max_expires_ms": newest.ExpiresDate.UnixMilli(), "product_id": newest.ProductID}
		chain = slices.DeleteFunc(chain, func(t iap.Transaction) bool { return t.IsRevoked() || t.IsUpgraded })
		if len(chain) == 0 {
			described["max_expires_ms_unrevoked"] = nil
		} else if left := slices.MaxFunc(chain, byExpiry).ExpiresDate; !left.Equal(newest.ExpiresDate) {
			described["max_expires_ms_unrevoked"] = left.UnixMilli()
		}
		if len(chain) > 0 && e.RequestDateMS > 0 && slices.MaxFunc(chain, byExpiry).ExpiresDate.UnixMilli() > e.RequestDateMS {
			e.Active = append(e.Active, id)
		}
		e.Subscriptions[id] = described
	}
}

func describeRenewal(r iap.RenewalInfo) fields {
	f := fields{}
	if r.OriginalTransactionID == "" && r.ProductID == "" {
		f["top_level"] = true
	}
	set(f, "original_transaction_id", r.OriginalTransactionID)
	set(f, "product_id", r.ProductID)
	set(f, "auto_renew_product_id", r.AutoRenewProductID)
	set(f, "auto_renew_status", digit(r.AutoRenewStatus))
	set(f, "is_in_billing_retry_period", digit(r.IsInBillingRetryPeriod))
	set(f, "expiration_intent", string(r.ExpirationIntent))
	set(f, "promotional_offer_id", r.PromotionalOfferID)
	if !r.GracePeriodExpiresDate.IsZero() {
		f["grace_period_expires_ms"] = r.GracePeriodExpiresDate.UnixMilli()
	}
	return f
}

func set(f fields, name, value string) {
	if value != "" {
		f[name] = value
	}
}

func digit(b *bool) string {
	switch {
	case b == nil:
		return ""
	case *b:
		return "1"
	}
	return "0"
}

func byExpiry(a, b iap.Transaction) int { return a.ExpiresDate.Compare(b.ExpiresDate) }
