package applesign

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	encoding "encoding/asn1"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidData          = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData    = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType   = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidRSA           = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidSHA1          = encoding.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256        = encoding.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

var explicit0 = asn1.Tag(0).ContextSpecific().Constructed()

// Receipt is how a receipt is signed. The zero value is as Apple does it today.
type Receipt struct {
	// SignedAttributes signs attributes in place of the content itself.
	SignedAttributes bool
	// Attributes replaces the signed attributes, each an encoded SEQUENCE.
	Attributes [][]byte
	// Certificates replaces the three of the authority.
	Certificates []*x509.Certificate
	// Signers is how many times the signer is written. Default 1.
	Signers int
	// NoSigner writes none.
	NoSigner bool
	// SignedContent is what is signed where that is not what is written.
	SignedContent []byte
	// DigestAlgorithm replaces the name of the algorithm, not the algorithm.
	DigestAlgorithm encoding.ObjectIdentifier
	// Pieces cuts the content into an OCTET STRING of so many bytes each.
	Pieces int
}

// Receipt signs content, which is an encoded SET of attributes in a receipt.
func (a *Authority) Receipt(content []byte, r Receipt) ([]byte, error) {
	signed := content
	if r.SignedContent != nil {
		signed = r.SignedContent
	}
	var attributes []byte
	if r.SignedAttributes || r.Attributes != nil {
		all := r.Attributes
		if all == nil {
			all = [][]byte{Attribute(oidContentType, encodeOID(oidData)), Attribute(oidMessageDigest, octetString(a.digest(signed)))}
		}
		// DER wants a SET in order.
		all = slices.Clone(all)
		slices.SortFunc(all, bytes.Compare)
		attributes = bytes.Join(all, nil)
		signed = wrap(asn1.SET, attributes)
	}
	signature, err := a.Keys[Leaf].Sign(rand.Reader, a.digest(signed), a.hash())
	if err != nil {
		return nil, err
	}
	if r.Signers == 0 && !r.NoSigner {
		r.Signers = 1
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(content)+8<<10))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(explicit0, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { a.signedData(b, r, content, attributes, signature) })
		})
	})
	return b.Bytes()
}

func (a *Authority) signedData(b *cryptobyte.Builder, r Receipt, content, attributes, signature []byte) {
	algorithm := oidSHA256
	if a.sha1 {
		algorithm = oidSHA1
	}
	if r.DigestAlgorithm != nil {
		algorithm = r.DigestAlgorithm
	}
	b.AddASN1Int64(1)
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { addAlgorithm(b, algorithm) })
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidData)
		b.AddASN1(explicit0, func(b *cryptobyte.Builder) { addContent(b, content, r.Pieces) })
	})
	certificates := r.Certificates
	if certificates == nil {
		certificates = []*x509.Certificate{a.Certificates[Leaf], a.Certificates[Intermediate], a.Certificates[Root]}
	}
	b.AddASN1(explicit0, func(b *cryptobyte.Builder) {
		for _, c := range certificates {
			b.AddBytes(c.Raw)
		}
	})
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
		for range r.Signers {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { a.signerInfo(b, algorithm, attributes, signature) })
		}
	})
}

func addContent(b *cryptobyte.Builder, content []byte, size int) {
	if size == 0 {
		b.AddASN1OctetString(content)
		return
	}
	b.AddASN1(asn1.OCTET_STRING.Constructed(), func(b *cryptobyte.Builder) {
		for piece := range slices.Chunk(content, size) {
			b.AddASN1OctetString(piece)
		}
	})
}

func (a *Authority) signerInfo(b *cryptobyte.Builder, algorithm encoding.ObjectIdentifier, attributes, signature []byte) {
	b.AddASN1Int64(1)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(a.Certificates[Leaf].RawIssuer)
		b.AddASN1BigInt(a.Certificates[Leaf].SerialNumber)
	})
	addAlgorithm(b, algorithm)
	if attributes != nil {
		b.AddASN1(explicit0, func(b *cryptobyte.Builder) { b.AddBytes(attributes) })
	}
	addAlgorithm(b, oidRSA)
	b.AddASN1OctetString(signature)
}

func addAlgorithm(b *cryptobyte.Builder, oid encoding.ObjectIdentifier) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddBytes(encoding.NullBytes)
	})
}

// MessageDigest is the signed attribute of a content, by the authority's hash.
func (a *Authority) MessageDigest(content []byte) []byte {
	return Attribute(oidMessageDigest, octetString(a.digest(content)))
}

// ContentType is the signed attribute that names the type of the content.
func ContentType() []byte { return Attribute(oidContentType, encodeOID(oidData)) }

// Attribute encodes a signed attribute of one value.
func Attribute(oid encoding.ObjectIdentifier, value []byte) []byte {
	return wrap(asn1.SEQUENCE, slices.Concat(encodeOID(oid), wrap(asn1.SET, value)))
}

func (a *Authority) hash() crypto.Hash {
	if a.sha1 {
		return crypto.SHA1
	}
	return crypto.SHA256
}

func (a *Authority) digest(content []byte) []byte {
	if a.sha1 {
		sum := sha1.Sum(content)
		return sum[:]
	}
	sum := sha256.Sum256(content)
	return sum[:]
}

// Content encodes a receipt's SET of attributes: what every receipt has, and so
// many in-app purchase records.
func Content(receiptType, bundleID string, created time.Time, records int) []byte {
	all := [][]byte{
		field(0, wrap(asn1.UTF8String, []byte(receiptType))),
		field(2, wrap(asn1.UTF8String, []byte(bundleID))),
		field(3, wrap(asn1.UTF8String, []byte("7"))),
		field(4, []byte("0123456789abcdef")),
		field(19, wrap(asn1.UTF8String, []byte("1.0"))),
	}
	if !created.IsZero() {
		all = append(all, field(12, date(created)))
	}
	for i := range records {
		bought := created.AddDate(0, i-records, 0)
		id := wrap(asn1.UTF8String, []byte(strconv.Itoa(1000+i)))
		all = append(all, field(17, wrap(asn1.SET, slices.Concat(
			field(1701, []byte{2, 1, 1}),
			field(1702, wrap(asn1.UTF8String, []byte(bundleID+".monthly"))),
			field(1703, id),
			field(1704, date(bought)),
			field(1705, wrap(asn1.UTF8String, []byte("1000"))),
			field(1706, date(created.AddDate(0, -records, 0))),
			field(1708, date(bought.AddDate(0, 1, 0))),
			field(1712, wrap(asn1.IA5String, nil)),
			field(1713, []byte{2, 1, 0}),
			field(1719, []byte{2, 1, 0}),
		))))
	}
	return wrap(asn1.SET, slices.Concat(all...))
}

func date(t time.Time) []byte {
	return wrap(asn1.IA5String, []byte(t.UTC().Format("2006-01-02T15:04:05Z")))
}

func field(kind int64, value []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(kind)
		b.AddASN1Int64(1)
		b.AddASN1OctetString(value)
	})
	return b.BytesOrPanic()
}

func wrap(tag asn1.Tag, body []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(body) })
	return b.BytesOrPanic()
}

func octetString(body []byte) []byte { return wrap(asn1.OCTET_STRING, body) }

func encodeOID(oid encoding.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(oid)
	return b.BytesOrPanic()
}
