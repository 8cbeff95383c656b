package applesim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestStatuses(t *testing.T) {
	t.Parallel()
	month := start.AddDate(0, 0, -10)
	s := newSim(t, Config{MaxBody: 64 << 10, Stories: []Story{
		{BundleID: reader, Bought: month, Period: Monthly},
		{BundleID: reader, Bought: month, Period: Monthly, Environment: Sandbox},
		{BundleID: reader, Bought: month},
		{BundleID: reader, Bought: month, Period: Monthly, Style: StyleTransaction},
		{BundleID: reader, Bought: month, Period: Weekly, Style: StyleTransaction, Acts: []Act{ActTurnOff}},
	}})
	asks := make([]ask, 5)
	for i := range asks {
		asks[i] = askFor(t, s, i)
	}
	change := func(i int, f func(*ask)) ask { a := asks[i]; f(&a); return a }
	tests := []struct {
		name        string
		environment string
		ask         ask
		want        int
	}{
		{"valid", "production", asks[0], 0},
		{"sandbox receipt at production", "production", asks[1], 21007},
		{"production receipt at sandbox", "sandbox", asks[0], 21008},
		{"sandbox", "sandbox", asks[1], 0},
		{"wrong secret", "production", change(0, func(a *ask) { a.Password = strings.Repeat("0", 32) }), 21004},
		{"no secret for a subscription", "production", change(0, func(a *ask) { a.Password = "" }), 21004},
		{"no secret for a one-time purchase", "production", change(2, func(a *ask) { a.Password = "" }), 0},
		{"wrong secret for a one-time purchase", "production", change(2, func(a *ask) { a.Password = "x" }), 21004},
		{"no receipt", "production", change(0, func(a *ask) { a.Receipt = "" }), 21002},
		{"line end in base64", "production", change(0, func(a *ask) { a.Receipt = a.Receipt[:64] + "\n" + a.Receipt[64:] }), 21002},
		{"URL alphabet", "production", change(0, func(a *ask) { a.Receipt = strings.ReplaceAll(a.Receipt, "/", "_") }), 21002},
		{"missing padding", "production", change(2, func(a *ask) { a.Receipt = strings.TrimRight(a.Receipt, "=") + "A" }), 21002},
		{"cut receipt", "production", change(0, func(a *ask) { a.Receipt = a.Receipt[:len(a.Receipt)/8*4] }), 21002},
		{"not a receipt", "production", ask{Receipt: "AAAA"}, 21002},
		{"transaction receipt", "production", asks[3], 0},
		{"forged app receipt", "production", change(0, forge(t, 1000)), 21002},
		{"forged transaction receipt", "production", change(3, forge(t, 100)), 21002},
		{"expired transaction receipt", "production", asks[4], 21006},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := send(t, s, test.environment, test.ask)
			if got := statusOf(t, w); got != test.want || w.Code != http.StatusOK {
				t.Errorf("got %d by HTTP %d, want %d by HTTP 200", got, w.Code, test.want)
			}
		})
	}
}

// forge changes one byte of the receipt: at 1000 a purchase in a container, at
// 100 the signature in a property list.
func forge(t *testing.T, position int) func(*ask) {
	return func(a *ask) {
		t.Helper()
		data, err := base64.StdEncoding.DecodeString(a.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		if data[position]++; data[position] == 'z'+1 || data[position] == 'Z'+1 || data[position] == '9'+1 {
			data[position] = 'a'
		}
		a.Receipt = base64.StdEncoding.EncodeToString(data)
	}
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{MaxBody: 1000})
	get := httptest.NewRecorder()
	s.Handler().ServeHTTP(get, httptest.NewRequest(http.MethodGet, "/production/verifyReceipt", nil))
	if got := statusOf(t, get); got != 21000 {
		t.Errorf("GET: got %d, want 21000", got)
	}
	if got := statusOf(t, post(s, "/production/verifyReceipt", []byte(`{"receipt-data":`))); got != 21002 {
		t.Errorf("cut JSON: got %d, want 21002", got)
	}
	if got := statusOf(t, post(s, "/production/verifyReceipt", bytes.Repeat([]byte(" "), 1000))); got != 21002 {
		t.Errorf("body of the largest length: got %d, want 21002", got)
	}
	if got := post(s, "/production/verifyReceipt", bytes.Repeat([]byte(" "), 1001)).Code; got != http.StatusRequestEntityTooLarge {
		t.Errorf("body one byte longer: got HTTP %d, want 413", got)
	}
}

// TestStaleInApp has a receipt made before two renewals and a refund.
func TestStaleInApp(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, -3, 2), Period: Monthly, Acts: []Act{ActRenew, ActRefundPrevious, ActUpgrade}},
	}})
	count := func(a ask) (inApp, latest, cancelled, upgraded int) {
		var got said
		if err := json.Unmarshal(send(t, s, "production", a).Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for _, item := range got.Latest {
			if item.Cancelled != "" {
				cancelled++
			}
			if item.Upgraded == "true" {
				upgraded++
			}
		}
		return len(got.Receipt.InApp), len(got.Latest), cancelled, upgraded
	}
	a := askFor(t, s, 0)
	inApp, latest, cancelled, upgraded := count(a)
	if got, want := [...]int{inApp, latest, cancelled, upgraded}, [...]int{1, 4, 2, 1}; got != want {
		t.Errorf("in_app, latest_receipt_info, cancelled, upgraded: got %v, want %v", got, want)
	}
	a.ExcludeOld = true
	inApp, latest, cancelled, upgraded = count(a)
	if got, want := [...]int{inApp, latest, cancelled, upgraded}, [...]int{1, 1, 0, 0}; got != want {
		t.Errorf("without old transactions: got %v, want %v", got, want)
	}
}

// TestLatestReceiptIsAReceipt sends what a reply told to be the latest one.
func TestLatestReceiptIsAReceipt(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, -3, 2), Period: Monthly},
		{BundleID: reader, Bought: start.AddDate(0, -3, 2), Period: Monthly, Style: StyleTransaction},
	}})
	for customer := range 2 {
		a := askFor(t, s, customer)
		var told struct {
			Latest string `json:"latest_receipt"`
		}
		if err := json.Unmarshal(send(t, s, "production", a).Body.Bytes(), &told); err != nil {
			t.Fatal(err)
		}
		if told.Latest == a.Receipt {
			t.Errorf("customer %d: latest_receipt is the old one", customer)
		}
		a.Receipt = told.Latest
		if got := statusOf(t, send(t, s, "production", a)); got != 0 {
			t.Errorf("customer %d: status of latest_receipt: got %d, want 0", customer, got)
		}
	}
	log := entries(s)
	if got := log[1]; got.CustomerRef != "customer-0000000" || got.ReceiptSHA256 == log[0].ReceiptSHA256 {
		t.Errorf("latest receipt in the log: got %+v", got)
	}
}

func TestSetSecrets(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{{BundleID: reader, Bought: start.AddDate(0, 0, -3), Period: Monthly}}})
	a := askFor(t, s, 0)
	s.SetSecrets(reader, []string{strings.Repeat("1", 32), a.Password})
	if got := statusOf(t, send(t, s, "production", a)); got != 0 {
		t.Errorf("second secret: got %d, want 0", got)
	}
	s.SetSecrets(reader, nil)
	if got := statusOf(t, send(t, s, "production", a)); got != 21004 {
		t.Errorf("no secrets: got %d, want 21004", got)
	}
	log := entries(s)
	if log[0].Secret != SecretAccepted || log[0].SecretIndex != 1 || log[1].Secret != SecretRefused {
		t.Errorf("log: got %+v", log)
	}
}

func TestLogKeepsTheNewest(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{LogSize: 3, Stories: []Story{{BundleID: reader, Bought: start.AddDate(0, 0, -3), Period: Monthly}}})
	a := askFor(t, s, 0)
	for range 5 {
		send(t, s, "production", a)
	}
	var seqs, attempts []int
	for e := range s.Log(3) {
		seqs, attempts = append(seqs, int(e.Seq)), append(attempts, e.Attempt)
	}
	if len(entries(s)) != 3 || len(seqs) != 2 || seqs[0] != 4 || attempts[1] != 5 {
		t.Errorf("log of three after five requests: got %d, after the third: %v, attempts %v", len(entries(s)), seqs, attempts)
	}
	e := entries(s)[0]
	if e.BundleID != reader || e.Environment != Production || !e.SimulatedTime.Equal(start) || !e.RealTime.Equal(fixedNow()) ||
		*e.Status != 0 || e.HTTPStatus != 200 || e.BodyBytes == 0 || e.ReplyBytes == 0 || len(e.ReceiptSHA256) != 64 {
		t.Errorf("entry: got %+v", e)
	}
	silent := newSim(t, Config{LogSize: -1})
	post(silent, "/production/verifyReceipt", nil)
	if got := len(entries(silent)); got != 0 {
		t.Errorf("log of none: got %d entries", got)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	now := fixedNow()
	s := newSim(t, Config{RateLimit: 2, Now: func() time.Time { return now }, Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, 0, -3), Period: Monthly},
		{BundleID: fitness, Bought: start.AddDate(0, 0, -3), Period: Monthly},
	}})
	a, other := askFor(t, s, 0), askFor(t, s, 1)
	steps := []struct {
		after time.Duration
		ask   ask
		want  int
	}{
		{0, a, 200}, {400 * time.Millisecond, a, 200}, {599 * time.Millisecond, a, 429},
		{0, other, 200}, {time.Millisecond, a, 200}, {399 * time.Millisecond, a, 429}, {time.Millisecond, a, 200},
	}
	for i, step := range steps {
		now = now.Add(step.after)
		if got := send(t, s, "production", step.ask).Code; got != step.want {
			t.Errorf("request %d: got HTTP %d, want %d", i, got, step.want)
		}
	}
	traffic := s.Traffic()
	if got := traffic[1]; got != (Traffic{reader, Production, 6, 2}) {
		t.Errorf("traffic: got %+v, want 6 requests and 2 violations", got)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	receipt := "TWFkZSB1cA==" // "Made up"
	sum := sha256.Sum256([]byte("Made up"))
	body := []byte("{\"status\" : 21003}\n")
	s.Replay(strings.ToUpper(hex.EncodeToString(sum[:])), Recorded{HTTPStatus: 203, Body: body})
	w := send(t, s, "sandbox", ask{Receipt: receipt})
	if w.Code != 203 || !bytes.Equal(w.Body.Bytes(), body) {
		t.Errorf("got HTTP %d %q, want it word for word", w.Code, w.Body)
	}
	if e := entries(s)[0]; e.Status == nil || *e.Status != 21003 {
		t.Errorf("log: got %+v, want status 21003", e)
	}
}
