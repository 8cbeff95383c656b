package appstore_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

func TestVerifyReceiptStatus(t *testing.T) {
	t.Parallel()
	const receipt = `"receipt":{"bundle_id":"com.example.app","in_app":[]}`
	tests := []struct {
		name string
		body string
		want error // nil is a success
		code appstore.Code
	}{
		{"accepted", `{"status":0,` + receipt + `}`, nil, 0},
		{"accepted, status as a string", `{"status":"0",` + receipt + `}`, nil, 0},
		{"expired, iOS 6", `{"status":21006,"receipt":{"bid":"com.example.app","transaction_id":"1"}}`, nil, 21006},
		{"expired, status only", `{"status":21006}`, nil, 21006},
		{"not POST", `{"status":21000}`, appstore.ErrBadRequest, 21000},
		{"no longer sent", `{"status":21001}`, appstore.ErrBadRequest, 21001},
		{"malformed", `{"status":21002}`, appstore.ErrMalformedReceipt, 21002},
		{"malformed, as a string", `{"status":"21002"}`, appstore.ErrMalformedReceipt, 21002},
		{"not authenticated", `{"status":21003}`, appstore.ErrNotAuthenticated, 21003},
		{"shared secret", `{"status":21004}`, appstore.ErrSharedSecret, 21004},
		{"unavailable", `{"status":21005}`, appstore.ErrUnavailable, 21005},
		{"sandbox, from the sandbox itself", `{"status":21007}`, appstore.ErrEnvironmentSwitch, 21007},
		{"internal", `{"status":21009}`, appstore.ErrUnavailable, 21009},
		{"account gone", `{"status":21010,"is_retryable":false}`, appstore.ErrAccountGone, 21010},
		{"null response", `{"status":-1}`, appstore.ErrUnavailable, -1},
		{"data access, no flag", `{"status":21100}`, appstore.ErrUnavailable, 21100},
		{"data access, flag null", `{"status":21100,"is_retryable":null}`, appstore.ErrUnavailable, 21100},
		{"data access, flag true", `{"status":21199,"is_retryable":true}`, appstore.ErrUnavailable, 21199},
		{"data access, flag 1", `{"status":21150,"is-retryable":1}`, appstore.ErrUnavailable, 21150},
		{"data access, flag false", `{"is_retryable":false,"status":21100}`, appstore.ErrInternalPermanent, 21100},
		{"data access, old spelling", `{"status":21199,"is-retryable":false}`, appstore.ErrInternalPermanent, 21199},
		{"data access, flag 0", `{"status":21150,"is_retryable":0}`, appstore.ErrInternalPermanent, 21150},
		{"data access, flag \"0\"", `{"status":21150,"is-retryable":"0"}`, appstore.ErrInternalPermanent, 21150},
		{"data access, flag \"false\"", `{"status":21150,"is_retryable":"false"}`, appstore.ErrInternalPermanent, 21150},
		{"below data access", `{"status":21099,"is_retryable":false}`, appstore.ErrUnknownStatus, 21099},
		{"above data access", `{"status":21200}`, appstore.ErrUnknownStatus, 21200},
		{"unknown", `{"status":2}`, appstore.ErrUnknownStatus, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, nil, answer(tt.body)))
			got, err := c.VerifyReceipt(t.Context(), requestTo(iap.Sandbox))
			if !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
			if got.Code != tt.code {
				t.Errorf("got code %v, want %v", got.Code, tt.code)
			}
			if got.Environment != iap.Sandbox || got.Calls != 1 {
				t.Errorf("got %s after %d calls, want Sandbox after 1", got.Environment, got.Calls)
			}
			checkStatusError(t, err, tt.want, tt.code)
		})
	}
}

func checkStatusError(t *testing.T, err, want error, code appstore.Code) {
	t.Helper()
	var status *appstore.StatusError
	if got := errors.As(err, &status); got != (want != nil) {
		t.Fatalf("a StatusError in %v: got %t, want %t", err, got, want != nil)
	}
	if status != nil && (status.Code != code || status.Environment != iap.Sandbox) {
		t.Errorf("got %v of %s, want %v of Sandbox", status.Code, status.Environment, code)
	}
}

func TestStatusErrorSaysNoMoreThanTheClass(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, exception, want string }{
		{"class and text", `java.lang.IllegalArgumentException: got MIIVUAYJKoZIhvcN`, "java.lang.IllegalArgumentException"},
		{"class alone", `com.apple.jingle.NullResponse`, "com.apple.jingle.NullResponse"},
		{"text alone", `got MIIVUAYJKoZIhvcN`, "(unprintable)"},
		{"none", ``, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, answer(`{"status":21002,"exception":"`+tt.exception+`"}`), nil))
			_, err := c.VerifyReceipt(t.Context(), request())
			var status *appstore.StatusError
			if !errors.As(err, &status) || status.Exception != tt.want {
				t.Errorf("got %v, want exception %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "MIIV") {
				t.Errorf("the error quotes the reply: %v", err)
			}
		})
	}
}

func TestVerifyReceiptEnvironment(t *testing.T) {
	t.Parallel()
	const (
		accepted     = `{"status":0,"receipt":{"bundle_id":"com.example.app"}}`
		isSandbox    = `{"status":21007}`
		isProduction = `{"status":21008}`
		wrongSecret  = `{"status":21004}`
	)
	type outcome struct {
		Environment iap.Environment
		Facts       iap.Environment
		Calls       int
	}
	tests := []struct {
		name                string
		learned             iap.Environment
		production, sandbox string // empty: must not be asked
		want                outcome
		wantErr             error
	}{
		{"unknown is production", "", accepted, "", outcome{iap.Production, iap.Production, 1}, nil},
		{"unknown is sandbox", "", isSandbox, accepted, outcome{iap.Sandbox, iap.Sandbox, 2}, nil},
		{"learned sandbox", iap.Sandbox, "", accepted, outcome{iap.Sandbox, iap.Sandbox, 1}, nil},
		{"learned sandbox is production", iap.Sandbox, accepted, isProduction, outcome{iap.Production, iap.Production, 2}, nil},
		{"learned production is sandbox", iap.Production, isSandbox, accepted, outcome{iap.Sandbox, iap.Sandbox, 2}, nil},
		{"learned although refused", "", isSandbox, wrongSecret, outcome{iap.Sandbox, "", 2}, appstore.ErrSharedSecret},
		{"nothing learned", "", wrongSecret, "", outcome{"", "", 1}, appstore.ErrSharedSecret},
		{"back and forth", "", isSandbox, isProduction, outcome{"", "", 2}, appstore.ErrEnvironmentSwitch},
		{"forth and back", iap.Sandbox, isSandbox, isProduction, outcome{iap.Sandbox, "", 2}, appstore.ErrEnvironmentSwitch},
		{"the same twice", "", isSandbox, isSandbox, outcome{"", "", 2}, appstore.ErrEnvironmentSwitch},
		{"production points to itself", "", isProduction, "", outcome{"", "", 1}, appstore.ErrEnvironmentSwitch},
		{"the reply knows better", "", `{"environment":"Sandbox",` + accepted[1:], "", outcome{iap.Sandbox, iap.Sandbox, 1}, nil},
		{"the reply knows no environment", "", `{"environment":"Xcode",` + accepted[1:], "", outcome{iap.Production, iap.Production, 1}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, optional(tt.production), optional(tt.sandbox)))
			a, err := c.VerifyReceipt(t.Context(), requestTo(tt.learned))
			if !errors.Is(err, tt.wantErr) {
				t.Errorf("got error %v, want %v", err, tt.wantErr)
			}
			got := outcome{a.Environment, a.Facts.Environment, a.Calls}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

func optional(body string) http.HandlerFunc {
	if body == "" {
		return nil
	}
	return answer(body)
}

func TestVerifyReceiptRefusesUnknownEnvironment(t *testing.T) {
	t.Parallel()
	c := newClient(t, serve(t, nil, nil))
	if a, err := c.VerifyReceipt(t.Context(), requestTo("Xcode")); err == nil || a.Calls != 0 {
		t.Errorf("got %d calls and error %v, want none and an error", a.Calls, err)
	}
}

// TestVerifyReceiptUndated reads records of which a date is there and cannot be
// read, or is missing from what is evidently a subscription. Such a record tells
// nothing, is never a one-time purchase, and does not fail the reply.
func TestVerifyReceiptUndated(t *testing.T) {
	t.Parallel()
	const ms = `"1738368000000"`
	for name, test := range map[string]struct {
		latest, inApp string
		// want is the subscriptions, undated subscriptions and purchases.
		want [3]int
	}{
		"expiry as text alone":          {`{"transaction_id":"1","expires_date":"2025-02-01 00:00:00 Etc/GMT"}`, "", [3]int{0, 1, 0}},
		"expiry in seconds with dots":   {`{"transaction_id":"1","expires_date_ms":"1738368000.5"}`, "", [3]int{0, 1, 0}},
		"refund as text alone":          {`{"transaction_id":"1","expires_date_ms":` + ms + `,"cancellation_date":"2025-02-01 00:00:00 Etc/GMT"}`, "", [3]int{0, 1, 0}},
		"refund of another form":        {`{"transaction_id":"1","expires_date_ms":` + ms + `,"cancellation_date_ms":"soon"}`, "", [3]int{0, 1, 0}},
		"refund of a purchase":          {`{"transaction_id":"1","cancellation_date_ms":"soon"}`, "", [3]int{0, 0, 0}},
		"without a transaction id":      {`{"original_transaction_id":"1","expires_date_ms":"soon"}`, "", [3]int{0, 1, 0}},
		"web order line item":           {`{"transaction_id":"1","web_order_line_item_id":"7"}`, "", [3]int{0, 1, 0}},
		"web order line item 0":         {`{"transaction_id":"1","web_order_line_item_id":"0"}`, "", [3]int{0, 0, 1}},
		"group, null expiry":            {`{"transaction_id":"1","subscription_group_identifier":"2","expires_date_ms":null}`, "", [3]int{0, 1, 0}},
		"trial, empty expiry":           {`{"transaction_id":"1","is_trial_period":"true","expires_date_ms":""}`, "", [3]int{0, 1, 0}},
		"introductory period":           {`{"transaction_id":"1","is_in_intro_offer_period":"true"}`, "", [3]int{0, 1, 0}},
		"no trial":                      {`{"transaction_id":"1","is_trial_period":"false"}`, "", [3]int{0, 0, 1}},
		"a bad record beside good ones": {`{"transaction_id":"1","expires_date_ms":` + ms + `},{"transaction_id":"2","is_trial_period":"true"},{"transaction_id":"3"}`, "", [3]int{1, 1, 1}},
		"the older period is undated": {`{"transaction_id":"2","original_transaction_id":"1","purchase_date_ms":"1735689600000","expires_date_ms":` + ms + `},
			{"transaction_id":"1","purchase_date_ms":"1733011200000","expires_date_ms":"soon"}`, "", [3]int{1, 0, 0}},
		"the newest period is undated": {`{"transaction_id":"1","purchase_date_ms":"1733011200000","expires_date_ms":` + ms + `},
			{"transaction_id":"2","original_transaction_id":"1","purchase_date_ms":"1735689600000","expires_date_ms":"soon"}`, "", [3]int{0, 1, 0}},
		"no date":                   {`{"transaction_id":"1"}`, "", [3]int{0, 0, 1}},
		"text beside milliseconds":  {`{"transaction_id":"1","expires_date_ms":` + ms + `,"expires_date":"2025-02-01 00:00:00 Etc/GMT"}`, "", [3]int{1, 0, 0}},
		"iOS 6":                     {`{"transaction_id":"1","expires_date":` + ms + `,"expires_date_formatted":"2025-02-01 00:00:00 Etc/GMT"}`, "", [3]int{1, 0, 0}},
		"known from the other list": {`{"transaction_id":"1","expires_date":"***"}`, `{"transaction_id":"1","expires_date_ms":` + ms + `}`, [3]int{1, 0, 0}},
		"stale in the other list":   {`{"transaction_id":"1","expires_date_ms":` + ms + `}`, `{"transaction_id":"1","expires_date":"***"}`, [3]int{1, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := `{"status":0,"latest_receipt_info":[` + test.latest + `],"receipt":{"bundle_id":"com.example.app","in_app":[` + test.inApp + `]}}`
			a, err := newClient(t, serve(t, answer(body), nil)).VerifyReceipt(t.Context(), request())
			if err != nil {
				t.Fatal(err)
			}
			c := iap.Derive(&a.Facts)
			if got := [3]int{len(c.Subscriptions), len(c.Undated), len(c.Purchases)}; got != test.want {
				t.Errorf("got %v subscriptions, undated ones and purchases, want %v", got, test.want)
			}
		})
	}
}

// TestVerifyReceiptRenewalNamesSubscription reads a record that only renewal
// information shows to be of a subscription.
func TestVerifyReceiptRenewalNamesSubscription(t *testing.T) {
	t.Parallel()
	for name, renewal := range map[string]string{
		"by its id":      `{"original_transaction_id":"1","auto_renew_status":"1"}`,
		"by its product": `{"product_id":"monthly","auto_renew_status":"1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := `{"status":0,"pending_renewal_info":[` + renewal + `],"receipt":{"bundle_id":"com.example.app","in_app":[{"transaction_id":"1","product_id":"monthly"}]}}`
			a, err := newClient(t, serve(t, answer(body), nil)).VerifyReceipt(t.Context(), request())
			if err != nil {
				t.Fatal(err)
			}
			if c := iap.Derive(&a.Facts); len(c.Undated) != 1 || len(c.Purchases) != 0 {
				t.Errorf("got %+v, want an undated subscription", c)
			}
		})
	}
}

func TestVerifyReceiptApp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       error
	}{
		{"app receipt", `{"status":0,"receipt":{"bundle_id":"com.example.app"}}`, nil},
		{"transaction receipt", `{"status":0,"receipt":{"bid":"com.example.app"}}`, nil},
		{"another app", `{"status":0,"receipt":{"bundle_id":"com.example.other"}}`, appstore.ErrWrongApp},
		{"another app, iOS 6", `{"status":21006,"receipt":{"bid":"com.example.other"}}`, appstore.ErrWrongApp},
		{"bundle_id counts more than bid", `{"status":0,"receipt":{"bundle_id":"com.example.other","bid":"com.example.app"}}`, appstore.ErrWrongApp},
		{"no receipt", `{"status":0}`, appstore.ErrNoBundleID},
		{"receipt is null", `{"status":0,"receipt":null}`, appstore.ErrNoBundleID},
		{"no bundle id is malformed too", `{"status":0}`, appstore.ErrMalformedReply},
		{"expired with facts of nobody", `{"status":21006,"latest_expired_receipt_info":{"transaction_id":"1"}}`, appstore.ErrNoBundleID},
		{"the code counts first", `{"status":21004,"receipt":{"bundle_id":"com.example.other"}}`, appstore.ErrSharedSecret},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, answer(tt.body), nil))
			_, err := c.VerifyReceipt(t.Context(), request())
			if !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
			var wrong *appstore.WrongAppError
			if errors.As(err, &wrong) && (wrong.Got != "com.example.other" || wrong.Want != "com.example.app") {
				t.Errorf("got %+v, want the other app and ours", wrong)
			}
		})
	}
}

func TestVerifyReceiptTime(t *testing.T) {
	t.Parallel()
	const iOS6 = `{"status":0,"receipt":{"bid":"com.example.app","transaction_id":"1"}}`
	date := fixedNow.Add(-time.Minute)
	tests := []struct {
		name, date, body string
		want             time.Time
		err              error
	}{
		{"Apple's own", date.Format(http.TimeFormat), `{"status":0,"receipt":{"bundle_id":"com.example.app","request_date_ms":"1738300000123"}}`, ms(1738300000123), nil},
		{"the header's", date.Format(http.TimeFormat), iOS6, date, nil},
		{"nobody's", "yesterday", iOS6, time.Time{}, appstore.ErrNoTime},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", tt.date)
				answer(tt.body)(w, r)
			}, nil))
			a, err := c.VerifyReceipt(t.Context(), request())
			if !errors.Is(err, tt.err) || !a.Facts.AsOf.Equal(tt.want) {
				t.Errorf("got facts as of %v and error %v, want %v and %v", a.Facts.AsOf, err, tt.want, tt.err)
			}
		})
	}
}

func TestVerifyReceiptCountsOddities(t *testing.T) {
	t.Parallel()
	c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `{"environment":"Sandbox",`+accepted[1:])
	}, nil))
	a, err := c.VerifyReceipt(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"content-type=text/html": 1, "environment other than asked": 1}
	if diff := cmp.Diff(want, a.Unknown); diff != "" {
		t.Errorf("unknown (-want +got):\n%s", diff)
	}
}

func TestCodeWords(t *testing.T) {
	t.Parallel()
	known := []appstore.Code{0, -1, 21000, 21001, 21002, 21003, 21004, 21005, 21006, 21007, 21008, 21009, 21010, 21100, 21199}
	unknown := appstore.Code(4711)
	for _, c := range known {
		if c.Meaning() == "" || c.Meaning() == unknown.Meaning() {
			t.Errorf("%d has no meaning of its own", int(c))
		}
	}
	if got, want := appstore.CodeSharedSecret.String(), "21004 shared secret refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := unknown.String(), "4711 unknown status"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTimeIsOfTheLastReply: where the second environment is not asked after all,
// or does not answer, the time of the first is not its own.
func TestTimeIsOfTheLastReply(t *testing.T) {
	t.Parallel()
	away := errors.New("no slot")
	r := request()
	r.Wait = func(_ context.Context, e iap.Environment) error {
		if e == iap.Sandbox {
			return away
		}
		return nil
	}
	c := newClient(t, serve(t, answer(`{"status":21007}`), nil))
	a, err := c.VerifyReceipt(t.Context(), r)
	if !errors.Is(err, away) || a.Calls != 1 || !a.Facts.AsOf.IsZero() {
		t.Errorf("got %+v and error %v, want one call and no time", a, err)
	}
}
