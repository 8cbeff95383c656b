package receipt

import (
	"errors"
	"fmt"

	"revalidator/internal/iap"
)

// signedData is the object identifier 1.2.840.113549.1.7.2 with its tag and
// length: the first element of every PKCS#7 receipt.
const signedData = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"

// looksLikePKCS7 reports whether data begins as an app receipt does, also
// where it ends before that can be told for sure.
func looksLikePKCS7(data []byte) bool {
	if data[0] != tagSequence {
		return false
	}
	after := data[1:]
	if len(after) > 0 && after[0] <= 0x84 { // else not a length: no header to skip
		after = after[min(1+max(int(after[0])-0x80, 0), len(after)):]
	}
	n := min(len(signedData), len(after))
	return string(after[:n]) == signedData[:n]
}

// readAppReceipt reads the PKCS#7 container of iOS 7 and later.
func readAppReceipt(data []byte) (Info, error) {
	_, rest, err := next(data)
	if errors.Is(err, errShort) {
		return Info{}, fmt.Errorf("%w: the PKCS#7 container is longer than the %d bytes there are", ErrTruncated, len(data))
	}
	if err != nil {
		return Info{}, fmt.Errorf("%w: PKCS#7 container: %w", ErrMalformed, err)
	}
	data = data[:len(data)-len(rest)]
	set, err := attributeSet(data)
	if err != nil {
		return Info{}, fmt.Errorf("%w: PKCS#7 container: %w", ErrMalformed, err)
	}
	info := Info{Data: data, attributes: set}
	if err := info.readAttributes(); err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	info.Kind, info.Environment = classify(info.ReceiptType)
	return info, nil
}

// classify tells kind and environment by the receipt type. LocalTesting is what
// StoreKit testing calls itself where Xcode does not run the app.
// https://developer.apple.com/documentation/storekit/appstore/environment
func classify(receiptType string) (iap.ReceiptKind, iap.Environment) {
	switch receiptType {
	case "Xcode", "LocalTesting":
		return iap.KindXcode, ""
	}
	return iap.KindAppReceipt, iap.EnvironmentOf(receiptType)
}

// attributeSet returns the body of the receipt's SET of attributes:
//
//	ContentInfo ::= SEQUENCE { OID signedData, [0] SignedData }
//	SignedData  ::= SEQUENCE { version, digestAlgorithms, ContentInfo, … }
//	ContentInfo ::= SEQUENCE { OID data, [0] OCTET STRING }
func attributeSet(container []byte) ([]byte, error) {
	signed, err := contentOf(container)
	if err != nil {
		return nil, err
	}
	fields, _, err := expect(signed, tagSequence)
	if err != nil {
		return nil, err
	}
	if _, fields, err = expect(fields, tagInteger); err != nil {
		return nil, err
	}
	if _, fields, err = expect(fields, tagSet); err != nil {
		return nil, err
	}
	content, err := contentOf(fields)
	if err != nil {
		return nil, err
	}
	return unwrapSet(content)
}

// contentOf reads a ContentInfo and returns what its [0] holds.
func contentOf(b []byte) ([]byte, error) {
	body, _, err := expect(b, tagSequence)
	if err != nil {
		return nil, err
	}
	if _, body, err = expect(body, tagOID); err != nil {
		return nil, err
	}
	body, _, err = expect(body, tagExplicit0)
	return body, err
}

// unwrapSet opens the OCTET STRINGs around the SET. Apple needs one; tools of
// Xcode's kind were seen to put one into another.
func unwrapSet(content []byte) ([]byte, error) {
	for range maxDepth {
		e, _, err := next(content)
		if err != nil {
			return nil, err
		}
		if e.tag == tagSet {
			return e.body, nil
		}
		if content, err = octets(e); err != nil {
			return nil, err
		}
	}
	return nil, errTooDeep
}
