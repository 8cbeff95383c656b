package applesim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func get(s *Server, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// lines reads NDJSON.
func lines(t *testing.T, w *httptest.ResponseRecorder) []map[string]any {
	t.Helper()
	var all []map[string]any
	for decoder := json.NewDecoder(w.Body); decoder.More(); {
		var line map[string]any
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	return all
}

func TestControlLists(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Customers: 6})
	receipts := lines(t, get(s, "/control/receipts"))
	if len(receipts) != 6 {
		t.Fatalf("receipts: got %d, want 6", len(receipts))
	}
	data, err := base64.StdEncoding.DecodeString(receipts[3]["receipt"].(string))
	if err != nil || !bytes.Equal(data, receiptOf(t, s, 3).Data) {
		t.Errorf("receipt of customer 3: another one, %v", err)
	}
	if got := len(lines(t, get(s, "/control/receipts?bundle_id="+reader))); got != 3 {
		t.Errorf("receipts of one app: got %d, want 3", got)
	}
	ref := receipts[3]["customer_ref"].(string)
	truth := lines(t, get(s, "/control/truth?customer_ref="+ref))
	if len(lines(t, get(s, "/control/truth"))) != 6 || len(truth) != 1 || truth[0]["customer_ref"] != ref {
		t.Errorf("truth of %s: got %v", ref, truth)
	}
	send(t, s, "production", askFor(t, s, 3))
	send(t, s, "production", askFor(t, s, 4))
	if log := lines(t, get(s, "/control/log?after=1")); len(log) != 1 || log[0]["seq"] != 2.0 {
		t.Errorf("log after the first request: got %v", log)
	}
	if traffic := lines(t, get(s, "/control/traffic")); len(traffic) != 2 || traffic[0]["requests"] != 1.0 {
		t.Errorf("traffic: got %v", traffic)
	}
	if block, _ := pem.Decode(get(s, "/control/root").Body.Bytes()); block == nil || !bytes.Equal(block.Bytes, s.Root().Raw) {
		t.Error("root: another certificate")
	}
	if got := get(s, "/healthz").Code; got != http.StatusOK {
		t.Errorf("healthz: got HTTP %d", got)
	}
}

func TestControlChanges(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{{BundleID: reader, Bought: start.AddDate(0, 0, -3), Period: Monthly}}})
	a := askFor(t, s, 0)
	for _, step := range []struct{ path, body string }{
		{"/control/clock", `{"advance": "24h"}`},
		{"/control/clock", `{"now": "2026-04-01T00:00:00Z", "speed": 2}`},
		{"/control/secrets", `{"bundle_id": "com.example.reader", "secrets": ["x"]}`},
	} {
		if w := post(s, step.path, []byte(step.body)); w.Code != http.StatusOK {
			t.Errorf("%s %s: got HTTP %d %s", step.path, step.body, w.Code, w.Body)
		}
	}
	var clock clockState
	if err := json.Unmarshal(get(s, "/control/clock").Body.Bytes(), &clock); err != nil ||
		!clock.Now.Equal(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)) || clock.Speed != 2 {
		t.Errorf("clock: got %+v, %v", clock, err)
	}
	if got := statusOf(t, send(t, s, "production", a)); got != 21004 {
		t.Errorf("changed secret: got %d, want 21004", got)
	}
	post(s, "/control/faults", []byte(`[{"fault": "http", "status": 503, "rate": 1, "first": 2, "retry_after": "5s"}]`))
	if w := send(t, s, "production", a); w.Code != 503 || w.Header().Get("Retry-After") != "5" {
		t.Errorf("fault: got HTTP %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	sum := sha256.Sum256(receiptOf(t, s, 0).Data)
	post(s, "/control/replay", []byte(`{"receipt_sha256": "`+hex.EncodeToString(sum[:])+`", "body": "{\"status\": 0 }"}`))
	post(s, "/control/faults", []byte(`[]`))
	if got := send(t, s, "production", a).Body.String(); got != `{"status": 0 }` {
		t.Errorf("replay: got %q", got)
	}
}

func TestControlRefuses(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	for _, step := range []struct{ path, body, want string }{
		{"/control/clock", `{"speed": -1}`, "speed"},
		{"/control/clock", `{"advance": "soon"}`, "duration"},
		{"/control/faults", `[{"fault": "weather"}]`, "weather"},
		{"/control/faults", `[{"fault": "cut", "rat": 1}]`, "rat"},
		{"/control/secrets", `{`, "EOF"},
	} {
		w := post(s, step.path, []byte(step.body))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), step.want) {
			t.Errorf("%s %s: got HTTP %d %q, want 400 and %q", step.path, step.body, w.Code, w.Body, step.want)
		}
	}
	if got := get(s, "/control/log?after=x").Code; got != http.StatusBadRequest {
		t.Errorf("log after x: got HTTP %d, want 400", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	story := func(s Story) Config { return Config{Stories: []Story{s}} }
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"customers", Config{Customers: -1}, "customers"},
		{"speed", Config{Speed: -1}, "speed"},
		{"latest receipt", Config{LatestReceipt: "none"}, "latest receipt"},
		{"bundle id", Config{Apps: []App{{BundleID: `a"b`}}}, "bundle id"},
		{"two of one app", Config{Apps: []App{{BundleID: "a"}, {BundleID: "a"}}}, "twice"},
		{"share", Config{Mix: &Mix{Trial: 2}}, "trial"},
		{"act", Config{Mix: &Mix{Acts: []Weight{{"sleep", 1}}}}, "sleep"},
		{"fault", Config{Faults: []Rule{{Fault: FaultHTTP, Status: 200}}}, "HTTP status"},
		{"unknown app", story(Story{BundleID: "c", Bought: start}), "one of the apps"},
		{"no time", story(Story{BundleID: reader}), "time"},
		{"period", story(Story{BundleID: reader, Bought: start, Period: "daily"}), "daily"},
		{"empty transaction receipt", story(Story{BundleID: reader, Style: StyleTransaction, ReceiptCreated: start}), "exactly one"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error about %q", err, test.want)
			}
		})
	}
}
