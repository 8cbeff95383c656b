package applesim

import (
	"bytes"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// claim is whose receipt it is and which one of that customer's.
type claim struct {
	customer int
	created  millis // of an app receipt; of a transaction receipt once it is known whose
	id       int64  // of the purchase in a transaction receipt
	style    Style
}

// recognise reads just enough of a receipt to tell whose it is. It is false
// for anything that this authority did not sign.
func (s *Server) recognise(data []byte) (claim, bool) {
	var c claim
	var ok bool
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		c, ok = s.recogniseTransaction(data)
	} else {
		c, ok = s.recogniseApp(data)
	}
	return c, ok && c.customer < s.population.size()
}

func (s *Server) recogniseApp(der []byte) (claim, bool) {
	payload, signature, ok := open(der)
	if !ok || !s.authority.verify(payload, signature) {
		return claim{}, false
	}
	set := cryptobyte.String(payload)
	var attributes cryptobyte.String
	if !set.ReadASN1(&attributes, asn1.SET) {
		return claim{}, false
	}
	known := claim{style: StyleApp}
	found := false
	// Purchases come last, so the loop is over long before them.
	for !attributes.Empty() && (!found || known.created == 0) {
		number, value, ok := readAttribute(&attributes)
		if !ok {
			return claim{}, false
		}
		switch number {
		case 4:
			known.customer, found = s.identity.reveal(value)
		case 12:
			known.created = readDate(value)
		}
	}
	return known, found && known.created != 0
}

func readAttribute(attributes *cryptobyte.String) (number int, value cryptobyte.String, ok bool) {
	var attribute cryptobyte.String
	ok = attributes.ReadASN1(&attribute, asn1.SEQUENCE) &&
		attribute.ReadASN1Integer(&number) && attribute.SkipASN1(asn1.INTEGER) &&
		attribute.ReadASN1(&value, asn1.OCTET_STRING)
	return number, value, ok
}

func readDate(value cryptobyte.String) millis {
	var text cryptobyte.String
	if !value.ReadASN1(&text, asn1.IA5String) {
		return 0
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return 0
	}
	return at(t)
}
