package appstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

// held is how many bytes a reply leaves in memory with what it concludes, and
// how many its reader told of. It measures the whole process.
func held(t *testing.T, body string) (bytes, told int64) {
	t.Helper()
	inUse := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := inUse()
	reply, err := appstore.DecodeGrowing(strings.NewReader(body), appstore.Limits{}, func(n int64) error { told = n; return nil })
	if err != nil {
		t.Fatal(err)
	}
	conclusion := iap.Derive(&reply.Facts)
	bytes = inUse() - before
	runtime.KeepAlive(reply)
	runtime.KeepAlive(conclusion)
	return bytes, told
}

// many is a reply with n records in latest_receipt_info, and as many renewals.
func many(n int, record, renewal func(i int) string) string {
	var b strings.Builder
	b.WriteString(`{"status":0,"receipt":{"bundle_id":"a"},"latest_receipt_info":[`)
	for i := range n {
		b.WriteString(strings.Repeat(",", min(i, 1)) + record(i))
	}
	b.WriteString(`],"pending_renewal_info":[`)
	for i := range n {
		if renewal != nil {
			b.WriteString(strings.Repeat(",", min(i, 1)) + renewal(i))
		}
	}
	return b.String() + `]}`
}

// TestWhatAReplyHoldsIsTold compares with the heap. It does not run in parallel.
func TestWhatAReplyHoldsIsTold(t *testing.T) {
	const id = 400_000_000_000_000
	long := func(i int) string { return fmt.Sprintf("%0250d", i) }
	for name, body := range map[string]string{
		"periods": many(5500, func(i int) string {
			return fmt.Sprintf(`{"transaction_id":"%d","original_transaction_id":"7","product_id":"p","expires_date_ms":"17356896%05d"}`, id+i, i)
		}, nil),
		"refunded periods": many(5500, func(i int) string {
			return fmt.Sprintf(`{"transaction_id":"%d","original_transaction_id":"7","product_id":"p","expires_date_ms":"17356896%05d","cancellation_date_ms":"17356896%05[2]d"}`, id+i, i)
		}, nil),
		"purchases": many(5500, func(i int) string {
			return fmt.Sprintf(`{"transaction_id":"%d","original_transaction_id":"%d","product_id":"p","purchase_date_ms":"17356896%05d"}`, id+i, id+i, i)
		}, nil),
		"subscriptions": many(2000, func(i int) string {
			return fmt.Sprintf(`{"transaction_id":"%d","original_transaction_id":"%d","product_id":"p%d","expires_date_ms":"17356896%05d"}`, id+i, id+i, i, i)
		}, func(i int) string {
			return fmt.Sprintf(`{"original_transaction_id":"%d","product_id":"p%d","auto_renew_product_id":"p%d","auto_renew_status":"1"}`, id+i, i, i)
		}),
		"ids that are texts": many(2000, func(i int) string {
			return fmt.Sprintf(`{"transaction_id":"%s","original_transaction_id":"x%d","product_id":"p"}`, long(i), i)
		}, nil),
		"texts of their own": many(2000, func(i int) string {
			return fmt.Sprintf(`{"transaction_id":"%d","original_transaction_id":"7","product_id":"%s","offer_code_ref_name":"a%[2]s","app_account_token":"b%[2]s"}`, id+i, long(i))
		}, nil),
		"dates that are none": many(2000, func(i int) string {
			return fmt.Sprintf(`{"transaction_id":"%d","original_transaction_id":"7","product_id":"p","expires_date_ms":"soon"}`, id+i)
		}, nil),
	} {
		bytes, told := held(t, body)
		t.Logf("%s: holds %d bytes, told of %d", name, bytes, told)
		if bytes > told+told/4+100<<10 || told > 3*bytes+100<<10 {
			t.Errorf("%s: holds %d bytes, and told of %d", name, bytes, told)
		}
	}
}

// TestReplyWithoutRoomIsCounted to its end, and nothing of it is kept: what it would
// need is known then.
func TestReplyWithoutRoomIsCounted(t *testing.T) {
	t.Parallel()
	const records = 2000
	body := many(records, func(i int) string {
		return fmt.Sprintf(`{"transaction_id":"%d","original_transaction_id":"%d","product_id":"p%d","expires_date_ms":"17356896%05d"}`, i+1, i+1, i, i)
	}, nil)
	var whole int64
	if _, err := appstore.DecodeGrowing(strings.NewReader(body), appstore.Limits{}, func(n int64) error { whole = n; return nil }); err != nil {
		t.Fatal(err)
	}
	errFull := errors.New("full")
	for _, most := range []int64{0, 100_000, whole / 2, whole - 1} {
		asked := 0
		reply, err := appstore.DecodeGrowing(strings.NewReader(body), appstore.Limits{}, func(n int64) error {
			if n > most {
				asked++
				return errFull
			}
			return nil
		})
		var full *appstore.RoomError
		if !errors.As(err, &full) || !errors.Is(err, errFull) || !reply.Facts.IsEmpty() || asked != 1 {
			t.Errorf("room for %d: got error %v, asked for more %d times, empty %t", most, err, asked, reply.Facts.IsEmpty())
			continue
		}
		if full.Bytes < whole || full.Bytes > whole*3/2 {
			t.Errorf("room for %d: needs %d, want %d and somewhat more", most, full.Bytes, whole)
		}
	}
}

// TestReplyWithoutRoomIsNoOtherFault whatever comes after there was none, through a
// client too.
func TestReplyWithoutRoomIsNoOtherFault(t *testing.T) {
	t.Parallel()
	body := many(500, func(i int) string { return fmt.Sprintf(`{"transaction_id":"%d","product_id":"p%d"}`, i+1, i) }, nil)
	errFull := errors.New("full")
	for name, reply := range map[string]string{"whole": body, "cut": body[:len(body)-10], "malformed at its end": body + "x"} {
		c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, reply)
		}, nil))
		r := request()
		r.Grow = func(context.Context, int64) error { return errFull }
		if _, err := c.VerifyReceipt(t.Context(), r); !errors.Is(err, errFull) || errors.Is(err, appstore.ErrMalformedReply) {
			t.Errorf("%s: got error %v, want that there was no room", name, err)
		}
	}
}
