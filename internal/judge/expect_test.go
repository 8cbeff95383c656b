package judge

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"revalidator/internal/applesim"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// asked is an App Store whose customers are asked for again and again.
type asked struct {
	*applesim.Server
	t        *testing.T
	receipts []applesim.Receipt
}

func newAsked(t *testing.T, cfg applesim.Config) *asked {
	t.Helper()
	cfg.Start, cfg.LatestReceipt, cfg.LogSize = start, applesim.LatestEcho, 100_000
	sim, err := applesim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &asked{Server: sim, t: t}
	for r, err := range sim.Receipts() {
		if err != nil {
			t.Fatal(err)
		}
		s.receipts = append(s.receipts, r)
	}
	return s
}

// ask asks for every receipt.
func (s *asked) ask(excludeOld bool) {
	s.t.Helper()
	for _, r := range s.receipts {
		body, err := json.Marshal(map[string]any{
			"receipt-data": base64.StdEncoding.EncodeToString(r.Data), "password": s.Secrets(r.BundleID)[0],
			"exclude-old-transactions": excludeOld,
		})
		if err != nil {
			s.t.Fatal(err)
		}
		w := httptest.NewRecorder()
		path := "/" + strings.ToLower(r.Environment) + "/verifyReceipt"
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body))))
	}
}

// TestExpectedIsTheTruth asks once for customers in every state, and expects of
// each answer what is true: so the opinion on a whole answer is no other than the
// App Store's.
func TestExpectedIsTheTruth(t *testing.T) {
	t.Parallel()
	mix := applesim.DefaultMix()
	mix.TransactionStyle, mix.OfferCode = 0, 0.3
	s := newAsked(t, applesim.Config{Customers: 400, Mix: &mix})
	j := New(nil, s.Server)
	seen := map[string]int{}
	for range 6 {
		s.Clock().Advance(17 * 24 * time.Hour)
		s.ask(true)
		all := j.answers()
		for k, was := range j.truthAt(s.Clock().Now()) {
			list := all.dated(k, ms(s.Clock().Now()))
			if len(list) != 1 {
				t.Fatalf("%s: %d answers", k, len(list))
			}
			r := row{key: k, believed: was.believed, asOf: list[0].Dated, revoked: was.revoked, original: was.original}
			for id := range r.revoked {
				// Old ones are not shown, or as they were in the receipt.
				if k.table == subscriptionsTable && (list[0].shows(id) == nil || !list[0].shows(id).IsCurrent) {
					delete(r.revoked, id)
				}
			}
			if date := r.RevocationDate; date != 0 {
				r.revoked[r.TransactionID] = date
			}
			seen[r.Status]++
			e := belief{}.expected(list[0], all.of[k])
			if len(e) != 1 {
				t.Fatalf("%s: %d expectations", k, len(e))
			}
			if unlike := e[0].unlike(r); unlike != "" {
				t.Errorf("%s as of %s: %s", k, day(r.asOf), unlike)
			}
		}
	}
	for _, status := range []string{"active", "expired", "billing_retry", "billing_grace_period", "revoked"} {
		if seen[status] < 5 {
			t.Errorf("%s was seen %d times", status, seen[status])
		}
	}
}
