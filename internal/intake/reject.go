package intake

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Reason is why a line was refused.
type Reason string

// The reasons, in the order in which a line is looked at.
const (
	ReasonLineTooLong  Reason = "line_too_long"
	ReasonBadLine      Reason = "bad_line"      // not JSON, not UTF-8, or the wrong number of columns
	ReasonMissingField Reason = "missing_field" // bundle_id, customer_ref or receipt
	ReasonBadField     Reason = "bad_field"     // bundle_id or customer_ref cannot be stored
	ReasonUnknownApp   Reason = "unknown_app"
	ReasonNotBase64    Reason = "not_base64"
	ReasonNotAReceipt  Reason = "not_a_receipt"
	ReasonTruncated    Reason = "truncated"
	ReasonMalformed    Reason = "malformed"
	ReasonWrongApp     Reason = "wrong_app"    // the receipt is of another app than the line says
	ReasonNotVerified  Reason = "not_verified" // the signature is disproved, or is not verified and only verified ones are wanted
	ReasonNotStored    Reason = "not_stored"   // Postgres will never take it, such as a character that the database does not have
)

// A rejection is one line of the rejects, which is a line to import again once it
// was corrected: it has the receipt as it came, or the whole line where that is not
// all. A value that was missing is null, which is missing again.
type rejection struct {
	Line        int64   `json:"line"`
	BundleID    *string `json:"bundle_id"`
	CustomerRef *string `json:"customer_ref"`
	Reason      Reason  `json:"reason"`
	Error       string  `json:"error"`

	Receipt json.RawMessage `json:"receipt,omitempty"`
	Signed  json.RawMessage `json:"signed_transaction,omitempty"`
	original
}

// original is a line that could not be split into its values, or without a
// receipt among them.
type original struct {
	Text string `json:"original,omitempty"`
	// Bytes takes the place of Text where the line is not UTF-8.
	Bytes []byte `json:"original_base64,omitempty"`
	// Columns are those of CSV, and nil for NDJSON.
	Columns []string `json:"columns,omitempty"`
}

func (r row) original() original {
	if utf8.Valid(r.line) {
		return original{Text: string(r.line), Columns: r.columns}
	}
	return original{Bytes: r.line, Columns: r.columns}
}

// line is the line as it came; nil where there is none.
func (o original) line() []byte {
	if o.Bytes != nil {
		return o.Bytes
	}
	return []byte(o.Text)
}

// carry adds to a rejection what it takes to import the line again.
func (r *rejection) carry(from row) {
	r.BundleID, r.CustomerRef = from.bundleID, from.customerRef
	if len(from.receipt) > 0 && from.isUTF8() {
		if from.isSigned {
			r.Signed = from.receiptJSON()
		} else {
			r.Receipt = from.receiptJSON()
		}
		return
	}
	r.BundleID, r.CustomerRef = validOrNil(r.BundleID), validOrNil(r.CustomerRef)
	r.original = from.original()
}

// validOrNil is a text that JSON can hold as it is.
func validOrNil(s *string) *string {
	if s == nil || !utf8.ValidString(*s) {
		return nil
	}
	return s
}

func refuse(reason Reason, format string, args ...any) *rejection {
	return &rejection{Reason: reason, Error: fmt.Sprintf(format, args...)}
}
