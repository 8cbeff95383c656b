package applesim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Fault is a way in which a request goes wrong.
type Fault string

// The faults. Each has been seen in the wild.
const (
	// FaultHTTP answers with the HTTP status Rule.Status and no JSON: an HTML
	// page for 503 and 413, text for the others.
	FaultHTTP Fault = "http"
	// FaultCode answers with the receipt status code Rule.Status.
	FaultCode Fault = "code"
	// FaultStatus tells Rule.Status, and the right facts with it.
	FaultStatus Fault = "status"
	// FaultReset resets the connection before an answer.
	FaultReset Fault = "reset"
	// FaultTimeout never answers: it waits until the client leaves.
	FaultTimeout Fault = "timeout"
	// FaultLatency answers late, by Rule.Latency and up to Rule.Jitter more.
	// It adds to whatever else happens.
	FaultLatency Fault = "latency"
	// FaultEmpty answers 200 with an empty body.
	FaultEmpty Fault = "empty"
	// FaultHTML answers 200 with an HTML page.
	FaultHTML Fault = "html"
	// FaultCut sends the first Rule.Fraction of the right body.
	FaultCut Fault = "cut"
	// FaultControl has control characters within the right JSON.
	FaultControl Fault = "control"
	// FaultContentType calls the right JSON text/html.
	FaultContentType Fault = "content-type"
	// FaultWrongApp tells another app's bundle id.
	FaultWrongApp Fault = "wrong-app"
	// FaultStale answers as it would have Rule.Age ago.
	FaultStale Fault = "stale"
	// FaultEndless begins a reply that never ends.
	FaultEndless Fault = "endless"
	// FaultBomb answers with a small gzip stream that unpacks to 128 MB.
	FaultBomb Fault = "bomb"
	// FaultDrip sends the right answer a byte at a time.
	FaultDrip Fault = "drip"
	// FaultLength ends the connection after half of the body that it promised.
	FaultLength Fault = "length"
	// FaultNoRenewal leaves out pending_renewal_info, or what a transaction
	// receipt is told of renewal.
	FaultNoRenewal Fault = "no-renewal"
	// FaultOlder shows the oldest Rule.Periods of each subscription only, and
	// never the newest. What it describes renewal stays.
	FaultOlder Fault = "older"
	// FaultBare shows nothing: in_app is empty, and the other lists are missing.
	FaultBare Fault = "bare"
	// FaultLag tells what was true Rule.Age ago as if it were true now, as a
	// replica does that is behind: see FaultStale.
	FaultLag Fault = "lag"
	// FaultClock dates the answer by a clock that is off by Rule.Skew, in its
	// body and in its header. It adds to whatever else happens.
	FaultClock Fault = "clock"
	// FaultUndated gives records of subscriptions an expiry that is none, in the
	// Rule.Form: one of those of Form.
	FaultUndated Fault = "undated"
	// FaultFirstDates has each period give its own purchase as the original
	// one, a second later, as the sandbox did for years.
	FaultFirstDates Fault = "first-dates"
	// FaultLongIDs gives records of subscriptions a transaction id of
	// Rule.Bytes, or 3,000.
	FaultLongIDs Fault = "long-ids"
	// FaultHeaders sends the right answer after Rule.Bytes of headers.
	FaultHeaders Fault = "headers"
)

var faults = []Fault{
	FaultHTTP, FaultCode, FaultStatus, FaultReset, FaultTimeout, FaultLatency, FaultEmpty, FaultHTML,
	FaultCut, FaultControl, FaultContentType, FaultWrongApp, FaultStale,
	FaultEndless, FaultBomb, FaultDrip, FaultLength, FaultHeaders,
	FaultNoRenewal, FaultOlder, FaultBare, FaultLag, FaultClock,
	FaultUndated, FaultFirstDates, FaultLongIDs,
}

// The forms of Retry-After: verifyReceipt's is unknown; the App Store Server
// API sends the moment, in UNIX milliseconds.
const (
	RetryAfterSeconds = "seconds"
	RetryAfterEpochMS = "epoch-ms"
)

// Rule says which requests go wrong and how. Whether it applies to a request
// follows from the seed, the receipt and how often that was asked before, so
// that a run can be repeated.
type Rule struct {
	Fault Fault `json:"fault"`
	// Rate is the share of matching requests that it applies to, from 0 to 1.
	Rate float64 `json:"rate"`
	// First restricts it to the first requests of each customer; 0 is all.
	First int `json:"first,omitempty"`
	// BundleID, Environment, CustomerRef and ReceiptSHA256 (in hex) restrict
	// it to what they name; empty is any.
	BundleID      string `json:"bundle_id,omitempty"`
	Environment   string `json:"environment,omitempty"`
	CustomerRef   string `json:"customer_ref,omitempty"`
	ReceiptSHA256 string `json:"receipt_sha256,omitempty"`
	// Customers restricts it to a share of the customers, the same ones each time;
	// 0 is all.
	Customers float64 `json:"customers,omitempty"`
	// LargerThan restricts it to requests whose body has more bytes, as a proxy
	// does in front of Apple; 0 is any.
	LargerThan int `json:"larger_than,omitempty"`

	// Status is the code of FaultHTTP, FaultCode or FaultStatus.
	Status int `json:"status,omitempty"`
	// RetryAfter, in real time, is sent with FaultHTTP; 0 sends none.
	// RetryAfterForm is RetryAfterSeconds if empty.
	RetryAfter     Duration `json:"retry_after,omitempty"`
	RetryAfterForm string   `json:"retry_after_form,omitempty"`
	// Retryable is the JSON value sent with FaultCode as is_retryable, or by
	// the name RetryableKey: true, 1, "0" … Empty sends none, except that a
	// code from 21100 to 21199 always has one, in a form that varies.
	Retryable    string `json:"retryable,omitempty"`
	RetryableKey string `json:"retryable_key,omitempty"`
	// Latency and Jitter, in real time, are of FaultLatency. Age and Skew of the
	// others are up to Jitter more.
	Latency Duration `json:"latency,omitempty"`
	Jitter  Duration `json:"jitter,omitempty"`
	// Fraction is what FaultCut sends; 0 means a half.
	Fraction float64 `json:"fraction,omitempty"`
	// Age is of FaultStale and FaultLag, in simulated time; 0 means an hour.
	Age Duration `json:"age,omitempty"`
	// Periods is what FaultOlder shows; 0 means one.
	Periods int `json:"periods,omitempty"`
	// Skew is of FaultClock: how far the clock is ahead, or behind where it is
	// negative; 0 means an hour ahead.
	Skew Duration `json:"skew,omitempty"`
	// Form is of FaultUndated; empty is any, by record. Records is the share of
	// the records that FaultUndated and FaultLongIDs spoil; 0 means all.
	Form    Form    `json:"form,omitempty"`
	Records float64 `json:"records,omitempty"`
	// Bytes is how much FaultHeaders sends; 0 means 9.6 MB, which is just below
	// the limit of Go's client where nobody sets another. And see FaultLongIDs.
	Bytes int `json:"bytes,omitempty"`
}

// Duration is a time.Duration that is text in JSON, such as "1m30s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Validate reports a rule that could never apply or makes no sense.
func (r Rule) Validate() error {
	var errs []error
	if !slices.Contains(faults, r.Fault) {
		errs = append(errs, fmt.Errorf("fault %q: want one of %v", string(r.Fault), faults))
	}
	if r.Rate < 0 || r.Rate > 1 || r.Fraction < 0 || r.Fraction > 1 || r.Records < 0 || r.Records > 1 || r.Customers < 0 || r.Customers > 1 {
		errs = append(errs, fmt.Errorf("rate %v, fraction %v, records %v, customers %v: want 0 to 1", r.Rate, r.Fraction, r.Records, r.Customers))
	}
	if r.Form != "" && !slices.Contains(forms, r.Form) {
		errs = append(errs, fmt.Errorf("form %q: want one of %v", string(r.Form), forms))
	}
	if r.Fault == FaultHTTP && (r.Status < 400 || r.Status > 599) {
		errs = append(errs, fmt.Errorf("HTTP status %d: want 400 to 599", r.Status))
	}
	if r.Bytes < 0 || r.Periods < 0 || r.LargerThan < 0 {
		errs = append(errs, errors.New("bytes, periods and larger-than cannot be negative"))
	}
	if r.First < 0 || r.Latency < 0 || r.Jitter < 0 || r.Age < 0 || r.RetryAfter < 0 {
		errs = append(errs, errors.New("first, latency, jitter, age and retry-after cannot be negative"))
	}
	if !slices.Contains([]string{"", RetryAfterSeconds, RetryAfterEpochMS}, r.RetryAfterForm) {
		errs = append(errs, fmt.Errorf("retry-after form %q: want %s or %s", r.RetryAfterForm, RetryAfterSeconds, RetryAfterEpochMS))
	}
	return errors.Join(errs...)
}

// matches is whether the rule speaks of the request, leaving its rate aside.
func (r *Rule) matches(e *Entry) bool {
	return (r.First == 0 || e.Attempt <= r.First) &&
		(r.BundleID == "" || r.BundleID == e.BundleID) &&
		(r.Environment == "" || r.Environment == e.Environment) &&
		(r.CustomerRef == "" || r.CustomerRef == e.CustomerRef) &&
		(r.ReceiptSHA256 == "" || r.ReceiptSHA256 == e.ReceiptSHA256) &&
		e.BodyBytes > r.LargerThan
}

// mishap is what the rules have in store for one request.
type mishap struct {
	rule  *Rule // nil: all goes well
	delay time.Duration
	skew  time.Duration
	draw  uint64 // for choices that a rule leaves open
}

// mishap asks the rules about a request. key stands for its receipt.
func (s *Server) mishap(e *Entry, key uint64) mishap {
	var m mishap
	rules := *s.rules.Load()
	for i := range rules {
		r := &rules[i]
		seed := s.cfg.Seed + uint64(i)
		if !r.matches(e) || r.Customers > 0 && chance(s.cfg.Seed, key, streamShare) >= r.Customers ||
			chance(seed, key, uint64(e.Attempt)) >= r.Rate {
			continue
		}
		switch {
		case r.Fault == FaultLatency:
			m.delay += time.Duration(r.Latency) + time.Duration(float64(r.Jitter)*chance(seed, key, uint64(e.Attempt), 1))
		case r.Fault == FaultClock:
			m.skew += cmp.Or(time.Duration(r.Skew), time.Hour)
			m.skew += time.Duration(float64(r.Jitter) * chance(seed, key, uint64(e.Attempt), 2)).Truncate(time.Second)
		case m.rule == nil:
			m.rule, m.draw = r, mixBits(seed^key^uint64(e.Attempt))
		}
	}
	return m
}

// name is how the log describes a mishap.
func (m mishap) name() string {
	switch {
	case m.rule == nil:
		return ""
	case m.rule.Status != 0:
		return string(m.rule.Fault) + " " + strconv.Itoa(m.rule.Status)
	default:
		return string(m.rule.Fault)
	}
}
