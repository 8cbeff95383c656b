package appstore

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strconv"

	"revalidator/internal/iap"
)

// Reply is one reply of verifyReceipt, read but not yet judged.
type Reply struct {
	Code Code
	// Retryable is nil where the reply does not say.
	Retryable *bool
	// Exception is a class name at most; see StatusError.
	Exception string
	// Facts holds what the reply says. AsOf is zero and Environment empty where
	// it does not say; iOS 6 style replies name neither.
	Facts iap.Facts
	// Unknown counts keys and values that are not known and faults that were
	// accepted in spite of its form, by name, at most some 64 of them.
	Unknown map[string]int
}

// ReceiptTypeContradicts is the name in Unknown of a reply whose receipt_type is of
// another environment than it says.
const ReceiptTypeContradicts = "receipt_type of another environment"

// DecodeReply reads one reply in whichever of Apple's shapes it comes: app
// receipts and the transaction receipts of iOS 6, lists or single objects,
// numbers as strings or not, keys in any order. Of a key that comes twice, the
// last value counts; of a list that comes twice, both.
//
// It returns what it could read also with an error, which is ErrEmptyReply,
// ErrNotJSON, ErrCutReply, ErrMalformedReply, ErrReplyTooLarge or that of r.
// Text dates are never read: Apple sends each date in milliseconds as well.
func DecodeReply(r io.Reader, l Limits) (Reply, error) { return decodeReply(r, l, nil) }

// decodeReply is DecodeReply, which tells grow of what it keeps in memory.
func decodeReply(r io.Reader, l Limits, grow func(bytes int64) error) (Reply, error) {
	l = l.withDefaults()
	d := decoder{
		scanner: newScanner(r, l),
		unknown: make(unknown),
		texts:   make(map[string]string),
		most:    l.MaxRecords,
		records: l.MaxRecords,
		maxText: l.MaxTextBytes,
		kept:    kept{grow: grow},
	}
	defer d.close()
	if d.begins() {
		d.reply()
	}
	err := d.finish()
	if full := d.roomError(); full != nil {
		return Reply{Unknown: d.unknown}, full
	}
	d.conclude()
	if err == nil && !d.hasStatus {
		err = ErrNoStatus
	}
	return d.out, err
}

// decoder turns the tokens of one reply into facts as they arrive.
type decoder struct {
	*scanner
	unknown unknown
	texts   map[string]string // texts that repeat, to hold each once
	most    int               // records that may come
	records int               // how many more may come
	maxText int               // the longest that is kept
	kept    kept
	out     Reply

	hasStatus     bool
	bundleID, bid string
	// typeEnvironment is the environment of receipt_type, empty where it says none.
	typeEnvironment iap.Environment
	renewals        int
	// renewal is what an iOS 6 style reply says at its top level.
	renewal iap.RenewalInfo
}

// begins looks at the first byte, by which the body is judged whatever its
// content type says.
func (d *decoder) begins() bool {
	c := d.peek()
	if c == '\xef' { // UTF-8 byte order mark
		for d.end-d.pos < 3 && d.fill() {
		}
		if bytes.HasPrefix(d.buf[d.pos:d.end], []byte("\ufeff")) {
			d.pos += 3
			c = d.peek()
		}
	}
	switch {
	case d.err == ErrCutReply:
		d.err = ErrEmptyReply
	case c != '{':
		d.fail(ErrNotJSON)
	}
	return d.err == nil
}

func (d *decoder) reply() {
	for d.enter('{'); d.more('}'); {
		switch name := d.name(); string(name) {
		case "status":
			d.status()
		case "environment":
			d.environment()
		case "is_retryable", "is-retryable":
			d.out.Retryable = d.flagPointer("is_retryable")
		case "exception":
			d.exception()
		case "receipt":
			d.one("receipt", d.receipt)
		case "latest_receipt_info":
			d.each("latest_receipt_info", d.latestReceiptInfo)
		case "latest_expired_receipt_info":
			d.each("latest_expired_receipt_info", d.latestReceiptInfo)
		case "pending_renewal_info":
			d.each("pending_renewal_info", d.pendingRenewalInfo)
		case "auto_renew_status", "auto_renew_product_id", "expiration_intent", "is_in_billing_retry_period",
			"grace_period_expires_date_ms", "price_consent_status", "price_increase_status":
			d.renewalField(&d.renewal, name)
		case "latest_receipt", "latest_expired_receipt", "itunes_env", "cancellation_date", "cancellation_date_ms",
			"cancellation_date_pst", "cancellation_reason", "grace_period_expires_date", "grace_period_expires_date_pst":
			d.skip()
		default:
			d.unknown.key("reply", name)
			d.skip()
		}
	}
}

// one reads an object; anything else but null is counted and skipped.
func (d *decoder) one(where string, read func()) {
	switch d.peek() {
	case '{':
		read()
	case 'n':
		d.literal()
	default:
		d.unknown.add(where+" of another type", 1)
		d.skip()
	}
}

// each reads a list of objects, or a single one in its place, as iOS 6 style
// replies have it.
func (d *decoder) each(where string, read func()) {
	element := func() {
		if d.records--; d.records < 0 {
			d.fail(fmt.Errorf("%w: too many records", ErrReplyTooLarge))
		}
		read()
	}
	if d.peek() != '[' {
		d.one(where, element)
		return
	}
	for d.enter('['); d.more(']'); {
		d.one(where, element)
	}
}

func (d *decoder) status() {
	text, _ := d.scalar()
	n, err := strconv.ParseInt(string(text), 10, 32) // as Postgres keeps it
	if d.hasStatus = err == nil; !d.hasStatus {
		d.unknown.value("status", text)
		n = 0
	}
	d.out.Code = Code(n)
}

func (d *decoder) environment() {
	text, ok := d.scalar()
	environment := iap.Environment(text)
	if ok && environment.Validate() != nil {
		d.unknown.value("environment", text)
		environment = ""
	}
	d.out.Facts.Environment = environment
}

// exception keeps the class name at the front of an exception's text.
func (d *decoder) exception() {
	text, _ := d.scalar()
	class, _, _ := bytes.Cut(text, []byte(":"))
	if len(class) > 0 {
		d.out.Exception = printable(class, 128)
	}
}

// conclude adds what is only known at the end.
func (d *decoder) conclude() {
	d.out.Facts.BundleID = cmp.Or(d.bundleID, d.bid)
	if d.renewals == 0 && d.renewal != (iap.RenewalInfo{}) {
		d.out.Facts.AddRenewalInfo(d.renewal)
	}
	if e := d.out.Facts.Environment; e != "" && d.typeEnvironment != "" && d.typeEnvironment != e {
		d.unknown.add(ReceiptTypeContradicts, 1)
	}
	d.unknown.add("(control characters)", d.controls)
	d.unknown.add("(texts too long to keep)", d.longTexts)
	d.unknown.add("(values of another type)", d.misshapen)
	d.out.Unknown = d.unknown
}
