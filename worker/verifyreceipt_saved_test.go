package worker

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/appstore"
	"revalidator/internal/dev/corpustest"
	"revalidator/internal/iap"
)

// TestSavedRepliesAreJudgedAlike has a worker get each published reply from Apple,
// and judges it as one that was saved: both conclude the same.
func TestSavedRepliesAreJudgedAlike(t *testing.T) {
	t.Parallel()
	undated := make(map[string]bool)
	for _, e := range corpustest.Entries(t, corpustest.KindResponse) {
		reply, err := appstore.DecodeReply(strings.NewReader(string(e.Data)), appstore.Limits{})
		if err != nil {
			continue // what is no reply has no conclusion
		}
		conclusion, class, _ := JudgeSaved(reply, "", noon)
		got := judged{conclusion, class}
		want := judgedByWorker(t, string(e.Data), reply)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(iap.Subscription{}, "Evidence"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-worker +saved):\n%s", e.File, diff)
		}
		if conclusion != nil {
			undated[strings.TrimSuffix(e.Name(), ".json")] = len(conclusion.Undated) == 1 && len(conclusion.Subscriptions)+len(conclusion.Purchases) == 0
		}
	}
	for _, name := range []string{
		"nomad-receipt-not-expired-cancelled-f6389d", "gabrielgarza-cancellation-response-b50639", "gabrielgarza-cancellation-response-d420de",
	} {
		if is, there := undated[name]; there && !is {
			t.Errorf("%s is not concluded to be undated", name)
		}
	}
}

type judged struct {
	Conclusion *iap.Conclusion
	Class      string
}

// judgedByWorker is the outcome of a check to which Apple gives the reply.
func judgedByWorker(t *testing.T, body string, saved appstore.Reply) judged {
	t.Helper()
	asOf := saved.Facts.AsOf
	if asOf.IsZero() {
		asOf = noon
	}
	apple := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", asOf.Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}))
	defer apple.Close()
	client, err := appstore.New(appstore.Config{ProductionURL: apple.URL, SandboxURL: apple.URL})
	if err != nil {
		t.Fatal(err)
	}
	p := newParts(t, func(c *Config) { c.AppStore = client })
	p.clock.advance(asOf.Sub(p.clock.Now()))
	r := claimed()
	r.Environment, r.App.BundleID = saved.Facts.Environment, saved.Facts.BundleID
	if r.App.BundleID == "" {
		r.App.BundleID = app
	}
	o, err := p.check(t.Context(), r, p.memory.room(r))
	if err != nil {
		t.Fatal(err)
	}
	if saved.Facts.Environment == "" && o.Conclusion != nil {
		withoutEnvironment(o.Conclusion)
	}
	if o.Failure == "environments_disagree" {
		o.Failure = "" // both environments give the reply here, and one of them would not
	}
	return judged{o.Conclusion, o.Failure}
}

// withoutEnvironment takes away what a reply in the style of iOS 6 does not say and
// a worker knows, as it has asked there.
func withoutEnvironment(c *iap.Conclusion) {
	for i := range c.Subscriptions {
		c.Subscriptions[i].Environment = ""
	}
	for i := range c.Purchases {
		c.Purchases[i].Environment = ""
	}
}

// TestJudgeSaved is what a worker refuses of replies that a person may have.
func TestJudgeSaved(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	const receipt = `"receipt":{"bundle_id":"com.example.app","request_date_ms":"1709294400000","in_app":[]}`
	tests := map[string]struct{ body, class string }{
		"accepted":               {`{"status":0,` + receipt + `}`, ""},
		"iOS 6, without a time":  {`{"status":0,"receipt":{"bid":"com.example.app","transaction_id":"1"}}`, ""},
		"of the other one":       {`{"status":21007}`, ""},
		"another app":            {`{"status":0,"receipt":{"bundle_id":"com.example.other","request_date_ms":"1709294400000"}}`, "wrong_app"},
		"no app":                 {`{"status":0,"receipt":{}}`, "reply_malformed"},
		"expired and active":     {`{"status":21006,` + receipt + `,"latest_receipt_info":[{"transaction_id":"1","expires_date_ms":"1809294400000"}]}`, "reply_malformed"},
		"a refused secret":       {`{"status":21004}`, "shared_secret_refused"},
		"an account that's gone": {`{"status":21010}`, "account_gone"},
	}
	for name, test := range tests {
		reply, err := appstore.DecodeReply(strings.NewReader(test.body), appstore.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		conclusion, class, err := JudgeSaved(reply, "com.example.app", now)
		if isAccepted := test.class == "" && reply.Code == appstore.CodeOK; class != test.class || (conclusion != nil) != isAccepted || (err == nil) != isAccepted {
			t.Errorf("%s: got %v, class %q and error %v, want class %q", name, conclusion, class, err, test.class)
		}
	}
}
