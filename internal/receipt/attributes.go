package receipt

import (
	"fmt"
	"iter"
)

// The attribute types of an app receipt that are read here.
// https://developer.apple.com/library/archive/releasenotes/General/ValidateAppStoreReceipt/Chapters/ReceiptFields.html
// Apple does not document 0 and 18; they are as observed in every receipt.
const (
	typeReceiptType                = 0
	typeBundleID                   = 2
	typeApplicationVersion         = 3
	typeCreationDate               = 12
	typeInApp                      = 17
	typeOriginalPurchaseDate       = 18
	typeOriginalApplicationVersion = 19
	typeExpirationDate             = 21
)

// An attribute is one entry of a receipt's SET:
//
//	SEQUENCE { type INTEGER, version INTEGER, value OCTET STRING }
type attribute struct {
	kind  int
	value []byte // itself an encoded element
}

// attributesOf yields the attributes of a SET and stops after an error.
func attributesOf(set []byte) iter.Seq2[attribute, error] {
	return func(yield func(attribute, error) bool) {
		for len(set) > 0 {
			body, rest, err := expect(set, tagSequence)
			if err != nil {
				yield(attribute{}, err)
				return
			}
			a, err := readAttribute(body)
			if !yield(a, err) || err != nil {
				return
			}
			set = rest
		}
	}
}

func readAttribute(body []byte) (attribute, error) {
	number, body, err := expect(body, tagInteger)
	if err != nil {
		return attribute{}, err
	}
	kind, ok := smallInt(number)
	if !ok {
		return attribute{}, errLength
	}
	if _, body, err = expect(body, tagInteger); err != nil {
		return attribute{}, err
	}
	e, _, err := next(body)
	if err != nil {
		return attribute{}, err
	}
	value, err := octets(e)
	return attribute{int(kind), value}, err
}

// readAttributes fills in what the app-level attributes say.
func (i *Info) readAttributes() error {
	for a, err := range attributesOf(i.attributes) {
		if err != nil {
			return fmt.Errorf("attribute: %w", err)
		}
		switch a.kind {
		case typeReceiptType:
			i.ReceiptType, _ = text(a.value)
		case typeBundleID:
			i.BundleID, _ = text(a.value)
		case typeApplicationVersion:
			i.ApplicationVersion, _ = text(a.value)
		case typeOriginalApplicationVersion:
			i.OriginalApplicationVersion, _ = text(a.value)
		case typeCreationDate:
			i.CreationDate, _ = date(a.value)
		case typeOriginalPurchaseDate:
			i.OriginalPurchaseDate, _ = date(a.value)
		case typeExpirationDate:
			i.ExpirationDate, _ = date(a.value)
		case typeInApp:
			i.InApp++
		}
	}
	return nil
}
