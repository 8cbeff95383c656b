package receipt

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"revalidator/internal/iap"
)

// maxPropertyList is the largest transaction receipt that is read, in bytes.
// Each holds one transaction and a certificate: real ones have 2 to 4 KB.
const maxPropertyList = 256 << 10

// purchaseInfo is the key whose value, again a property list in base64, holds
// the transaction.
const purchaseInfo = "purchase-info"

// looksLikePropertyList reports whether text is a dictionary in the NeXT style
// rather than JSON, whose first key is followed by a colon.
func looksLikePropertyList(text []byte) bool {
	if text[0] != '{' {
		return false
	}
	return bytes.Contains(text[:min(len(text), maxPropertyList)], []byte(purchaseInfo)) ||
		bytes.HasPrefix(bytes.TrimLeft(text[1:], " \t\r\n"), []byte(`"signature" =`))
}

// readTransactionReceipt reads the receipt of one transaction of iOS 6.
func readTransactionReceipt(data []byte) (Info, error) {
	outer, size, err := propertyList(data)
	if err != nil {
		return Info{}, err
	}
	inner, err := decodeBase64([]byte(outer[purchaseInfo]))
	if err != nil {
		return Info{}, fmt.Errorf("%w: %s: %v", ErrMalformed, purchaseInfo, err)
	}
	fields, _, err := propertyList(inner)
	if err != nil {
		return Info{}, fmt.Errorf("%w: %s: %v", ErrMalformed, purchaseInfo, err)
	}
	t, err := transactionOf(fields)
	if err != nil {
		return Info{}, fmt.Errorf("%w: %s: %v", ErrMalformed, purchaseInfo, err)
	}
	info := Info{
		Kind:               iap.KindTransactionReceipt,
		Environment:        iap.Production, // the key is there only in test receipts
		BundleID:           fields["bid"],
		ApplicationVersion: fields["bvrs"],
		InApp:              1,
		Data:               data[:size],
		transaction:        t,
	}
	named, ok := outer["environment"]
	if info.IsEnvironmentAssumed = !ok; ok {
		info.Environment = iap.Environment(named)
	}
	if info.Environment.Validate() != nil {
		info.Environment = ""
	}
	return info, nil
}

// transactionOf reads the fields of purchase-info, which are those of
// verifyReceipt with hyphens for underscores.
func transactionOf(fields map[string]string) (iap.Transaction, error) {
	t := iap.Transaction{
		TransactionID:         fields["transaction-id"],
		OriginalTransactionID: fields["original-transaction-id"],
		ProductID:             fields["product-id"],
		IsTrialPeriod:         fields["is-trial-period"] == "true",
		IsInIntroOfferPeriod:  fields["is-in-intro-offer-period"] == "true",
	}
	var errs [5]error
	t.PurchaseDate, errs[0] = milliseconds(fields["purchase-date-ms"])
	t.OriginalPurchaseDate, errs[1] = milliseconds(fields["original-purchase-date-ms"])
	// Here expires-date without a suffix is the number; its text is in
	// expires-date-formatted.
	t.ExpiresDate, errs[2] = milliseconds(fields["expires-date"])
	t.CancellationDate, errs[3] = milliseconds(fields["cancellation-date-ms"])
	if quantity := fields["quantity"]; quantity != "" {
		if t.Quantity, errs[4] = strconv.Atoi(quantity); errs[4] != nil {
			errs[4] = errLength
		}
	}
	return t, errors.Join(errs[:]...)
}

// milliseconds reads UNIX time in milliseconds. No text is no date.
func milliseconds(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, errDate
	}
	return time.UnixMilli(ms).UTC(), nil
}

// propertyList reads a flat dictionary of texts, the only shape that these
// receipts have: { "key" = "value"; … }. It reports how many bytes the list has, after
// which there may be others. The errors are ErrTruncated and ErrMalformed.
//
// howett.net/plist reads the corpus as well, but not safely: it has no bound on
// depth, so that 256 KB of "(" take 190 MB, and it does not tell a list that is
// cut off from one that is malformed.
func propertyList(data []byte) (fields map[string]string, size int, err error) {
	if len(data) > maxPropertyList || !utf8.Valid(data) {
		return nil, 0, fmt.Errorf("%w: property list: too large, or not a text", ErrMalformed)
	}
	s := scanner{rest: data}
	fields = make(map[string]string)
	s.symbol('{')
	for s.err == nil && !s.at('}') {
		key := s.word()
		s.symbol('=')
		value := s.word()
		s.symbol(';')
		fields[key] = value
	}
	s.symbol('}')
	return fields, len(data) - len(s.rest), s.err
}

// A scanner reads the tokens of a property list. After an error it stays where
// it is, so that only the end needs to look.
type scanner struct {
	rest []byte
	err  error
}

// at reports whether c is the next byte that is not a space.
func (s *scanner) at(c byte) bool {
	s.rest = bytes.TrimLeft(s.rest, " \t\r\n")
	return len(s.rest) > 0 && s.rest[0] == c
}

func (s *scanner) symbol(c byte) {
	switch {
	case s.err != nil:
	case s.at(c):
		s.rest = s.rest[1:]
	case len(s.rest) == 0:
		s.err = fmt.Errorf("%w: property list without its end", ErrTruncated)
	default:
		s.err = fmt.Errorf("%w: property list: %q expected", ErrMalformed, c)
	}
}

// word reads a quoted text or a bare word such as 100. No value of a receipt
// has an escape, so a backslash is left as it is.
func (s *scanner) word() string {
	if !s.at('"') {
		n := bytes.IndexAny(s.rest, " \t\r\n=;{}\"")
		word := s.rest[:max(n, 0)]
		s.rest = s.rest[len(word):]
		return string(word)
	}
	s.symbol('"')
	value, rest, found := bytes.Cut(s.rest, []byte(`"`))
	if !found {
		s.rest = nil
	} else {
		s.rest = rest
	}
	return string(value)
}
