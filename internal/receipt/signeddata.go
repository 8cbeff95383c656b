package receipt

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"hash"

	"revalidator/internal/appstore/pki"
)

// Bounds of what is read besides the content. Apple's receipts have three
// certificates of 1 to 1.5 KB, one signer and no signed attributes.
const (
	maxCertificates     = 10
	maxCertificateBytes = 8 << 10
	maxAttributes       = 16
	maxAttributeBytes   = 8 << 10
	maxSerialBytes      = 32
)

// Tags of SignedData.
const (
	tagNull      = 0x05
	tagExplicit1 = 0xa1
)

// The object identifiers of PKCS#7, encoded.
const (
	oidData          = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
	oidContentType   = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03"
	oidMessageDigest = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04"
	oidSHA1          = "\x2b\x0e\x03\x02\x1a"
	oidSHA256        = "\x60\x86\x48\x01\x65\x03\x04\x02\x01"
	oidRSA           = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
	oidSHA1RSA       = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"
	oidSHA256RSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"
)

// signedDataParts are the parts of a container that its signature is about. They
// share memory with it.
type signedDataParts struct {
	content      element // the OCTET STRING
	certificates []byte
	signer       signer
}

// signer is the one SignerInfo.
type signer struct {
	issuer, serial []byte // issuer with its header, as certificates have it
	hash           crypto.Hash
	// attributes are the signed attributes with their header, nil for none, and
	// digest is the one among them.
	attributes, digest []byte
	signature          []byte
}

// readSignedData takes a container apart:
//
//	SignedData ::= SEQUENCE { version, digestAlgorithms SET, ContentInfo,
//	                          certificates [0], crls [1], signerInfos SET }
//
// https://www.rfc-editor.org/rfc/rfc2315#section-9.1
func readSignedData(container []byte) (p signedDataParts, err error) {
	body, err := contentOf(container)
	if err != nil {
		return p, err
	}
	fields, _, err := expect(body, tagSequence)
	if err != nil {
		return p, err
	}
	if _, fields, err = expect(fields, tagInteger); err != nil {
		return p, err
	}
	if _, fields, err = expect(fields, tagSet); err != nil {
		return p, err
	}
	info, fields, err := expect(fields, tagSequence)
	if err != nil {
		return p, err
	}
	if p.content, err = readContent(info); err != nil {
		return p, err
	}
	e, fields, err := next(fields)
	if err == nil && e.tag == tagExplicit0 {
		p.certificates = e.body
		e, fields, err = next(fields)
	}
	if err == nil && e.tag == tagExplicit1 { // revoked certificates, which no receipt has
		e, fields, err = next(fields)
	}
	if err == nil && (e.tag != tagSet || len(fields) > 0) {
		err = errTag
	}
	if err != nil {
		return p, err
	}
	p.signer, err = readSigners(e.body)
	return p, err
}

// readContent reads the ContentInfo of the receipt's own bytes.
func readContent(info []byte) (element, error) {
	oid, rest, err := expect(info, tagOID)
	if err != nil {
		return element{}, err
	}
	if string(oid) != oidData {
		return element{}, errTag
	}
	content, _, err := expect(rest, tagExplicit0)
	if err != nil {
		return element{}, err
	}
	e, _, err := next(content)
	return e, err
}

// readCertificates parses the certificates. One that cannot be read is left out:
// it is missed if it is needed.
func (p signedDataParts) readCertificates() ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest, n := p.certificates, 0; len(rest) > 0; n++ {
		_, after, err := next(rest)
		if err != nil {
			return nil, err
		}
		raw := rest[:len(rest)-len(after)]
		rest = after
		if n == maxCertificates || len(raw) > maxCertificateBytes {
			return nil, pki.Errorf(pki.ReasonTooLarge, "more than %d certificates, or one of more than %d bytes", maxCertificates, maxCertificateBytes)
		}
		if c, err := x509.ParseCertificate(raw); err == nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// readSigners reads the only signer.
func readSigners(set []byte) (signer, error) {
	if len(set) == 0 {
		return signer{}, pki.Errorf(pki.ReasonUnsigned, "")
	}
	body, rest, err := expect(set, tagSequence)
	if err != nil {
		return signer{}, err
	}
	if len(rest) > 0 {
		return signer{}, pki.Errorf(pki.ReasonSigners, "")
	}
	return readSigner(body)
}

// readSigner reads a SignerInfo:
//
//	SEQUENCE { version, SEQUENCE { issuer, serialNumber }, digestAlgorithm,
//	           signedAttributes [0], signatureAlgorithm, signature, [1] }
func readSigner(body []byte) (s signer, err error) {
	if _, body, err = expect(body, tagInteger); err != nil {
		return s, err
	}
	id, body, err := expect(body, tagSequence)
	if err != nil {
		return s, err
	}
	if _, s.serial, err = expect(id, tagSequence); err != nil {
		return s, err
	}
	s.issuer = id[:len(id)-len(s.serial)]
	if s.serial, _, err = expect(s.serial, tagInteger); err != nil {
		return s, err
	}
	if len(s.serial) > maxSerialBytes {
		return s, pki.Errorf(pki.ReasonTooLarge, "the signer's serial number")
	}
	digestAlgorithm, body, err := readAlgorithm(body)
	if err != nil {
		return s, err
	}
	if e, after, err := next(body); err == nil && e.tag == tagExplicit0 {
		s.attributes = body[:len(body)-len(after)]
		if s.digest, err = readSignedAttributes(s.attributes, e.body); err != nil {
			return s, err
		}
		body = after
	}
	signatureAlgorithm, body, err := readAlgorithm(body)
	if err != nil {
		return s, err
	}
	if s.hash, err = hashOf(digestAlgorithm, signatureAlgorithm); err != nil {
		return s, err
	}
	s.signature, _, err = expect(body, tagOctetString)
	return s, err
}

// readAlgorithm reads an identifier whose parameters are absent or NULL, as they
// are of every algorithm here.
func readAlgorithm(b []byte) (oid string, rest []byte, err error) {
	body, rest, err := expect(b, tagSequence)
	if err != nil {
		return "", nil, err
	}
	id, parameters, err := expect(body, tagOID)
	if err != nil {
		return "", nil, err
	}
	if len(parameters) > 0 && !bytes.Equal(parameters, []byte{tagNull, 0}) {
		return "", nil, pki.Errorf(pki.ReasonUnknownAlgorithm, "with parameters")
	}
	return string(id), rest, nil
}

// hashOf is the hash of a signature. The algorithm of the signature may name it
// once more, and then must name the same.
func hashOf(digest, signature string) (crypto.Hash, error) {
	switch {
	case digest == oidSHA1 && (signature == oidRSA || signature == oidSHA1RSA):
		return crypto.SHA1, nil
	case digest == oidSHA256 && (signature == oidRSA || signature == oidSHA256RSA):
		return crypto.SHA256, nil
	}
	return 0, pki.Errorf(pki.ReasonUnknownAlgorithm, "neither RSA with SHA-1 nor with SHA-256")
}

// readSignedAttributes finds the digest of the content. It and the type of the
// content must be there once each, or the signature says nothing of the content.
func readSignedAttributes(raw, body []byte) (digest []byte, err error) {
	if raw[1] == 0x80 { // signed is the encoding with a length
		return nil, errLength
	}
	if len(raw) > maxAttributeBytes {
		return nil, pki.Errorf(pki.ReasonTooLarge, "signed attributes of %d bytes, may be %d", len(raw), maxAttributeBytes)
	}
	var contentType []byte
	for n := 0; len(body) > 0; n++ {
		if n == maxAttributes {
			return nil, pki.Errorf(pki.ReasonTooLarge, "more than %d signed attributes", maxAttributes)
		}
		var attribute []byte
		if attribute, body, err = expect(body, tagSequence); err != nil {
			return nil, err
		}
		switch oid, value, err := readSignedAttribute(attribute); {
		case err != nil:
			return nil, err
		case oid == oidContentType && contentType == nil && value.tag == tagOID:
			contentType = value.body
		case oid == oidMessageDigest && digest == nil && value.tag == tagOctetString:
			digest = value.body
		case oid == oidContentType, oid == oidMessageDigest:
			return nil, errTag
		}
	}
	if string(contentType) != oidData || len(digest) == 0 {
		return nil, pki.Errorf(pki.ReasonDigest, "the signed attributes are not of a content")
	}
	return digest, nil
}

func readSignedAttribute(attribute []byte) (oid string, value element, err error) {
	id, rest, err := expect(attribute, tagOID)
	if err != nil {
		return "", element{}, err
	}
	values, _, err := expect(rest, tagSet)
	if err != nil {
		return "", element{}, err
	}
	value, rest, err = next(values)
	if err == nil && len(rest) > 0 && (string(id) == oidContentType || string(id) == oidMessageDigest) {
		err = errTag
	}
	return string(id), value, err
}

// hashOctets hashes an OCTET STRING where it is, piece by piece if BER cuts it.
func hashOctets(h hash.Hash, e element, depth int) error {
	switch {
	case e.tag == tagOctetString:
		h.Write(e.body)
		return nil
	case e.tag != tagOctetString|constructed:
		return errTag
	case depth == maxDepth:
		return errTooDeep
	}
	for rest := e.body; len(rest) > 0; {
		piece, after, err := next(rest)
		if err != nil {
			return err
		}
		if err := hashOctets(h, piece, depth+1); err != nil {
			return err
		}
		rest = after
	}
	return nil
}
