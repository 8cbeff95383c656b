package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// canned is the reply to one kind of receipt: well-formed, in the layout and
// with the proportions of recorded ones, and the same for every receipt but for
// the original transaction id. Nothing is worked out for a request, so that the
// App Store takes as little of the machine as can be.
type canned struct {
	text    []byte
	ids     []int // where in the text an original transaction id stands
	latency time.Duration
}

// idDigits is the length of an original transaction id.
const idDigits = 16

// idMark stands in the text where an id belongs.
const idMark = "################"

const (
	appID       = "com.example.reader"
	appSecret   = "0123456789abcdef0123456789abcdef"
	productID   = appID + ".monthly"
	renewsEvery = 30 * 24 * time.Hour // or more often where there are many renewals
	longest     = 5 * 365 * 24 * time.Hour
)

// newCanned is the reply to a receipt of a subscription with so many renewals.
// The last period has not ended yet.
func newCanned(records, receiptBytes int, latency time.Duration) *canned {
	var b bytes.Buffer
	now := time.Now().UTC()
	period := min(renewsEvery, longest/time.Duration(records))
	first := now.Add(period / 2).Add(-time.Duration(records) * period)
	fmt.Fprintf(&b, `{"status":0, "environment":"Production", `+"\n"+
		`"receipt":{"receipt_type":"Production", "adam_id":1234567890, "app_item_id":1234567890, "bundle_id":%q, `+
		`"application_version":"7", "download_id":500000000000000001, "version_external_identifier":800000000, `+
		`"receipt_creation_date":"2020-09-13 12:26:40 Etc/GMT", "receipt_creation_date_ms":"1600000000000", `+
		`"request_date_ms":"%d", "original_application_version":"1.0", `+"\n"+`"in_app":[`, appID, now.UnixMilli())
	cannedRecords(&b, records, first, period, "")
	b.WriteString("]}, \n" + `"latest_receipt_info":[`)
	cannedRecords(&b, records, first, period, `, "subscription_group_identifier":"20500000"`)
	b.WriteString("], \n" + `"latest_receipt":"`)
	b.WriteString(base64.StdEncoding.EncodeToString(make([]byte, receiptBytes)))
	b.WriteString(`", ` + "\n" + `"pending_renewal_info":[{"auto_renew_product_id":"` + productID + `", "original_transaction_id":"` +
		idMark + `", "product_id":"` + productID + `", "auto_renew_status":"1"}]}`)
	c := &canned{text: b.Bytes(), latency: latency}
	for at := 0; ; at += idDigits {
		i := bytes.Index(c.text[at:], []byte(idMark))
		if i < 0 {
			return c
		}
		at += i
		c.ids = append(c.ids, at)
	}
}

func cannedRecords(b *bytes.Buffer, n int, first time.Time, period time.Duration, more string) {
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		bought := first.Add(time.Duration(i) * period)
		fmt.Fprintf(b, "\n"+`{"quantity":"1", "product_id":%q, "transaction_id":"%d", "original_transaction_id":"`+idMark+`", `,
			productID, 2_000_000_000_000_000+i)
		cannedDate(b, "purchase_date", bought)
		cannedDate(b, "original_purchase_date", first)
		cannedDate(b, "expires_date", bought.Add(period))
		fmt.Fprintf(b, `"web_order_line_item_id":"%d", "is_trial_period":"false", "is_in_intro_offer_period":"false", `+
			`"in_app_ownership_type":"PURCHASED"%s}`, 3_000_000_000_000_000+i, more)
	}
}

func cannedDate(b *bytes.Buffer, name string, t time.Time) {
	fmt.Fprintf(b, `"%s":"%s Etc/GMT", "%[1]s_ms":"%[3]d", "%[1]s_pst":"%[4]s America/Los_Angeles", `,
		name, t.Format(time.DateTime), t.UnixMilli(), t.Add(-8*time.Hour).Format(time.DateTime))
}

// ServeHTTP answers with the canned reply about the receipt that was sent.
func (c *canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := customer(r.Body)
	if err != nil {
		http.Error(w, "no receipt", http.StatusBadRequest)
		return
	}
	if c.latency > 0 {
		time.Sleep(c.latency)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(c.text)))
	_ = c.write(w, id)
}

// block is how much of a reply is written at a time.
const block = 32 << 10

// write writes the reply block by block, with the id in each of its places.
func (c *canned) write(w io.Writer, id []byte) error {
	var scratch [block + idDigits]byte
	ids := c.ids
	for at := 0; at < len(c.text); {
		n := copy(scratch[:block], c.text[at:])
		for len(ids) > 0 && ids[0] < at+n {
			if ids[0]+idDigits > at+n { // not cut in two
				n = copy(scratch[:], c.text[at:ids[0]+idDigits])
			}
			copy(scratch[ids[0]-at:], id)
			ids = ids[1:]
		}
		if _, err := w.Write(scratch[:n]); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// customer reads a request and makes an id of the end of its receipt, which is
// where the receipts of the benchmark differ.
func customer(body io.Reader) ([]byte, error) {
	const kept = 512
	var window [kept + block]byte
	n := 0
	for {
		m, err := body.Read(window[n:])
		n += m
		if n > kept {
			n = copy(window[:], window[n-kept:n])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	end := bytes.LastIndex(window[:n], []byte(`","password"`))
	if end < 32 {
		return nil, io.ErrUnexpectedEOF
	}
	hash := fnv.New64a()
	_, _ = hash.Write(window[end-32 : end])
	return fmt.Appendf(nil, "%d", 1_000_000_000_000_000+hash.Sum64()%1_000_000_000_000_000), nil
}

// serveAppStore is the role of the App Store. It prints its address.
func serveAppStore(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(roleAppStore, flag.ContinueOnError)
	records := flags.Int("records", 20, "renewals in a reply")
	receiptBytes := flags.Int("receipt-bytes", 8<<10, "size of latest_receipt")
	latency := flags.Duration("latency", 0, "time that an answer takes")
	log := flags.Bool("journal", false, "answer GET with the times of the requests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var handler http.Handler = newCanned(*records, *receiptBytes, *latency)
	if *log {
		handler = &journal{next: handler}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Printf("http://%s\n", listener.Addr())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}
