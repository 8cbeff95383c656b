package applesim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oneCustomer is a simulator of one monthly subscription, and its request.
func oneCustomer(t *testing.T, rules ...Rule) (*Server, ask) {
	t.Helper()
	s := newSim(t, Config{Faults: rules, Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, -3, -10), Period: Monthly},
	}})
	return s, askFor(t, s, 0)
}

func TestFaultsInTheAnswer(t *testing.T) {
	t.Parallel()
	const right = `"status":0`
	epoch := strconv.FormatInt(fixedNow().Add(30*time.Second).UnixMilli(), 10)
	tests := []struct {
		name       string
		rule       Rule
		code       int
		contains   string
		json       bool
		retryAfter string
	}{
		{"no fault", Rule{Fault: FaultLatency}, 200, right, true, ""},
		{"503", Rule{Fault: FaultHTTP, Status: 503}, 503, "<h1>Service Unavailable", false, ""},
		{"500", Rule{Fault: FaultHTTP, Status: 500}, 500, "Internal Server Error", false, ""},
		{"413", Rule{Fault: FaultHTTP, Status: 413}, 413, "<html>", false, ""},
		{"429", Rule{Fault: FaultHTTP, Status: 429}, 429, "Too Many Requests", false, ""},
		{"429 in seconds", Rule{Fault: FaultHTTP, Status: 429, RetryAfter: Duration(29500 * time.Millisecond)}, 429, "", false, "30"},
		{"429 in epoch", Rule{Fault: FaultHTTP, Status: 429, RetryAfter: Duration(30 * time.Second), RetryAfterForm: RetryAfterEpochMS}, 429, "", false, epoch},
		{"21005", Rule{Fault: FaultCode, Status: 21005}, 200, `{"status":21005}`, true, ""},
		{"-1", Rule{Fault: FaultCode, Status: -1}, 200, `{"status":-1}`, true, ""},
		{"a code beyond 31 bits", Rule{Fault: FaultCode, Status: 1 << 31}, 200, `{"status":2147483648}`, true, ""},
		{"21006 and the right facts", Rule{Fault: FaultStatus, Status: 21006}, 200, `{"status":21006, "environment":"Production"`, true, ""},
		{"21100", Rule{Fault: FaultCode, Status: 21100}, 200, "retryable", true, ""},
		{"21010 for good", Rule{Fault: FaultCode, Status: 21010, Retryable: `"0"`, RetryableKey: "is-retryable"}, 200, `"is-retryable":"0"`, true, ""},
		{"empty", Rule{Fault: FaultEmpty}, 200, "", false, ""},
		{"html", Rule{Fault: FaultHTML}, 200, "<html>", false, ""},
		{"cut", Rule{Fault: FaultCut, Fraction: 0.3}, 200, right, false, ""},
		{"control characters", Rule{Fault: FaultControl}, 200, "\x01\x1fProduction", false, ""},
		{"content type", Rule{Fault: FaultContentType}, 200, right, true, ""},
		{"wrong app", Rule{Fault: FaultWrongApp}, 200, `"bundle_id":"com.example.stranger"`, true, ""},
		{"stale", Rule{Fault: FaultStale}, 200, `"request_date":"2026-02-28 23:00:00 Etc/GMT"`, true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.rule.Rate = 1
			s, a := oneCustomer(t, test.rule)
			w := send(t, s, "production", a)
			if w.Code != test.code || !strings.Contains(w.Body.String(), test.contains) || w.Header().Get("Retry-After") != test.retryAfter {
				t.Errorf("got HTTP %d, Retry-After %q, %.100q; want HTTP %d, Retry-After %q, %q",
					w.Code, w.Header().Get("Retry-After"), w.Body, test.code, test.retryAfter, test.contains)
			}
			if got := json.Valid(w.Body.Bytes()); got != test.json {
				t.Errorf("valid JSON: got %v, want %v", got, test.json)
			}
			isJSON := strings.HasPrefix(w.Header().Get("Content-Type"), "application/json")
			if test.json && isJSON == (test.rule.Fault == FaultContentType) {
				t.Errorf("content type: got %s", w.Header().Get("Content-Type"))
			}
		})
	}
}

// TestStaleAnswerIsDatedStale holds the one time that Apple tells with a
// transaction receipt to the age of the answer.
func TestStaleAnswerIsDatedStale(t *testing.T) {
	t.Parallel()
	s, a := oneCustomer(t, Rule{Fault: FaultStale, Rate: 1, Age: Duration(48 * time.Hour)})
	want := start.Add(-48 * time.Hour).Format(http.TimeFormat)
	if got := send(t, s, "production", a).Header().Get("Date"); got != want {
		t.Errorf("date: got %s, want %s", got, want)
	}
	s, a = oneCustomer(t, Rule{Fault: FaultStale, Rate: 1, Age: Duration(48 * time.Hour), Jitter: Duration(24 * time.Hour)})
	dates := map[time.Time]bool{}
	for range 10 {
		date, err := http.ParseTime(send(t, s, "production", a).Header().Get("Date"))
		if age := start.Sub(date); err != nil || age < 48*time.Hour || age > 72*time.Hour {
			t.Errorf("with jitter: age %s, %v; want 48 to 72 h", age, err)
		}
		dates[date] = true
	}
	if len(dates) < 9 {
		t.Errorf("%d different ages in ten answers", len(dates))
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	s, a := oneCustomer(t, Rule{Fault: FaultReset, Rate: 1})
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	_, err := server.Client().Post(server.URL+"/production/verifyReceipt", "application/json", body(t, a))
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a reset connection", err)
	}
}

// TestOddReplies reads what a client sees of replies that go wrong on the way.
func TestOddReplies(t *testing.T) {
	t.Parallel()
	const patience = 300 * time.Millisecond
	for fault, want := range map[Fault]struct {
		least int64
		err   error
	}{
		FaultEndless: {1 << 20, nil},
		FaultBomb:    {bombSize, nil},
		FaultDrip:    {1, context.DeadlineExceeded},
		FaultLength:  {100, io.ErrUnexpectedEOF},
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			s, a := oneCustomer(t, Rule{Fault: fault, Rate: 1})
			server := httptest.NewServer(s.Handler())
			defer server.Close() // waits for the handler
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if want.err == context.DeadlineExceeded {
				ctx, cancel = context.WithTimeout(ctx, patience)
				defer cancel()
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/production/verifyReceipt", body(t, a))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			got, err := io.Copy(io.Discard, io.LimitReader(answer.Body, max(want.least, 1<<20)))
			if got < want.least || !errors.Is(err, want.err) {
				t.Errorf("got %d bytes and %v, want %d at least and %v", got, err, want.least, want.err)
			}
		})
	}
}

func TestHugeHeaders(t *testing.T) {
	t.Parallel()
	for want, rule := range map[int]Rule{
		9_600_000: {Fault: FaultHeaders, Rate: 1},
		20_001:    {Fault: FaultHeaders, Rate: 1, Bytes: 20_001},
	} {
		s, a := oneCustomer(t, rule)
		w := send(t, s, "production", a)
		got := 0
		for name, values := range w.Header() {
			if strings.HasPrefix(name, "X-Filler-") {
				got += len(values[0])
			}
		}
		if got != want || statusOf(t, w) != 0 {
			t.Errorf("got %d bytes of headers, want %d and the right answer", got, want)
		}
	}
}

func TestTimeoutAndLatencyEndWithTheClient(t *testing.T) {
	t.Parallel()
	for _, rule := range []Rule{
		{Fault: FaultTimeout, Rate: 1},
		{Fault: FaultLatency, Rate: 1, Latency: Duration(time.Hour), Jitter: Duration(time.Hour)},
	} {
		t.Run(string(rule.Fault), func(t *testing.T) {
			t.Parallel()
			s, a := oneCustomer(t, rule)
			server := httptest.NewServer(s.Handler())
			defer server.Close() // waits for the handler
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for len(entries(s)) == 0 { // the client loses its patience once it was heard
					<-time.After(time.Millisecond)
				}
				cancel()
			}()
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/production/verifyReceipt", body(t, a))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := server.Client().Do(r); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the client's own end", err)
			}
			if log := entries(s); len(log) != 1 {
				t.Errorf("log: got %d entries, want the request that was never answered", len(log))
			}
		})
	}
}

func body(t *testing.T, a ask) io.Reader {
	t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReader(string(text))
}

func TestRuleMatches(t *testing.T) {
	t.Parallel()
	busy := Rule{Fault: FaultHTTP, Status: 503, Rate: 1}
	change := func(f func(*Rule)) Rule { r := busy; f(&r); return r }
	tests := []struct {
		name string
		rule Rule
		want []int // of three requests
	}{
		{"all", busy, []int{503, 503, 503}},
		{"first two", change(func(r *Rule) { r.First = 2 }), []int{503, 503, 200}},
		{"never", change(func(r *Rule) { r.Rate = 0 }), []int{200, 200, 200}},
		{"this app", change(func(r *Rule) { r.BundleID = reader }), []int{503, 503, 503}},
		{"other app", change(func(r *Rule) { r.BundleID = fitness }), []int{200, 200, 200}},
		{"other environment", change(func(r *Rule) { r.Environment = Sandbox }), []int{200, 200, 200}},
		{"this customer", change(func(r *Rule) { r.CustomerRef = "customer-0000000" }), []int{503, 503, 503}},
		{"small bodies", change(func(r *Rule) { r.LargerThan = 100_000 }), []int{200, 200, 200}},
		{"large bodies", change(func(r *Rule) { r.LargerThan = 4000 }), []int{503, 503, 503}},
		{"other receipt", change(func(r *Rule) { r.ReceiptSHA256 = strings.Repeat("0", 64) }), []int{200, 200, 200}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, a := oneCustomer(t, test.rule)
			var got []int
			for range 3 {
				got = append(got, send(t, s, "production", a).Code)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("HTTP statuses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultsRepeat(t *testing.T) {
	t.Parallel()
	run := func() (codes []int, failed int) {
		s, a := oneCustomer(t, Rule{Fault: FaultHTTP, Status: 503, Rate: 0.3})
		for range 200 {
			code := send(t, s, "production", a).Code
			if codes = append(codes, code); code == 503 {
				failed++
			}
		}
		return codes, failed
	}
	first, failed := run()
	second, _ := run()
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("same seed (-first +second):\n%s", diff)
	}
	if failed < 40 || failed > 80 {
		t.Errorf("rate 0.3: %d of 200 failed, want about 60", failed)
	}
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want []Rule
		bad  bool
	}{
		{"", nil, false},
		{"503=0.02, 21005=0.5", []Rule{{Fault: FaultHTTP, Status: 503, Rate: 0.02}, {Fault: FaultCode, Status: 21005, Rate: 0.5}}, false},
		{"-1=1", []Rule{{Fault: FaultCode, Status: -1, Rate: 1}}, false},
		{"timeout=0.01,latency=1", []Rule{{Fault: FaultTimeout, Rate: 0.01}, {Fault: FaultLatency, Rate: 1, Latency: Duration(time.Second)}}, false},
		{"429-epoch-ms=0.1", []Rule{{Fault: FaultHTTP, Status: 429, Rate: 0.1, RetryAfter: Duration(5 * time.Second), RetryAfterForm: RetryAfterEpochMS}}, false},
		{"503", nil, true},
		{"503=2", nil, true},
		{"weather=0.1", nil, true},
		{"200=0.1", nil, true},
		{"proxy=1", []Rule{{Fault: FaultHTTP, Status: 413, LargerThan: 8192, Rate: 1}}, false},
		{"status-21006=1,2147483648=1", []Rule{{Fault: FaultStatus, Status: 21006, Rate: 1}, {Fault: FaultCode, Status: 2147483648, Rate: 1}}, false},
		{"undated-null=0.5,undated=0", []Rule{{Fault: FaultUndated, Form: FormNull, Rate: 0.5}, {Fault: FaultUndated}}, false},
		{"undated-late=0.5", nil, true},
		{"status=0.5", nil, true},
		{"status-late=0.5", nil, true},
		{"headers=0.1", []Rule{{Fault: FaultHeaders, Rate: 0.1}}, false},
		{"429-later=0.1", nil, true},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			t.Parallel()
			got, err := ParseFaults(test.text)
			if (err != nil) != test.bad {
				t.Errorf("error: got %v, want one: %v", err, test.bad)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseFaults(f *testing.F) {
	f.Add("503=0.02,21005=0.02,timeout=0.01")
	f.Add("429-epoch-ms=1,-1=0")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ParseFaults(text)
		if err != nil {
			return
		}
		for _, rule := range rules {
			if err := rule.Validate(); err != nil {
				t.Errorf("ParseFaults(%q) made a rule that is not valid: %v", text, err)
			}
		}
	})
}
