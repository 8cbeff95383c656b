package appstore_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

// facts is what a test looks at in iap.Facts.
type facts struct {
	AsOf         time.Time
	Environment  iap.Environment
	BundleID     string
	Transactions []iap.Transaction
	Renewals     []iap.RenewalInfo
}

func factsOf(f iap.Facts) facts {
	return facts{f.AsOf, f.Environment, f.BundleID, f.Transactions(), f.RenewalInfos()}
}

func decode(t testing.TB, body string) appstore.Reply {
	t.Helper()
	r, err := appstore.DecodeReply(strings.NewReader(body), appstore.Limits{})
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return r
}

func ms(n int64) time.Time { return time.UnixMilli(n).UTC() }

// The records are made up.
const (
	fullTransaction = `{"quantity":"1", "product_id":"monthly", "transaction_id":"2", "original_transaction_id":"1",
		"purchase_date":"2025-01-01 00:00:00 Etc/GMT", "purchase_date_ms":"1735689600000", "purchase_date_pst":"x",
		"original_purchase_date_ms":"1735689601000", "expires_date":"2025-02-01 00:00:00 Etc/GMT",
		"expires_date_ms":"1738368000000", "cancellation_date":"x", "cancellation_date_ms":"1735700000000",
		"cancellation_reason":"0", "web_order_line_item_id":"3", "is_trial_period":"true",
		"is_in_intro_offer_period":"true", "is_upgraded":"true", "in_app_ownership_type":"FAMILY_SHARED",
		"subscription_group_identifier":"20", "promotional_offer_id":"promo", "offer_code_ref_name":"code",
		"app_account_token":"token"}`
	fullRenewal = `{"original_transaction_id":"1", "product_id":"monthly", "auto_renew_product_id":"yearly",
		"auto_renew_status":"0", "expiration_intent":"2", "is_in_billing_retry_period":"1",
		"grace_period_expires_date":"x", "grace_period_expires_date_ms":"1738400000000",
		"price_consent_status":"0", "price_increase_status":"1", "promotional_offer_id":"promo",
		"offer_code_ref_name":"code"}`
)

func fullFacts() facts {
	return facts{
		AsOf: ms(1738300000123), Environment: iap.Sandbox, BundleID: "com.example.app",
		Transactions: []iap.Transaction{{
			TransactionID: "2", OriginalTransactionID: "1", WebOrderLineItemID: "3",
			ProductID: "monthly", SubscriptionGroupIdentifier: "20", Quantity: 1,
			PurchaseDate: ms(1735689600000), OriginalPurchaseDate: ms(1735689601000), ExpiresDate: ms(1738368000000),
			CancellationDate: ms(1735700000000), CancellationReason: "0",
			IsTrialPeriod: true, IsInIntroOfferPeriod: true, IsUpgraded: true,
			InAppOwnershipType: iap.OwnershipFamilyShared, PromotionalOfferID: "promo", OfferCodeRefName: "code",
			AppAccountToken: "token",
		}},
		Renewals: []iap.RenewalInfo{{
			OriginalTransactionID: "1", ProductID: "monthly", AutoRenewProductID: "yearly",
			AutoRenewStatus: new(false), ExpirationIntent: iap.IntentBillingError, IsInBillingRetryPeriod: new(true),
			GracePeriodExpiresDate: ms(1738400000000), PriceConsentStatus: "0", PriceIncreaseStatus: "1",
			PromotionalOfferID: "promo", OfferCodeRefName: "code",
		}},
	}
}

func TestDecodeReplyReadsEveryField(t *testing.T) {
	t.Parallel()
	full := `{"receipt":{"bundle_id":"com.example.app", "request_date_ms":"1738300000123", "in_app":[` + fullTransaction + `]},
		"latest_receipt_info":[` + fullTransaction + `], "latest_receipt":"MII\/", "pending_renewal_info":[` + fullRenewal + `],
		"environment":"Sandbox", "status":0}`
	got := decode(t, full)
	if diff := cmp.Diff(fullFacts(), factsOf(got.Facts)); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if len(got.Unknown) > 0 {
		t.Errorf("got unknown %v, want none", got.Unknown)
	}
}

// TestDecodeReplyShapes gives the same facts in every shape that they come in.
func TestDecodeReplyShapes(t *testing.T) {
	t.Parallel()
	const transaction = `{"transaction_id":"2","original_transaction_id":"1","expires_date_ms":"1738368000000"}`
	plain := facts{BundleID: "a", Transactions: []iap.Transaction{
		{TransactionID: "2", OriginalTransactionID: "1", ExpiresDate: ms(1738368000000)},
	}}
	renewal := plain
	renewal.Renewals = []iap.RenewalInfo{{AutoRenewStatus: new(true), AutoRenewProductID: "p"}}
	entitled := func(change func(*iap.Transaction)) facts {
		f := plain
		f.Transactions = []iap.Transaction{plain.Transactions[0]}
		change(&f.Transactions[0])
		return f
	}
	tests := []struct {
		name, body string
		want       facts
	}{
		{"list", `"receipt":{"bundle_id":"a"},"latest_receipt_info":[` + transaction + `]`, plain},
		{"object", `"receipt":{"bundle_id":"a"},"latest_receipt_info":` + transaction, plain},
		{"expired object", `"receipt":{"bundle_id":"a"},"latest_expired_receipt_info":` + transaction, plain},
		{"in_app", `"receipt":{"bundle_id":"a","in_app":[` + transaction + `]}`, plain},
		{"in_app as an object", `"receipt":{"in_app":` + transaction + `,"bundle_id":"a"}`, plain},
		{"iOS 6", `"receipt":{"bid":"a",` + transaction[1:], plain},
		{"iOS 6, refunded in one of two", `"receipt":{"bid":"a","cancellation_date_ms":"1735700000000",` + transaction[1:] + `,"latest_receipt_info":` + transaction, entitled(func(t *iap.Transaction) { t.CancellationDate = ms(1735700000000) })},
		{"an app receipt is no transaction", `"receipt":{"bundle_id":"a","in_app":[],` + transaction[1:], facts{BundleID: "a", Transactions: []iap.Transaction{}}},
		{"iOS 6 date", `"receipt":{"bid":"a"},"latest_receipt_info":{"transaction_id":"2","original_transaction_id":"1","expires_date":"1738368000000"}`, plain},
		{"iOS 6 date as a number", `"receipt":{"bid":"a"},"latest_receipt_info":{"transaction_id":2,"original_transaction_id":1,"expires_date":1738368000000}`, plain},
		{"iOS 6 date of a refund", `"receipt":{"bid":"a"},"latest_receipt_info":{"cancellation_date":"1735700000000",` + transaction[1:], entitled(func(t *iap.Transaction) { t.CancellationDate = ms(1735700000000) })},
		{"numbers", `"receipt":{"bundle_id":"a"},"latest_receipt_info":[{"transaction_id":2,"original_transaction_id":1,"expires_date_ms":1738368000000,"quantity":7}]`, entitled(func(t *iap.Transaction) { t.Quantity = 7 })},
		{"every digit", `"receipt":{"bundle_id":"a"},"latest_receipt_info":[{"transaction_id":999999999999999999,"original_transaction_id":1,"expires_date_ms":1738368000000}]`, entitled(func(t *iap.Transaction) { t.TransactionID = "999999999999999999" })},
		{"booleans", `"receipt":{"bundle_id":"a"},"latest_receipt_info":[{"is_upgraded":true,"is_trial_period":1,"is_in_intro_offer_period":false,` + transaction[1:] + `]`, entitled(func(t *iap.Transaction) { t.IsUpgraded, t.IsTrialPeriod = true, true })},
		{"nulls", `"receipt":{"bundle_id":"a"},"pending_renewal_info":null,"latest_receipt_info":[null,{"product_id":null,"quantity":null,"is_upgraded":null,"cancellation_date_ms":null,` + transaction[1:] + `]`, plain},
		{"empty texts", `"receipt":{"bundle_id":"a"},"latest_receipt_info":[{"cancellation_date_ms":"","is_upgraded":"",` + transaction[1:] + `]`, plain},
		{"last key wins", `"receipt":{"bundle_id":"b","bundle_id":"a"},"latest_receipt_info":[{"transaction_id":"9",` + transaction[1:] + `]`, plain},
		{"null wins too", `"receipt":{"bundle_id":"a"},"latest_receipt_info":[{"cancellation_date_ms":"1","cancellation_date_ms":null,` + transaction[1:] + `]`, plain},
		{"escapes", `"receipt":{"bundle_id":"\u0061"},"latest_receipt_info":[{"product_id":"\u00e9\ud83d\ude00\/\"\\",` + transaction[1:] + `]`, entitled(func(t *iap.Transaction) { t.ProductID = `é😀/"\` })},
		{"half a character", `"receipt":{"bundle_id":"a"},"latest_receipt_info":[{"product_id":"x\ud83d\u0041",` + transaction[1:] + `]`, entitled(func(t *iap.Transaction) { t.ProductID = "x\ufffdA" })},
		{"bytes that are no text", `"receipt":{"bundle_id":"a"},"latest_receipt_info":[{"product_id":"x` + "\xff" + `",` + transaction[1:] + `]`, entitled(func(t *iap.Transaction) { t.ProductID = "x\ufffd" })},
		{"control characters", `"receipt":{"bundle_id":"` + "a\x01\n" + `"},` + "\x00\x0b" + `"latest_receipt_info":[{"product_id":"x\u0000\n",` + transaction[1:] + `]`, entitled(func(t *iap.Transaction) { t.ProductID = "x" })},
		{"top-level renewal", `"auto_renew_status":1,"receipt":{"bid":"a",` + transaction[1:] + `,"auto_renew_product_id":"p"`, renewal},
		{"one renewal", `"receipt":{"bid":"a",` + transaction[1:] + `,"pending_renewal_info":{"auto_renew_status":"1","auto_renew_product_id":"p"}`, renewal},
		{"renewals of both kinds", `"auto_renew_status":0,"receipt":{"bid":"a",` + transaction[1:] + `,"pending_renewal_info":[{"auto_renew_status":"1","auto_renew_product_id":"p"}]`, renewal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, body := range []string{`{"status":0,` + tt.body + `}`, "\ufeff\r\n{" + tt.body + `,"status":0}` + "\n"} {
				got := factsOf(decode(t, body).Facts)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("facts of %s (-want +got):\n%s", body, diff)
				}
			}
		})
	}
}

func TestDecodeReplyCountsUnknown(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name, body string
		want       map[string]int
	}{
		{"keys", `"a":1,"b":{"a":[]},"a":"x"`, map[string]int{"reply.a": 2, "reply.b": 1}},
		{"keys of a receipt", `"receipt":{"new_key":1}`, map[string]int{"receipt.new_key": 1}},
		{"keys of records", `"latest_receipt_info":[{"transaction_id":"1","k":1},{"transaction_id":"2","k":1}]`, map[string]int{"latest_receipt_info.k": 2}},
		{"keys of renewals", `"pending_renewal_info":[{"k":1}]`, map[string]int{"pending_renewal_info.k": 1}},
		{"strange keys", `"\u003cscript\u003e":1,"` + long + `":1,"":1`, map[string]int{"reply.(unprintable)": 3, "(texts too long to keep)": 1}},
		{"values", `"environment":"Moon","latest_receipt_info":{"transaction_id":"1","in_app_ownership_type":"RENTED","is_upgraded":"maybe","quantity":"-1"}`,
			map[string]int{"environment=Moon": 1, "in_app_ownership_type=RENTED": 1, "is_upgraded=maybe": 1, "quantity=-1": 1}},
		{"values of renewals", `"pending_renewal_info":[{"expiration_intent":"6"}]`, map[string]int{"expiration_intent=6": 1}},
		{"dates", `"latest_receipt_info":{"transaction_id":"1","expires_date_ms":"0","purchase_date_ms":"253402300800000"},"pending_renewal_info":{"grace_period_expires_date_ms":"soon"}`,
			map[string]int{
				"grace_period_expires_date_ms that is no possible date": 1, "expires_date_ms that is no possible date": 1,
				"purchase_date_ms that is no possible date": 1,
			}},
		{"text dates", `"latest_receipt_info":{"transaction_id":"1","cancellation_date":"2025-01-01 00:00:00 Etc/GMT"}`, map[string]int{"latest_receipt_info with a text date only": 1}},
		{"long values", `"environment":"` + long + `"`, map[string]int{"(texts too long to keep)": 1}},
		{"other types", `"receipt":"none","latest_receipt_info":[1,[],"x"],"pending_renewal_info":true,"environment":{}`,
			map[string]int{"receipt of another type": 1, "latest_receipt_info of another type": 3, "pending_renewal_info of another type": 1, "(values of another type)": 1}},
		{"no id", `"latest_receipt_info":[{}]`, map[string]int{"latest_receipt_info without an id": 1}},
		{"control characters", `"environment":"Sand` + "\x07" + `box\u0000"`, map[string]int{"(control characters)": 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := decode(t, `{"status":0,`+tt.body+`}`).Unknown
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("unknown (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeReplyBoundsUnknown(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, `"k%d":1,`, i)
	}
	got := decode(t, "{"+body.String()+`"status":0}`).Unknown
	total := 0
	for n := range maps.Values(got) {
		total += n
	}
	if len(got) > 65 || total != 1000 {
		t.Errorf("got %d names and %d in all, want at most 65 and 1000", len(got), total)
	}
}

// TestDecodeReplyAtEveryBorder moves a reply over the border of the window by
// one byte at a time, and also reads it byte by byte.
func TestDecodeReplyAtEveryBorder(t *testing.T) {
	t.Parallel()
	const window = 32 << 10
	const tail = `\\\"","receipt":{"bundle_id" : "com.ex\u0061mple.app","k":[null,-1.5e3,"\\"]},"latest_receipt_info":[{"transaction_id":12}],"status":0}`
	check := func(body string) {
		r, err := appstore.DecodeReply(strings.NewReader(body), appstore.Limits{})
		f := factsOf(r.Facts)
		if err != nil || f.BundleID != "com.example.app" || len(f.Transactions) != 1 || f.Transactions[0].TransactionID != "12" {
			t.Errorf("length %d: got %+v and error %v", len(body), f, err)
		}
	}
	for shift := range len(tail) + 20 {
		for _, filler := range []string{"A", `\/`} {
			pad := strings.Repeat(filler, (window-10-shift)/len(filler)) + strings.Repeat("A", shift%2)
			check(`{"latest_receipt":"` + pad + tail)
		}
	}
	r, err := appstore.DecodeReply(iotest.OneByteReader(strings.NewReader(`{"latest_receipt":"A`+tail)), appstore.Limits{})
	if err != nil || r.Facts.BundleID != "com.example.app" {
		t.Errorf("byte by byte: got %q and error %v", r.Facts.BundleID, err)
	}
}

func TestDecodeReplyLimits(t *testing.T) {
	t.Parallel()
	body := `{"status":0,"receipt":{"in_app":[{"transaction_id":"1"}]}}`
	tests := []struct {
		name   string
		limits appstore.Limits
		ok     bool
	}{
		{"bytes at the limit", appstore.Limits{MaxReplyBytes: int64(len(body))}, true},
		{"a byte more", appstore.Limits{MaxReplyBytes: int64(len(body)) - 1}, false},
		{"depth at the limit", appstore.Limits{MaxDepth: 4}, true},
		{"one deeper", appstore.Limits{MaxDepth: 3}, false},
		{"records at the limit", appstore.Limits{MaxRecords: 1}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := appstore.DecodeReply(strings.NewReader(body), tt.limits); (err == nil) != tt.ok {
				t.Errorf("got error %v, want success %t", err, tt.ok)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const app = `"receipt":{"bundle_id":"com.example.app","request_date_ms":"1709294400000","receipt_type":"ProductionSandbox"`
	active := `"latest_receipt_info":[{"transaction_id":"1","expires_date_ms":"1809294400000"}]`
	tests := map[string]struct {
		body string
		want error
	}{
		"a success":                   {`{"status":0,` + app + `}}`, nil},
		"a success as a text":         {`{"status":"0",` + app + `}}`, nil},
		"expired, by its code":        {`{"status":21006}`, nil},
		"a refusal":                   {`{"status":21010,"is-retryable":"0"}`, appstore.ErrAccountGone},
		"another app":                 {`{"status":0,"receipt":{"bundle_id":"com.example.other","request_date_ms":"1709294400000"}}`, appstore.ErrWrongApp},
		"no app":                      {`{"status":0,"receipt":{"request_date_ms":"1709294400000"}}`, appstore.ErrNoBundleID},
		"expired, with an active one": {`{"status":21006,` + app + `},` + active + `}`, appstore.ErrContradiction},
		"no time":                     {`{"status":0,"receipt":{"bundle_id":"com.example.app"}}`, appstore.ErrNoTime},
	}
	for name, test := range tests {
		reply := decode(t, test.body)
		if name == "expired, by its code" { // HTTP tells when it came
			reply.Facts.AsOf = fixedNow
		}
		if err := reply.Judge("com.example.app", iap.Production); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", name, err, test.want)
		}
	}
	want := &appstore.StatusError{Code: 21010, Retryable: new(false), Environment: iap.Sandbox}
	got := decode(t, `{"status":21010,"is-retryable":"0"}`).Judge("", iap.Sandbox)
	if diff := cmp.Diff(error(want), got); diff != "" {
		t.Errorf("21010 (-want +got):\n%s", diff)
	}
}

// TestReceiptTypeContradicts counts a receipt_type that is of another environment.
func TestReceiptTypeContradicts(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{
		`{"status":0,"environment":"Production","receipt":{"receipt_type":"ProductionSandbox"}}`: 1,
		`{"status":0,"receipt":{"receipt_type":"ProductionVPP"},"environment":"Sandbox"}`:        1,
		`{"status":0,"receipt":{"receipt_type":"ProductionVPPSandbox"},"environment":"Sandbox"}`: 0,
		`{"status":0,"receipt":{"receipt_type":"Xcode"},"environment":"Sandbox"}`:                0,
		`{"status":0,"receipt":{"receipt_type":"Production"}}`:                                   0,
		`{"status":0,"receipt":{"receipt_type":null},"environment":"Sandbox"}`:                   0,
	} {
		if got := decode(t, body).Unknown[appstore.ReceiptTypeContradicts]; got != want {
			t.Errorf("%s: counted %d times, want %d", body, got, want)
		}
	}
}

func TestDecodeReplyPassesOnReadErrors(t *testing.T) {
	t.Parallel()
	errDisk := errors.New("disk is gone")
	r := io.MultiReader(strings.NewReader(`{"status":0,`), iotest.ErrReader(errDisk))
	if _, err := appstore.DecodeReply(r, appstore.Limits{}); !errors.Is(err, errDisk) {
		t.Errorf("got error %v, want %v", err, errDisk)
	}
}
