package applesim

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// A transaction receipt of iOS 6 is a NeXT-style property list that holds
// another one in base64, of one purchase.

// signatureVersion is that of signatures of 256 bytes.
const signatureVersion = 3

// onlyTransaction is the purchase that a transaction receipt made at the
// moment is of.
func (c *customer) onlyTransaction(created millis) *transaction {
	if len(c.chains) == 0 {
		return &c.purchases[0]
	}
	return c.chains[0].current(created)
}

func (s *Server) transactionReceipt(c *customer, t *transaction) ([]byte, error) {
	info := s.purchaseInfo(c, t)
	signature, err := s.authority.signSHA1(append([]byte{signatureVersion}, info...))
	if err != nil {
		return nil, err
	}
	blob := append([]byte{signatureVersion}, signature...)
	blob = binary.BigEndian.AppendUint32(blob, uint32(len(s.authority.leaf.Raw)))
	blob = append(blob, s.authority.leaf.Raw...)

	var b strings.Builder
	b.WriteString("{\n")
	entry(&b, "signature", base64.StdEncoding.EncodeToString(blob))
	entry(&b, "purchase-info", base64.StdEncoding.EncodeToString(info))
	pod := "2"
	if c.sandbox {
		entry(&b, "environment", Sandbox)
		pod = "100"
	}
	entry(&b, "pod", pod)
	entry(&b, "signing-status", "0")
	b.WriteString("}")
	return []byte(b.String()), nil
}

func entry(b *strings.Builder, key, value string) {
	b.WriteString("\t\"" + key + "\" = \"" + value + "\";\n")
}

func (s *Server) purchaseInfo(c *customer, t *transaction) []byte {
	var b strings.Builder
	b.WriteString("{\n")
	for _, f := range s.fields(c, t) {
		entry(&b, strings.ReplaceAll(f.key, "_", "-"), f.value)
	}
	b.WriteString("}")
	return []byte(b.String())
}

// field is one field of a purchase in the style of iOS 6, in which all values
// are strings and the keys are joined by hyphens in the receipt and by
// underscores in the reply.
type field struct{ key, value string }

func (s *Server) fields(c *customer, t *transaction) []field {
	opaque := s.identity.hide(c.index)
	device := hex.EncodeToString(opaque[:]) + "00000000"
	all := []field{
		{"original_purchase_date_pst", s.pacificText(t.originallyBought)},
		{"unique_identifier", device},
		{"original_transaction_id", digits(t.originalID)},
		{"bvrs", "120"},
		{"transaction_id", digits(t.id)},
		{"quantity", "1"},
		{"product_id", t.product.id},
		{"item_id", strconv.FormatInt(c.app.number+1000, 10)},
		{"bid", c.app.BundleID},
		{"is_trial_period", strconv.FormatBool(t.trial)},
		{"is_in_intro_offer_period", strconv.FormatBool(t.intro)},
		{"purchase_date_ms", digits(int64(t.bought))},
		{"purchase_date", utcText(t.bought)},
		{"purchase_date_pst", s.pacificText(t.bought)},
		{"original_purchase_date", utcText(t.originallyBought)},
		{"original_purchase_date_ms", digits(int64(t.originallyBought))},
	}
	if !c.sandbox {
		all = append(all, field{"app_item_id", strconv.FormatInt(c.app.number, 10)},
			field{"version_external_identifier", strconv.FormatInt(c.details().versionID, 10)})
	}
	if t.expires != 0 {
		all = append(all,
			field{"web_order_line_item_id", digits(t.webOrderLineItemID)},
			field{"expires_date", digits(int64(t.expires))},
			field{"expires_date_formatted", utcText(t.expires)},
			field{"expires_date_formatted_pst", s.pacificText(t.expires)})
	}
	return all
}

func utcText(m millis) string { return m.time().Format(dateLayout) + utcName }

func (s *Server) pacificText(m millis) string {
	return m.time().In(s.pacific).Format(dateLayout) + pacificName
}

func (s *Server) recogniseTransaction(data []byte) (claim, bool) {
	info, ok := readEntry(data, "purchase-info")
	blob, signed := readEntry(data, "signature")
	if !ok || !signed {
		return claim{}, false
	}
	plain, err := base64.StdEncoding.DecodeString(info)
	if err != nil {
		return claim{}, false
	}
	signature, err := base64.StdEncoding.DecodeString(blob)
	if err != nil || len(signature) < 1+keyBits/8 || signature[0] != signatureVersion ||
		!s.authority.verifySHA1(append([]byte{signatureVersion}, plain...), signature[1:1+keyBits/8]) {
		return claim{}, false
	}
	device, _ := readEntry(plain, "unique-identifier")
	id, _ := readEntry(plain, "transaction-id")
	known := claim{style: StyleTransaction}
	known.customer, ok = s.identity.revealHex(device)
	known.id, err = strconv.ParseInt(id, 10, 64)
	return known, ok && err == nil
}

// readEntry finds a value in a property list of one level.
func readEntry(list []byte, key string) (string, bool) {
	_, rest, ok := bytes.Cut(list, []byte(`"`+key+`" = "`))
	if !ok {
		return "", false
	}
	value, _, ok := bytes.Cut(rest, []byte(`"`))
	return string(value), ok
}
