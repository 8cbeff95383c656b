package intake

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"revalidator/internal/iap"
	"revalidator/internal/receipt"
)

// The longest bundle id and customer reference, in bytes. They fit into one
// index entry of Postgres, and both are shorter than any receipt is in base64.
const (
	maxBundleID    = 255
	maxCustomerRef = 512
)

// receiptNames are the names that the receipt may go by; the last is Apple's.
var receiptNames = []string{"receipt", "receipt_data", "receipt-data"}

// signedName is that of a signed transaction in the place of a receipt.
const signedName = "signed_transaction"

// A row is a record split into its fields. A nil text is one that is missing,
// which for the customer reference is another thing than an empty one.
type row struct {
	bundleID    *string
	customerRef *string
	receipt     []byte
	isJSON      bool // of the receipt: a JSON value as it was written
	isSigned    bool // the receipt is a signed transaction
	// line is the original of what is not all in these values, with the columns
	// of CSV.
	line    []byte
	columns []string
}

func (r row) isUTF8() bool {
	return utf8.Valid(r.receipt) && (r.bundleID == nil || utf8.ValidString(*r.bundleID)) &&
		(r.customerRef == nil || utf8.ValidString(*r.customerRef))
}

func (r row) receiptJSON() json.RawMessage {
	if r.isJSON {
		return r.receipt
	}
	return textJSON(string(r.receipt))
}

// textJSON is a text of UTF-8 as JSON, which cannot fail.
func textJSON(text string) json.RawMessage {
	encoded, _ := json.Marshal(text)
	return encoded
}

// decode makes a receipt of a record, or says why not.
func (c Config) decode(rec record) (iap.Receipt, *rejection) {
	r, refused := rec.row, rec.refused
	if refused == nil && rec.json != nil {
		r, refused = readJSON(rec.json)
	}
	var result iap.Receipt
	if refused == nil {
		result, refused = c.read(r)
	}
	if refused != nil {
		refused.Line = rec.line
		refused.carry(r)
	}
	return result, refused
}

func (c Config) read(r row) (iap.Receipt, *rejection) {
	if refused := r.check(); refused != nil {
		return iap.Receipt{}, refused
	}
	bundleID := *r.bundleID
	if !c.HasApp(bundleID) {
		return iap.Receipt{}, refuse(ReasonUnknownApp,
			"no app has this bundle id: add it with `revalidator apps add %s` and import again", bundleID)
	}
	if r.isSigned {
		return c.readSigned(r)
	}
	info, err := receipt.Parse(r.receipt)
	if err != nil {
		return iap.Receipt{}, refuse(reasonOf(err), "%v", err)
	}
	// Some receipts do not name their app; then the line is believed, and
	// Apple has the last word.
	if info.BundleID != "" && info.BundleID != bundleID {
		return iap.Receipt{}, refuse(ReasonWrongApp, "the receipt is of the app %.255s: correct bundle_id", info.BundleID)
	}
	mark, refused := c.markReceipt(info)
	return iap.Receipt{
		BundleID:    bundleID,
		CustomerRef: *r.customerRef,
		Kind:        info.Kind,
		Environment: info.Environment,
		Data:        info.Data,
		Signature:   mark,
	}, refused
}

// check looks at what can be told of the fields by themselves.
func (r row) check() *rejection {
	switch {
	case r.bundleID == nil || *r.bundleID == "":
		return refuse(ReasonMissingField, "bundle_id is missing")
	case r.customerRef == nil:
		return refuse(ReasonMissingField, `customer_ref is missing: it may be "", but it must be there`)
	case len(r.receipt) == 0:
		return refuse(ReasonMissingField, "receipt is missing: it holds the receipt in base64; or give signed_transaction, a JWS of StoreKit 2")
	case !storable(*r.bundleID, maxBundleID):
		return refuse(ReasonBadField, "bundle_id must be UTF-8 of at most %d bytes without a zero byte", maxBundleID)
	case !storable(*r.customerRef, maxCustomerRef):
		return refuse(ReasonBadField, "customer_ref must be UTF-8 of at most %d bytes without a zero byte", maxCustomerRef)
	}
	return nil
}

// storable reports whether Postgres can keep s as a text and in an index.
// Otherwise one line would fail its whole batch, every time.
func storable(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, receipt.ErrEmpty):
		return ReasonMissingField
	case errors.Is(err, receipt.ErrNotBase64):
		return ReasonNotBase64
	case errors.Is(err, receipt.ErrNotAReceipt):
		return ReasonNotAReceipt
	case errors.Is(err, receipt.ErrTruncated):
		return ReasonTruncated
	}
	return ReasonMalformed
}

// object is one line of NDJSON. The receipt stays as it is written: a JSON
// string is one of the forms that receipt.Parse reads.
type object struct {
	BundleID    *string         `json:"bundle_id"`
	CustomerRef *reference      `json:"customer_ref"`
	Receipt     json.RawMessage `json:"receipt"`
	ReceiptData json.RawMessage `json:"receipt_data"`
	AppleName   json.RawMessage `json:"receipt-data"`
	// Signed is a signed transaction in the place of a receipt.
	Signed json.RawMessage `json:"signed_transaction"`
}

// reference is a text, or a number as backends with numeric customer ids write
// it, kept digit by digit.
type reference string

var errReference = errors.New("customer_ref is neither a text nor a number")

// UnmarshalJSON implements json.Unmarshaler.
func (r *reference) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, (*string)(r))
	}
	var n json.Number
	if err := json.Unmarshal(data, &n); err != nil {
		return errReference
	}
	*r = reference(n)
	return nil
}

// readJSON reads a line of NDJSON, or the one that it has from the rejects.
func readJSON(line []byte) (row, *rejection) {
	r, refused := readObject(line)
	if refused != nil || len(r.receipt) > 0 {
		return r, refused
	}
	var o original
	if json.Unmarshal(line, &o) != nil || len(o.line()) == 0 {
		return r, nil // it has these keys for another reason
	}
	if o.Columns == nil {
		return readObject(o.line())
	}
	values, err := valuesOf(o.Columns, o.line())
	if err != nil {
		return row{line: o.line(), columns: o.Columns}, refuse(ReasonBadLine, "original: %v", err)
	}
	r = rowOf(o.Columns, values)
	r.line, r.columns = o.line(), o.Columns
	return r, nil
}

func readObject(line []byte) (row, *rejection) {
	r := row{isJSON: true, line: line}
	if !utf8.Valid(line) { // else two names could become one
		return r, refuse(ReasonBadLine, "the line is not UTF-8")
	}
	var o object
	err := json.Unmarshal(line, &o)
	r.bundleID, r.customerRef = o.BundleID, (*string)(o.CustomerRef)
	if err != nil {
		return r, refuse(ReasonBadLine, "%s", badJSON(line, err))
	}
	for _, text := range []json.RawMessage{o.Receipt, o.ReceiptData, o.AppleName} {
		if len(r.receipt) == 0 && string(text) != "null" {
			r.receipt = text
		}
	}
	if len(r.receipt) == 0 && len(o.Signed) > 0 && string(o.Signed) != "null" {
		r.receipt, r.isSigned = o.Signed, true
	}
	if len(r.receipt) > 0 {
		r.line = nil // its values are all there is to it
	}
	return r, nil
}

// badJSON explains an error of encoding/json without its Go words.
func badJSON(line []byte, err error) string {
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errReference):
		return errReference.Error()
	case line[0] == '[', line[len(line)-1] == ',':
		return "the line is part of a JSON array: write one object a line, as `jq -c '.[]'` does"
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return wrongType.Field + " is not a text"
	case errors.As(err, &syntax):
		return "the line is not JSON: " + syntax.Error()
	}
	return "the line is not a JSON object"
}
