package applesim

import (
	"fmt"
	"iter"
	"strconv"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Receipt is the receipt that an app's backend would have of a customer.
type Receipt struct {
	BundleID    string
	CustomerRef string
	Environment string
	Style       Style
	// Data is the DER of a PKCS#7 container, or the property list of a
	// transaction receipt: what the app sends in base64.
	Data []byte
}

// Receipts makes the receipts of every customer, in the order of their numbers:
// first that of Receipt, then further ones. Each costs a signature when it is
// yielded. An error ends the iteration.
func (s *Server) Receipts() iter.Seq2[Receipt, error] {
	return func(yield func(Receipt, error) bool) {
		for i := range s.population.size() {
			for _, k := range s.population.customer(i, 0).receipts() {
				r, err := s.receipt(i, k)
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// Receipt is the receipt of the customer with the number, as it was when the
// app last sent it: stories come first, then the random customers.
func (s *Server) Receipt(customer int) (Receipt, error) {
	if customer < 0 || customer >= s.population.size() {
		return Receipt{}, fmt.Errorf("receipt of customer %d: there are %d", customer, s.population.size())
	}
	return s.receipt(customer, s.population.customer(customer, 0).receipts()[0])
}

func (s *Server) receipt(customer int, k held) (Receipt, error) {
	c := s.population.customer(customer, k.created)
	data, err := s.receiptBytes(c, k.style, k.created)
	if err != nil {
		return Receipt{}, fmt.Errorf("receipt of customer %d: %w", customer, err)
	}
	return Receipt{c.app.BundleID, c.ref(), c.environment(), k.style, data}, nil
}

// receiptBytes is the customer's receipt as made at the moment.
func (s *Server) receiptBytes(c *customer, style Style, created millis) ([]byte, error) {
	if style == StyleTransaction {
		return s.transactionReceipt(c, c.onlyTransaction(created))
	}
	payload, err := s.receiptPayload(c, created)
	if err != nil {
		return nil, err
	}
	return s.authority.container(payload)
}

// receiptPayload is the ASN.1 SET OF attributes. Its order is not by type, and
// that of the purchases is not by date: so it is with real receipts.
func (s *Server) receiptPayload(c *customer, created millis) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
		s.appAttributes(b, c, created)
		for _, t := range shuffled(c.transactions(created), s.cfg.Seed, c.index) {
			addAttribute(b, 17, 1, func(b *cryptobyte.Builder) { t.attributes(b, created) })
		}
	})
	return b.Bytes()
}

func (s *Server) appAttributes(b *cryptobyte.Builder, c *customer, created millis) {
	app := c.details()
	opaque := s.identity.hide(c.index)
	blobs := newRandom(s.cfg.Seed, c.index, streamBlobs)
	blob := func(n int) []byte {
		bytes := make([]byte, n)
		for i := range bytes {
			bytes[i] = byte(blobs.Uint32())
		}
		return bytes
	}
	addDate(b, 8, created)
	addText(b, 20, asn1.UTF8String, "")
	addInt(b, 1, app.number)
	addText(b, 3, asn1.UTF8String, app.version)
	addInt(b, 11, 1_975_459)
	addInt(b, 15, app.downloadID)
	addInt(b, 16, app.versionID)
	addInt(b, 25, 3)
	addText(b, 10, asn1.IA5String, "4+")
	addInt(b, 14, 162)
	addInt(b, 13, 140_000)
	addText(b, 19, asn1.UTF8String, app.originalVersion)
	addInt(b, 9, 0x50323535)
	addRaw(b, 4, 2, opaque[:])
	addText(b, 0, asn1.UTF8String, app.receiptType)
	addRaw(b, 5, 1, blob(20))
	addDate(b, 12, created)
	addDate(b, 18, app.originalPurchase)
	addText(b, 2, asn1.UTF8String, c.app.BundleID)
	addRaw(b, 7, 1, blob(66))
	addRaw(b, 6, 1, blob(79))
}

// attributes writes the SET of one in-app purchase. Numbers 1709, 1710 and
// 1714 to 1718 have no known meaning and are what real receipts hold there.
func (t *transaction) attributes(b *cryptobyte.Builder, now millis) {
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
		addText(b, 1709, asn1.UTF8String, "")
		addDate(b, 1712, t.cancellation(now))
		for number := int64(1714); number <= 1718; number++ {
			addText(b, number, asn1.UTF8String, "")
		}
		addInt(b, 1701, 1)
		addInt(b, 1707, int64(t.product.kind))
		addInt(b, 1710, 0)
		addInt(b, 1713, bit(t.trial))
		if t.product.kind == autoRenewable {
			addInt(b, 1719, bit(t.intro))
		}
		addInt(b, 1711, t.webOrderLineItemID)
		addText(b, 1703, asn1.UTF8String, digits(t.id))
		addText(b, 1705, asn1.UTF8String, digits(t.originalID))
		addDate(b, 1704, t.bought)
		addDate(b, 1706, t.originallyBought)
		addDate(b, 1708, t.expiry(now))
		addText(b, 1702, asn1.UTF8String, t.product.id)
	})
}

func bit(set bool) int64 {
	if set {
		return 1
	}
	return 0
}

func addAttribute(b *cryptobyte.Builder, number, version int64, value cryptobyte.BuilderContinuation) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(number)
		b.AddASN1Int64(version)
		b.AddASN1(asn1.OCTET_STRING, value)
	})
}

func addRaw(b *cryptobyte.Builder, number, version int64, value []byte) {
	addAttribute(b, number, version, func(b *cryptobyte.Builder) { b.AddBytes(value) })
}

func addInt(b *cryptobyte.Builder, number, value int64) {
	addAttribute(b, number, 1, func(b *cryptobyte.Builder) { b.AddASN1Int64(value) })
}

func addText(b *cryptobyte.Builder, number int64, tag asn1.Tag, value string) {
	addAttribute(b, number, 1, func(b *cryptobyte.Builder) {
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
	})
}

// addDate writes a date; one that is absent is an empty string, as in every
// real receipt.
func addDate(b *cryptobyte.Builder, number int64, m millis) {
	var text string
	if m != 0 {
		text = m.time().Format(time.RFC3339)
	}
	addText(b, number, asn1.IA5String, text)
}

// details is what a receipt says about the app besides its bundle id.
type details struct {
	receiptType              string
	number, downloadID       int64
	versionID                int64
	version, originalVersion string
	originalPurchase         millis
}

// details follows Apple: a receipt of the sandbox knows no numbers, and says
// that the app was first bought on a day in 2013.
func (c *customer) details() details {
	if c.sandbox {
		return details{
			receiptType: "ProductionSandbox", version: "120", originalVersion: "1.0",
			originalPurchase: at(time.Date(2013, 8, 1, 7, 0, 0, 0, time.UTC)),
		}
	}
	return details{
		receiptType: "Production", number: c.app.number,
		// Beyond 2^53, so that nobody reads it as a float.
		downloadID: 500_000_000_000_000_000 + int64(c.index)*7919,
		versionID:  850_000_000 + int64(c.app.number%1000),
		version:    "120", originalVersion: strconv.Itoa(1 + c.index%120),
		originalPurchase: c.installed,
	}
}

// shuffled puts the transactions into an order that means nothing, the same at
// each call.
func shuffled(all []*transaction, seed uint64, customer int) []*transaction {
	newRandom(seed, customer, streamOrder).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}
