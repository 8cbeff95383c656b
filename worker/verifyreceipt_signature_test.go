package worker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/appstore/pki"
	"revalidator/internal/iap"
)

// TestRefusedWithSignature judges what Apple refuses by who signed it.
func TestRefusedWithSignature(t *testing.T) {
	t.Parallel()
	disproved, undetermined := error(pki.Errorf(pki.ReasonBadSignature, "")), error(pki.Errorf(pki.ReasonUnknownRoot, ""))
	for name, test := range map[string]struct {
		refused   error
		signature error
		accepted  bool
		class     string
		verdict   iap.ReceiptState
		disagrees bool
	}{
		"21002, signed by Apple":              {refused: status(21002), class: "refused_genuine"},
		"21003, signed by Apple":              {refused: status(21003), class: "refused_genuine"},
		"21003, signed, accepted before":      {refused: status(21003), accepted: true, class: "refused_genuine"},
		"21002, disproved":                    {refused: status(21002), signature: disproved, class: "forged", verdict: iap.ReceiptForged},
		"21003, disproved":                    {refused: status(21003), signature: disproved, class: "forged", verdict: iap.ReceiptForged},
		"21002, disproved, accepted before":   {refused: status(21002), signature: disproved, accepted: true, class: "receipt_malformed", disagrees: true},
		"21003, disproved, accepted before":   {refused: status(21003), signature: disproved, accepted: true, class: "receipt_not_authenticated", disagrees: true},
		"21002, undetermined":                 {refused: status(21002), signature: undetermined, class: "receipt_malformed"},
		"21003, undetermined, accepted":       {refused: status(21003), signature: undetermined, accepted: true, class: "receipt_not_authenticated"},
		"21005, disproved":                    {refused: status(21005), signature: disproved, class: "apple_unavailable"},
		"21010, disproved":                    {refused: status(21010), signature: disproved, class: "account_gone"},
		"accepted by Apple, whoever signs it": {signature: disproved},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var verified []byte
			p := newParts(t, func(c *Config) {
				c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
					if test.refused == nil {
						return accepted(), nil
					}
					return appstore.Answer{Environment: iap.Production, Calls: 1}, test.refused
				})
				c.Signature = func(_ context.Context, data []byte) error {
					verified = data
					return test.signature
				}
			})
			if test.accepted {
				p.store.receipt.AcceptedAt = noon.Add(-24 * time.Hour)
			}
			o := p.mustHandle(t)
			if o.Failure != test.class {
				t.Errorf("class %q, want %q", o.Failure, test.class)
			}
			if got := o.Verdict; (got != nil) != (test.verdict != "") || got != nil && got.State != test.verdict {
				t.Errorf("verdict %+v, want %q", got, test.verdict)
			}
			if got := len(p.log.at(slog.LevelError)) > 0; got != test.disagrees {
				t.Errorf("disagreement in the log: %t, want %t", got, test.disagrees)
			}
			if verified != nil && string(verified) != "rrrrrr" {
				t.Errorf("verified %q, want the receipt", verified)
			}
			if room := p.memory; !room.grown.TryAcquire(room.grownBytes) {
				t.Error("the memory for the receipt was not given back")
			}
		})
	}
}

// TestSignatureWithoutMemory leaves a receipt to the table of repeats that is larger
// than the budget.
func TestSignatureWithoutMemory(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) {
		c.MemoryBytes = 4 << 20
		c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
			return appstore.Answer{Environment: iap.Production, Calls: 1}, status(21002)
		})
		c.Signature = func(context.Context, []byte) error { t.Error("a receipt was read that has no room"); return nil }
	})
	p.store.receipt.ByteSize = 2 << 20
	if o := p.mustHandle(t); o.Failure != "receipt_malformed" {
		t.Errorf("class %q, want that of the code", o.Failure)
	}
}
