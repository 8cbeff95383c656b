package applesim

import (
	encoding "encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidData       = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidSHA256     = encoding.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA        = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

var (
	tag0 = asn1.Tag(0).ContextSpecific().Constructed()
	null = []byte{5, 0}
)

// container wraps the payload as Apple does: SignedData version 1 without
// signed attributes, so that the signature is over the payload itself.
func (a *authority) container(payload []byte) ([]byte, error) {
	signature, err := a.sign(payload)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(payload)+8<<10))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(tag0, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { a.signedData(b, payload, signature) })
		})
	})
	return b.Bytes()
}

func (a *authority) signedData(b *cryptobyte.Builder, payload, signature []byte) {
	b.AddASN1Int64(1)
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { addAlgorithm(b, oidSHA256) })
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidData)
		b.AddASN1(tag0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(payload) })
	})
	b.AddASN1(tag0, func(b *cryptobyte.Builder) {
		b.AddBytes(a.leaf.Raw)
		b.AddBytes(a.intermediate.Raw)
		b.AddBytes(a.root.Raw)
	})
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(1)
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddBytes(a.leaf.RawIssuer)
				b.AddASN1BigInt(a.leaf.SerialNumber)
			})
			addAlgorithm(b, oidSHA256)
			addAlgorithm(b, oidRSA)
			b.AddASN1OctetString(signature)
		})
	})
}

func addAlgorithm(b *cryptobyte.Builder, oid encoding.ObjectIdentifier) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddBytes(null)
	})
}

// open finds the payload and the signature in a container. Bytes after its end
// are tolerated, as Apple tolerates them.
func open(der []byte) (payload, signature []byte, ok bool) {
	input := cryptobyte.String(der)
	var outer, wrapped, signed, info, inner, signers, signer, content, sig cryptobyte.String
	ok = input.ReadASN1(&outer, asn1.SEQUENCE) &&
		outer.SkipASN1(asn1.OBJECT_IDENTIFIER) && outer.ReadASN1(&wrapped, tag0) &&
		wrapped.ReadASN1(&signed, asn1.SEQUENCE) &&
		signed.SkipASN1(asn1.INTEGER) && signed.SkipASN1(asn1.SET) &&
		signed.ReadASN1(&info, asn1.SEQUENCE) &&
		info.SkipASN1(asn1.OBJECT_IDENTIFIER) && info.ReadASN1(&inner, tag0) &&
		inner.ReadASN1(&content, asn1.OCTET_STRING) &&
		signed.SkipASN1(tag0) && signed.ReadASN1(&signers, asn1.SET) &&
		signers.ReadASN1(&signer, asn1.SEQUENCE) &&
		signer.SkipASN1(asn1.INTEGER) && signer.SkipASN1(asn1.SEQUENCE) &&
		signer.SkipASN1(asn1.SEQUENCE) && signer.SkipASN1(asn1.SEQUENCE) &&
		signer.ReadASN1(&sig, asn1.OCTET_STRING)
	return content, sig, ok
}
