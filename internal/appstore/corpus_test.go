package appstore_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
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

// corpus reads every reply of the folder that REVALIDATOR_CORPUS names.
func corpus(t testing.TB) []reply {
	t.Helper()
	dir := os.Getenv("REVALIDATOR_CORPUS")
	if dir == "" {
		t.Skip("REVALIDATOR_CORPUS is not set: recorded replies are not part of the repository")
	}
	index, err := os.Open(filepath.Join(dir, "INDEX.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	rows, err := csv.NewReader(index).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	file, expect := column(t, rows[0], "file"), column(t, rows[0], "expect")
	var replies []reply
	for _, row := range rows[1:] {
		body, err := os.ReadFile(filepath.Join(dir, row[file]))
		if err != nil {
			t.Fatal(err)
		}
		switch filepath.Dir(row[file]) {
		case "responses", "fragments":
			replies = append(replies, reply{row[file], body, decodeExpected(t, row[expect])})
		case "notifications":
			replies = append(replies, unifiedReceipt(t, row[file], body, row[expect])...)
		}
	}
	return replies
}

func column(t testing.TB, header []string, name string) int {
	t.Helper()
	for i, h := range header {
		if h == name {
			return i
		}
	}
	t.Fatalf("INDEX.csv has no column %s", name)
	return 0
}

func decodeExpected(t testing.TB, text string) expected {
	t.Helper()
	var e expected
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// unifiedReceipt takes the part of a notification that has the shape of a
// reply, where there is one.
func unifiedReceipt(t testing.TB, file string, body []byte, expect string) []reply {
	t.Helper()
	var got, want struct {
		Unified json.RawMessage `json:"unified_receipt"`
	}
	if err := errors.Join(json.Unmarshal(body, &got), json.Unmarshal([]byte(expect), &want)); err != nil {
		t.Fatal(err)
	}
	if want.Unified == nil {
		return nil
	}
	return []reply{{file, got.Unified, decodeExpected(t, string(want.Unified))}}
}

// difference is one field of one reply in which this package differs from what
// the corpus expects, and on purpose.
type difference struct{ file, field, reason string }

// differences are all of one kind: the authors of three replies dropped the
// milliseconds of a date when they edited it, and the script reads the text.
// No recorded reply needs that, so the date is counted in Unknown and not read,
// and the client refuses the reply.
func differences() []difference {
	const (
		cancellation = "cancellation_date has no cancellation_date_ms"
		expires      = "expires_date has no expires_date_ms"
		b50639       = "responses/gabrielgarza-cancellation-response-b50639.json"
		d420de       = "responses/gabrielgarza-cancellation-response-d420de.json"
		f6389d       = "responses/nomad-receipt-not-expired-cancelled-f6389d.json"
	)
	return []difference{
		{b50639, "revoked", cancellation},
		{b50639, "subscriptions", cancellation},
		{d420de, "revoked", cancellation},
		{d420de, "subscriptions", cancellation},
		{f6389d, "n_without_expiry", expires},
		{f6389d, "subscriptions", expires},
		{f6389d, "active_at_request_date", expires},
	}
}

func TestVerifyReceiptCorpus(t *testing.T) {
	t.Parallel()
	replies := corpus(t)
	if len(replies) < 60 {
		t.Errorf("got %d replies, want the whole corpus", len(replies))
	}
	open := make(map[[2]string]string) // reasons of differences not yet seen
	for _, d := range differences() {
		open[[2]string{d.file, d.field}] = d.reason
	}
	for _, r := range replies {
		got, want := verify(t, r)
		for field := range union(got, want) {
			diff := cmp.Diff(want[field], got[field])
			key := [2]string{r.file, field}
			_, known := open[key]
			if diff != "" && !known {
				t.Errorf("%s: %s differs (-want +got):\n%s", r.file, field, diff)
			}
			if diff != "" {
				delete(open, key)
			}
		}
	}
	for key, reason := range open {
		t.Errorf("%s: %s does not differ although %s", key[0], key[1], reason)
	}
}

func union(a, b fields) fields {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// verify asks a server that answers with the reply, and returns what the
// answer says beside what the corpus says of it.
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
	slices.SortFunc(r.want.Revoked, byTransaction)
	slices.Sort(r.want.Upgraded)
	return flatten(t, describe(a, err)), flatten(t, r.want)
}

// err is the error that the client must return with such a reply.
func (r reply) err() error {
	undated := slices.ContainsFunc(differences(), func(d difference) bool { return d.file == r.file })
	switch e := r.want; {
	case undated:
		return nil
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

func byTransaction(a, b fields) int {
	return strings.Compare(a["transaction_id"].(string), b["transaction_id"].(string))
}
