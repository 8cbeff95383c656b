package appstore_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

// errUndated stands for a reply that is believed, but for the subscription whose
// newest period it does not date.
var errUndated = errors.New("undated")

// TestRepliesAtTheBounds reads every file of testdata/bounds. What is not usable
// is a failed response: no facts are believed of it.
func TestRepliesAtTheBounds(t *testing.T) {
	t.Parallel()
	want := map[string]error{
		"status_2147483648":   appstore.ErrNoStatus,
		"status_-2147483649":  appstore.ErrNoStatus,
		"status_of_20_digits": appstore.ErrNoStatus,

		"transaction_id_of_3000_bytes":          appstore.ErrUnusableText,
		"original_transaction_id_of_5000_bytes": appstore.ErrUnusableText,
		"product_id_of_257_bytes":               appstore.ErrUnusableText,
		"group_of_300_bytes":                    appstore.ErrUnusableText,
		"bundle_id_of_300_bytes":                appstore.ErrUnusableText,
		"token_of_4000_bytes":                   appstore.ErrUnusableText,
		"next_product_of_300_bytes":             appstore.ErrUnusableText,
		"transaction_id_that_is_a_list":         appstore.ErrUnusableText,
		"ids_of_256_bytes":                      nil,

		"expiry_after_9999":           errUndated,
		"expiry_at_the_end_of_9999":   errUndated,
		"expiry_in_2200":              errUndated,
		"expiry_in_1999":              errUndated,
		"expiry_of_another_type":      errUndated,
		"refund_after_9999":           errUndated,
		"request_date_after_9999":     appstore.ErrNoTime,
		"request_date_in_1970":        appstore.ErrNoTime,
		"request_date_that_is_a_word": appstore.ErrNoTime,
		"purchase_after_9999":         nil, // decides nothing, and reads as none

		"21006_with_an_active_period":                      appstore.ErrContradiction,
		"21006_with_an_active_period_in_the_receipt_alone": appstore.ErrContradiction,
		"21006_with_an_active_period_in_a_list":            appstore.ErrContradiction,
		"21006_as_it_should_be":                            nil,
		"21006_with_a_refunded_period":                     nil,

		"zero_characters": nil,
	}
	files, err := filepath.Glob("testdata/bounds/*.json")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files and error %v, want %d", len(files), err, len(want))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a, err := newClient(t, serve(t, answer(string(body)), nil)).VerifyReceipt(t.Context(), request())
			unusable, known := want[name]
			if c := iap.Derive(&a.Facts); unusable == errUndated {
				if len(c.Undated) != 1 || len(c.Subscriptions)+len(c.Purchases) > 0 {
					t.Errorf("concludes %+v, want nothing of a subscription without a date", c)
				}
				unusable = nil
			}
			if !known || !errors.Is(err, unusable) || errors.Is(err, appstore.ErrMalformedReply) != (unusable != nil) {
				t.Errorf("got error %v, want %v", err, unusable)
			}
			var status *appstore.StatusError
			if errors.As(err, &status) {
				t.Errorf("the status %d is believed", status.Code)
			}
		})
	}
}

func TestImpossibleDatesReadAsNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"946684800000":         time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		"946684799999":         {},
		"7258118399999":        time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Millisecond),
		"7258118400000":        {},
		"253402300799999":      {},
		"99999999999999999999": {},
		"-1":                   {},
	} {
		r := decode(t, `{"status":0,"latest_receipt_info":{"transaction_id":"1","purchase_date_ms":"`+text+`"}}`)
		if got := r.Facts.Transactions()[0].PurchaseDate; !got.Equal(want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// TestNoTimeIsTakenFromAnImpossibleHeader where a reply has no time of its own.
func TestNoTimeIsTakenFromAnImpossibleHeader(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"} {
		c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", date)
			answer(`{"status":0,"receipt":{"bid":"com.example.app","transaction_id":"1"}}`)(w, r)
		}, nil))
		if a, err := c.VerifyReceipt(t.Context(), request()); !errors.Is(err, appstore.ErrNoTime) {
			t.Errorf("%s: facts as of %v, error %v; want %v", date, a.Facts.AsOf, err, appstore.ErrNoTime)
		}
	}
}

// TestZeroCharactersAreDropped in every text that is kept: Postgres stores none.
func TestZeroCharactersAreDropped(t *testing.T) {
	t.Parallel()
	const zero = `\u0000`
	fields := []string{
		"transaction_id", "original_transaction_id", "product_id", "subscription_group_identifier", "cancellation_reason",
		"in_app_ownership_type", "promotional_offer_id", "offer_code_ref_name", "app_account_token",
	}
	body := `{"status":0,"receipt":{"bundle_id":"com` + zero + `"},"latest_receipt_info":[{"quantity":"1"`
	for _, f := range fields {
		body += `,"` + f + `":"a` + zero + "\x00" + `b"`
	}
	body += `}],"pending_renewal_info":[{"original_transaction_id":"a` + zero + `b","product_id":"a` + zero + `b","auto_renew_product_id":"a` + zero + `b",` +
		`"expiration_intent":"` + zero + `1","price_consent_status":"` + zero + `1","price_increase_status":"` + zero + `1"}]}`
	got := factsOf(decode(t, body).Facts)
	want := facts{BundleID: "com", Transactions: []iap.Transaction{{
		TransactionID: "ab", OriginalTransactionID: "ab", ProductID: "ab", SubscriptionGroupIdentifier: "ab", Quantity: 1,
		CancellationReason: "ab", InAppOwnershipType: "ab", PromotionalOfferID: "ab", OfferCodeRefName: "ab", AppAccountToken: "ab",
	}}, Renewals: []iap.RenewalInfo{{
		OriginalTransactionID: "ab", ProductID: "ab", AutoRenewProductID: "ab", ExpirationIntent: "1", PriceConsentStatus: "1", PriceIncreaseStatus: "1",
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts (-want +got)\n%s", diff)
	}
}

// TestHeadersAreBounded has a server send more of them than anybody wants, also
// where the client was given without a limit of its own.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	for name, given := range map[string]*http.Client{
		"no client given": nil, "a client without a transport": {}, "a transport without a limit": {Transport: transport},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for size, want := range map[int]error{8 << 10: nil, 9_600_000: appstore.ErrConnection} {
				cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
					for i := range size / 8000 {
						w.Header().Set("X-Filler-"+unix(int64(i)), strings.Repeat("f", 8000))
					}
					answer(accepted)(w, r)
				}, nil)
				cfg.HTTPClient = given
				if _, err := newClient(t, cfg).VerifyReceipt(t.Context(), request()); !errors.Is(err, want) {
					t.Errorf("%d bytes of headers: got error %v, want %v", size, err, want)
				}
			}
		})
	}
	if transport.MaxResponseHeaderBytes != 0 {
		t.Error("the transport that was given is changed")
	}
}

// TestImpossibleTimeIsKept with its error, so that it can be compared with the
// clock: where all replies are of 1970, it is known by how much they differ.
func TestImpossibleTimeIsKept(t *testing.T) {
	t.Parallel()
	const modern, iOS6 = `{"status":0,"receipt":{"bundle_id":"com.example.app","request_date_ms":"%s"}}`, `{"status":0,"receipt":{"bid":"com.example.app"}}`
	for name, test := range map[string]struct {
		body, date string
		want       time.Time
	}{
		"of its own":       {fmt.Sprintf(modern, "5097600000"), "", time.Date(1970, 3, 1, 0, 0, 0, 0, time.UTC)},
		"far ahead":        {fmt.Sprintf(modern, "32503680000000"), "", time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"the header's":     {iOS6, "Sun, 01 Mar 1970 00:00:00 GMT", time.Date(1970, 3, 1, 0, 0, 0, 0, time.UTC)},
		"beyond all years": {fmt.Sprintf(modern, "9223372036854775807"), "yesterday", time.Time{}},
	} {
		c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if test.date != "" {
				w.Header().Set("Date", test.date)
			}
			answer(test.body)(w, r)
		}, nil))
		if a, err := c.VerifyReceipt(t.Context(), request()); !errors.Is(err, appstore.ErrNoTime) || !a.Facts.AsOf.Equal(test.want) {
			t.Errorf("%s: facts as of %v, error %v; want %v and %v", name, a.Facts.AsOf, err, test.want, appstore.ErrNoTime)
		}
	}
}
