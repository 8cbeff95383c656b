package appstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/secret"
)

// sent is a request as the server sees it.
type sent struct {
	Method, ContentType string
	Body                map[string]any
}

// record answers as it is told, and keeps what was sent.
func record(t *testing.T, into *[]sent, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		read, err := io.ReadAll(r.Body)
		if err != nil || int64(len(read)) != r.ContentLength {
			t.Errorf("got %d bytes of %d and error %v", len(read), r.ContentLength, err)
		}
		s := sent{Method: r.Method, ContentType: r.Header.Get("Content-Type")}
		if err := json.Unmarshal(read, &s.Body); err != nil {
			t.Errorf("request is not JSON: %v", err)
		}
		*into = append(*into, s)
		answer(body)(w, r)
	}
}

func TestVerifyReceiptSends(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request appstore.Request
		want    map[string]any
	}{
		{
			"with a secret",
			appstore.Request{Receipt: receipt("abc"), Password: secret.New("0123")},
			map[string]any{"receipt-data": "YWJj", "password": "0123", "exclude-old-transactions": false},
		},
		{
			"without",
			appstore.Request{Receipt: receipt("ab"), ExcludeOldTransactions: true},
			map[string]any{"receipt-data": "YWI=", "exclude-old-transactions": true},
		},
		{
			"with a secret that needs escapes",
			appstore.Request{Receipt: receipt("a"), Password: secret.New("\"\\<é\n")},
			map[string]any{"receipt-data": "YQ==", "password": "\"\\<é\n", "exclude-old-transactions": false},
		},
		{
			"an empty receipt",
			appstore.Request{Receipt: receipt("")},
			map[string]any{"receipt-data": "", "exclude-old-transactions": false},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []sent
			c := newClient(t, serve(t, record(t, &got, `{"status":21007}`), record(t, &got, accepted)))
			tt.request.BundleID = "com.example.app"
			if _, err := c.VerifyReceipt(t.Context(), tt.request); err != nil {
				t.Fatal(err)
			}
			one := sent{http.MethodPost, "application/json", tt.want}
			if diff := cmp.Diff([]sent{one, one}, got); diff != "" {
				t.Errorf("sent to production and sandbox (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerifyReceiptSendsEveryByte(t *testing.T) {
	t.Parallel()
	for _, size := range []int{6<<10 - 1, 6 << 10, 6<<10 + 1, 1<<20 + 1} {
		want := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(want)
		var got []byte
		c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			var body struct {
				Data []byte `json:"receipt-data"`
			}
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			got = body.Data
			answer(accepted)(w, r)
		}, nil))
		r := request()
		r.Receipt = receipt(want)
		if _, err := c.VerifyReceipt(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes did not arrive as they were", size)
		}
	}
}

func TestVerifyReceiptRequestTooLarge(t *testing.T) {
	t.Parallel()
	const around = len(`{"receipt-data":"","exclude-old-transactions":false}`)
	r := appstore.Request{BundleID: "com.example.app", Receipt: receipt("123456")} // 8 bytes of base64
	cfg := serve(t, answer(accepted), nil)
	cfg.MaxRequestBytes = int64(around + 8)
	if _, err := newClient(t, cfg).VerifyReceipt(t.Context(), r); err != nil {
		t.Errorf("at the limit: got error %v, want none", err)
	}
	cfg = serve(t, nil, nil)
	cfg.MaxRequestBytes = int64(around + 7)
	a, err := newClient(t, cfg).VerifyReceipt(t.Context(), r)
	if !errors.Is(err, appstore.ErrTooLargeToSend) || a.Calls != 0 {
		t.Errorf("above it: got error %v after %d calls, want %v after none", err, a.Calls, appstore.ErrTooLargeToSend)
	}
}

// TestHTTP413IsBelievedNearTheLimit has a row for each side of the limit that
// applies, less the margin.
func TestHTTP413IsBelievedNearTheLimit(t *testing.T) {
	t.Parallel()
	const around = len(`{"receipt-data":"","exclude-old-transactions":false}`)
	const apple = 3 << 20
	tests := []struct {
		name           string
		limit, margin  int64 // 0 is the default
		size           int
		believed       bool
		notSentAtLimit bool
	}{
		{"8 KB, as a proxy refuses", 0, 0, 8 << 10, false, false},
		{"1 MB, as nginx refuses", 0, 0, 1 << 20, false, false},
		{"a byte below the margin", 0, 0, apple - 64<<10 - 1, false, false},
		{"at the margin", 0, 0, apple - 64<<10, true, false},
		{"at the limit", 0, 0, apple, true, false},
		{"a byte below a wider margin", 0, 256 << 10, apple - 256<<10 - 1, false, false},
		{"at a wider margin", 0, 256 << 10, apple - 256<<10, true, false},
		{"a byte below the widest margin there is", 0, apple, apple - apple/8 - 1, false, false},
		{"a small limit of the settings, whose margin is an eighth", 8 << 10, 0, 7<<10 - 1, false, false},
		{"the same, at its margin", 8 << 10, 0, 7 << 10, true, false},
		{"a lower limit of the settings, below its margin", 1 << 20, 4, 1<<20 - 5, false, false},
		{"a lower limit of the settings, at its margin", 1 << 20, 4, 1<<20 - 4, true, false},
		{"a higher limit of the settings does not move Apple's", 4 << 20, 0, apple - 64<<10 - 1, false, false},
		{"a request that Apple does not take", 4 << 20, 0, apple + 1, true, false},
		{"a request that is not sent", 0, 0, apple + 1, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := serve(t, code(http.StatusRequestEntityTooLarge, ""), nil)
			cfg.MaxRequestBytes, cfg.LimitMargin = tt.limit, tt.margin
			want, calls := appstore.ErrSizeRefused, 1
			if tt.believed {
				want = appstore.ErrRequestTooLarge
			}
			if tt.notSentAtLimit {
				want, calls = appstore.ErrTooLargeToSend, 0
			}
			// A password fills up what base64, which comes in fours, leaves open.
			encoded := tt.size - around - len(`,"password":""`) - 32
			r := appstore.Request{BundleID: "com.example.app", Receipt: receipt(strings.Repeat("x", encoded/4*3))}
			r.Password = secret.New(strings.Repeat("p", 32+encoded%4))
			a, err := newClient(t, cfg).VerifyReceipt(t.Context(), r)
			if !errors.Is(err, want) || a.Calls != calls {
				t.Errorf("a request of %d bytes: got error %v after %d calls, want %v after %d", tt.size, err, a.Calls, want, calls)
			}
		})
	}
}

// brokenReceipt is a receipt that announces one thing and gives another.
type brokenReceipt struct {
	size    int64
	content io.Reader
	open    error
}

func (b brokenReceipt) Size() int64 { return b.size }

func (b brokenReceipt) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(b.content), b.open
}

func TestVerifyReceiptUnreadable(t *testing.T) {
	t.Parallel()
	errLost := errors.New("lost the database")
	tests := []struct {
		name    string
		receipt appstore.Receipt
		want    error // nil: any that is not the connection's
	}{
		{"cannot be opened", brokenReceipt{3, nil, errLost}, errLost},
		{"breaks", brokenReceipt{1 << 20, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(errLost)), nil}, errLost},
		{"shorter than announced", brokenReceipt{4, strings.NewReader("abc"), nil}, nil},
		{"longer than announced", brokenReceipt{2, strings.NewReader("abc"), nil}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, func(_ http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err == nil {
					t.Error("a whole body arrived")
				}
			}, nil))
			r := request()
			r.Receipt = tt.receipt
			_, err := c.VerifyReceipt(t.Context(), r)
			if err == nil || errors.Is(err, appstore.ErrConnection) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want one of the receipt", err)
			}
		})
	}
}

func TestVerifyReceiptWaits(t *testing.T) {
	t.Parallel()
	errFull := errors.New("no slot in time")
	var waits []iap.Environment
	r := request()
	r.Wait = func(_ context.Context, e iap.Environment) error {
		waits = append(waits, e)
		if len(waits) == 4 {
			return errFull
		}
		return nil
	}
	c := newClient(t, serve(t, answer(`{"status":21007}`), answer(accepted)))
	if _, err := c.VerifyReceipt(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	a, err := c.VerifyReceipt(t.Context(), r)
	if !errors.Is(err, errFull) || a.Calls != 1 || a.Environment != iap.Sandbox {
		t.Errorf("got error %v after %d calls, want %v after one that pointed to the sandbox", err, a.Calls, errFull)
	}
	want := []iap.Environment{iap.Production, iap.Sandbox, iap.Production, iap.Sandbox}
	if !slices.Equal(waits, want) {
		t.Errorf("got waits %q, want %q", waits, want)
	}
}

// roundTrip is a transport without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestVerifyReceiptGivesLargeReceiptsTime(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		deadline, _ := r.Context().Deadline()
		got = append(got, time.Until(deadline).Round(time.Second))
		return nil, errors.Join(io.ErrUnexpectedEOF, r.Body.Close())
	})
	c := newClient(t, appstore.Config{HTTPClient: &http.Client{Transport: transport}, Timeout: 20 * time.Minute})
	for _, size := range []int{10, 240 << 10} { // the second is 320 KiB in base64
		r := request()
		r.Receipt = receipt(make([]byte, size))
		_, _ = c.VerifyReceipt(t.Context(), r)
	}
	if want := []time.Duration{20 * time.Minute, 20*time.Minute + 10*time.Second}; !slices.Equal(got, want) {
		t.Errorf("got timeouts %v, want %v", got, want)
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := appstore.New(appstore.Config{ProductionURL: "ftp://x", SandboxURL: "%", Timeout: -1, MaxDepth: -1})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"Production", "Sandbox", "timeout", "limits"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %s to be named", err, want)
		}
	}
	if _, err := appstore.New(appstore.Config{}); err != nil {
		t.Errorf("defaults: got error %v, want none", err)
	}
}
