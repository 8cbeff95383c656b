package intake

import "fmt"

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
	ReasonWrongApp     Reason = "wrong_app"  // the receipt is of another app than the line says
	ReasonNotStored    Reason = "not_stored" // Postgres will never take it, such as a character that the database does not have
)

// A rejection is one line of the rejects. It never holds receipt bytes: a text
// long enough to be a receipt in the wrong column is left out.
type rejection struct {
	Line        int64  `json:"line"`
	BundleID    string `json:"bundle_id"`
	CustomerRef string `json:"customer_ref"`
	Reason      Reason `json:"reason"`
	Error       string `json:"error"`
}

func refuse(reason Reason, format string, args ...any) *rejection {
	return &rejection{Reason: reason, Error: fmt.Sprintf(format, args...)}
}
