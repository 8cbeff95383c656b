package receipt

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The receipts of these tests are made up: right in their structure, without
// certificates and signatures. They are built with cryptobyte, which shares no
// code with the reader.

// attr encodes one attribute around an encoded value.
func attr(kind int64, value []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(kind)
		b.AddASN1Int64(1)
		b.AddASN1OctetString(value)
	})
	return b.BytesOrPanic()
}

func textAttr(kind int64, s string) []byte { return stringAttr(kind, asn1.UTF8String, s) }

func stringAttr(kind int64, tag asn1.Tag, s string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
	return attr(kind, b.BytesOrPanic())
}

func dateAttr(kind int64, t time.Time) []byte {
	if t.IsZero() {
		return stringAttr(kind, asn1.IA5String, "")
	}
	return stringAttr(kind, asn1.IA5String, t.Format(time.RFC3339))
}

func intAttr(kind, n int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1Int64(n)
	return attr(kind, b.BytesOrPanic())
}

func setOf(attributes ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(attributes...)) })
	return b.BytesOrPanic()
}

// pkcs7 wraps a payload in the container of an app receipt, in DER.
func pkcs7(payload []byte) []byte {
	explicit := asn1.Tag(0).Constructed().ContextSpecific()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 2})
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {})
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 1})
					b.AddASN1(explicit, func(b *cryptobyte.Builder) { b.AddASN1OctetString(payload) })
				})
			})
		})
	})
	return b.BytesOrPanic()
}

// xcodePKCS7 wraps a payload as Xcode does: in BER with indefinite lengths, and
// in an OCTET STRING made of the given pieces.
func xcodePKCS7(pieces ...[]byte) []byte {
	eoc := []byte{0, 0}
	var body []byte
	for _, piece := range pieces {
		var b cryptobyte.Builder
		b.AddASN1OctetString(piece)
		body = append(body, b.BytesOrPanic()...)
	}
	wrap := func(tag byte, parts ...[]byte) []byte {
		return slices.Concat([]byte{tag, 0x80}, slices.Concat(parts...), eoc)
	}
	data := []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")
	content := wrap(0x30, data, wrap(0xa0, wrap(0x24, body)))
	return wrap(0x30, []byte(signedData), wrap(0xa0, wrap(0x30, []byte{2, 1, 1, 0x31, 0}, content)))
}

// inApp encodes a record of a monthly subscription that began at start.
func inApp(id int, start time.Time) []byte {
	return attr(typeInApp, setOf(
		intAttr(typeQuantity, 1),
		textAttr(typeProductID, "com.example.app.month"),
		textAttr(typeTransactionID, fmt.Sprint(id)),
		textAttr(typeOriginalTransactionID, "1000"),
		dateAttr(typePurchaseDate, start),
		dateAttr(typeInAppOriginalPurchase, created),
		dateAttr(typeExpiresDate, start.AddDate(0, 1, 0)),
		dateAttr(typeCancellationDate, time.Time{}),
		intAttr(typeIsTrialPeriod, 1),
		intAttr(typeIsInIntroOfferPeriod, 0),
		intAttr(1722, 7), // one that nobody has explained
	))
}

var created = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)

// appAttributes are the app-level attributes of a made-up receipt.
func appAttributes(receiptType string) [][]byte {
	return [][]byte{
		textAttr(typeReceiptType, receiptType),
		textAttr(typeBundleID, "com.example.app"),
		textAttr(typeApplicationVersion, "42"),
		textAttr(typeOriginalApplicationVersion, "1.0"),
		dateAttr(typeCreationDate, created),
		dateAttr(typeOriginalPurchaseDate, created.AddDate(-1, 0, 0)),
		attr(4, []byte("opaque")),
	}
}

// appReceipt is a made-up receipt with n records.
func appReceipt(receiptType string, n int) []byte {
	attributes := appAttributes(receiptType)
	for i := range n {
		attributes = append(attributes, inApp(i+1, created.AddDate(0, i, 0)))
	}
	return pkcs7(setOf(attributes...))
}

// plist writes a property list of pairs in the NeXT style.
func plist(pairs ...string) string {
	var b strings.Builder
	b.WriteString("{\n")
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "\t%q = %q;\n", pairs[i], pairs[i+1])
	}
	b.WriteString("}")
	return b.String()
}

// transactionReceipt wraps the fields of purchase-info.
func transactionReceipt(pairs ...string) []byte {
	info := base64.StdEncoding.EncodeToString([]byte(plist(pairs...)))
	return []byte(plist("signature", "AAAA", purchaseInfo, info, "environment", "Sandbox", "pod", "100"))
}
