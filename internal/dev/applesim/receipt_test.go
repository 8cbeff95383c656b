package applesim

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/smallstep/pkcs7"
	"howett.net/plist"
)

// attribute is a ReceiptAttribute as encoding/asn1 reads it: another encoder
// than the one under test.
type attribute struct {
	Type, Version int
	Value         []byte
}

func attributesOf(t *testing.T, set []byte) map[int][][]byte {
	t.Helper()
	var list []attribute
	if rest, err := asn1.UnmarshalWithParams(set, &list, "set"); err != nil || len(rest) > 0 {
		t.Fatalf("attributes: %v, %d bytes left", err, len(rest))
	}
	byType := make(map[int][][]byte)
	for _, a := range list {
		byType[a.Type] = append(byType[a.Type], a.Value)
	}
	return byType
}

func text(t *testing.T, value []byte) string {
	t.Helper()
	var s string
	if _, err := asn1.Unmarshal(value, &s); err != nil {
		t.Fatalf("text %x: %v", value, err)
	}
	return s
}

func receiptOf(t *testing.T, s *Server, customer int) Receipt {
	t.Helper()
	r, err := s.Receipt(customer)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReceiptIsSignedUnderTheRoot(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{{BundleID: reader, Bought: start.AddDate(0, -3, 0), Period: Monthly}}})
	p7, err := pkcs7.Parse(receiptOf(t, s, 0).Data)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Root())
	if err := p7.VerifyWithChainAtTime(roots, start); err != nil {
		t.Errorf("signature or chain: %v", err)
	}
	if got := len(p7.Signers[0].AuthenticatedAttributes); got != 0 {
		t.Errorf("signed attributes: got %d, want none as in Apple's receipts", got)
	}
	markers := []asn1.ObjectIdentifier{{1, 2, 840, 113635, 100, 6, 11, 1}, {1, 2, 840, 113635, 100, 6, 2, 1}}
	for i, marker := range markers {
		if !slices.ContainsFunc(p7.Certificates[i].Extensions, func(e pkix.Extension) bool { return e.Id.Equal(marker) }) {
			t.Errorf("certificate %d: marker %v is missing", i, marker)
		}
	}
	p7.Content[len(p7.Content)-1] ^= 1
	if p7.Verify() == nil {
		t.Error("changed payload: verifies")
	}
}

func TestReceiptAttributes(t *testing.T) {
	t.Parallel()
	created := start.AddDate(0, 0, -1)
	s := newSim(t, Config{Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, -3, -2), Period: Monthly, Acts: []Act{ActRefund}, PadRecords: 1, ReceiptCreated: created},
	}})
	p7, err := pkcs7.Parse(receiptOf(t, s, 0).Data)
	if err != nil {
		t.Fatal(err)
	}
	app := attributesOf(t, p7.Content)
	for _, want := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 25} {
		if len(app[want]) == 0 {
			t.Errorf("attribute %d is missing", want)
		}
	}
	got := []string{text(t, app[0][0]), text(t, app[2][0]), text(t, app[12][0])}
	if diff := cmp.Diff([]string{"Production", reader, created.Format(time.RFC3339)}, got); diff != "" {
		t.Errorf("type, bundle id and creation (-want +got):\n%s", diff)
	}
	expiries := make(map[string]string)
	for _, record := range app[17] {
		fields := attributesOf(t, record)
		for number := 1701; number <= 1718; number++ {
			if len(fields[number]) != 1 {
				t.Errorf("in-app attribute %d: got %d, want 1", number, len(fields[number]))
			}
		}
		expiries[text(t, fields[1702][0])] = text(t, fields[1708][0]) + " " + text(t, fields[1712][0])
	}
	c := s.population.customer(0, at(created))
	refunded := c.chains[0].transactions[0]
	want := map[string]string{
		reader + ".plus.monthly": refunded.expires.time().Format(time.RFC3339) + " " + refunded.cancelled.time().Format(time.RFC3339),
		reader + ".coins":        " ", // absent dates are empty texts
	}
	if diff := cmp.Diff(want, expiries); diff != "" {
		t.Errorf("expiry and cancellation by product (-want +got):\n%s", diff)
	}
}

func TestReceiptSizes(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{
		{BundleID: reader, ReceiptCreated: start},
		{BundleID: reader, Bought: start.AddDate(-2, 0, 0), Period: Weekly, ReceiptCreated: start},
		{BundleID: reader, Bought: start.AddDate(-2, 0, 0), PadRecords: 6000},
	}})
	empty, weekly, large := len(receiptOf(t, s, 0).Data), len(receiptOf(t, s, 1).Data), len(receiptOf(t, s, 2).Data)
	if empty < 3500 || empty > 5000 {
		t.Errorf("receipt without purchases: got %d bytes, want about 4,300", empty)
	}
	records := len(s.population.customer(1, at(start)).chains[0].transactions)
	if per := (weekly - empty) / records; per < 361 || per > 458 {
		t.Errorf("record of a subscription: got %d bytes, want about 394", per)
	}
	if large < 2_000_000 {
		t.Errorf("receipt with 6,000 records: got %d bytes, want over 2 MB", large)
	}
}

func TestTransactionReceipt(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{
		{BundleID: fitness, Bought: start.AddDate(0, 0, -10), Period: Monthly, Style: StyleTransaction, Environment: Sandbox},
	}})
	var outer, info map[string]string
	if _, err := plist.Unmarshal(receiptOf(t, s, 0).Data, &outer); err != nil {
		t.Fatal(err)
	}
	plain, err := base64.StdEncoding.DecodeString(outer["purchase-info"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plist.Unmarshal(plain, &info); err != nil {
		t.Fatal(err)
	}
	got := []string{outer["environment"], outer["pod"], outer["signing-status"], info["bid"], info["product-id"], info["expires-date"]}
	want := []string{"Sandbox", "100", "0", fitness, fitness + ".plus.monthly", digits(int64(at(start.AddDate(0, 0, -10)) + 5*minute))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("property list (-want +got):\n%s", diff)
	}
	signature, err := base64.StdEncoding.DecodeString(outer["signature"])
	if err != nil || !bytes.HasSuffix(signature, s.authority.leaf.Raw) {
		t.Errorf("signature: does not end in the leaf certificate: %v", err)
	}
}

// TestSameSeedSameBytes builds the simulator twice, as a restart does.
func TestSameSeedSameBytes(t *testing.T) {
	t.Parallel()
	cfg := Config{Seed: 11, Customers: 40}
	var first, second bytes.Buffer
	for s, out := range map[*Server]*bytes.Buffer{newSim(t, cfg): &first, newSim(t, cfg): &second} {
		if err := s.WriteReceipts(out, ""); err != nil {
			t.Fatal(err)
		}
		for truth := range s.Truth() {
			if err := json.NewEncoder(out).Encode(truth); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("same seed: receipts or truth differ")
	}
	cfg.Seed = 12
	other := newSim(t, cfg)
	if bytes.Equal(receiptOf(t, other, 0).Data, receiptOf(t, newSim(t, Config{Seed: 11, Customers: 40}), 0).Data) {
		t.Error("another seed: same receipt")
	}
}

func FuzzRecognise(f *testing.F) {
	s := newSim(f, Config{Stories: []Story{
		{BundleID: reader, Bought: start.AddDate(0, -1, 0), Period: Monthly},
		{BundleID: reader, Bought: start.AddDate(0, -1, 0), Period: Monthly, Style: StyleTransaction},
	}})
	genuine := make(map[claim]bool)
	for i := range 2 {
		r, err := s.Receipt(i)
		if err != nil {
			f.Fatal(err)
		}
		known, ok := s.recognise(r.Data)
		if !ok || known.customer != i {
			f.Fatalf("receipt of customer %d: recognised %v as of customer %d", i, ok, known.customer)
		}
		genuine[known] = true
		f.Add(r.Data)
		f.Add(r.Data[:len(r.Data)/2])
	}
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if known, ok := s.recognise(data); ok && !genuine[known] {
			t.Errorf("recognised %+v, which was never signed", known)
		}
	})
}
