package intake

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/iap"
	"revalidator/internal/receipt"
)

// markReceipt is the mark of a receipt's signature, or a rejection where only
// verified ones are wanted.
func (c Config) markReceipt(info receipt.Info) (string, *rejection) {
	if c.Verifier == nil {
		return "", nil
	}
	return c.mark(c.Verifier.ReceiptInfo(context.Background(), info))
}

// mark is what becomes of a verifier's error. What may be verified later is kept.
func (c Config) mark(err error) (string, *rejection) {
	if err == nil {
		return iap.SignatureVerified, nil
	}
	unverified, ok := errors.AsType[*pki.Error](err)
	if !ok {
		unverified = pki.Errorf(pki.ReasonMalformed, "%v", err)
	}
	if c.RefuseUnverified && !unverified.Retryable() {
		return "", refuse(ReasonNotVerified, "%v: REVALIDATOR_REFUSE_UNVERIFIED lets only verified receipts in", err)
	}
	return string(unverified.Reason), nil
}

// readSigned verifies a signed transaction at once. One that is disproved is refused:
// there is nobody to ask who could contradict.
func (c Config) readSigned(r row) (iap.Receipt, *rejection) {
	if c.Verifier == nil {
		return iap.Receipt{}, refuse(ReasonNotVerified, "signed transactions cannot be verified here")
	}
	jws := string(r.receipt)
	if r.isJSON && json.Unmarshal(r.receipt, &jws) != nil {
		return iap.Receipt{}, refuse(ReasonBadField, "signed_transaction is not a text")
	}
	jws = strings.TrimSpace(jws)
	facts, err := c.Verifier.SignedTransaction(context.Background(), jws, *r.bundleID)
	switch reason := pki.ReasonOf(err); {
	case reason == pki.ReasonMalformed:
		return iap.Receipt{}, refuse(ReasonMalformed, "%v", err)
	case reason == pki.ReasonWrongApp:
		return iap.Receipt{}, refuse(ReasonWrongApp, "%v: correct bundle_id", err)
	case errors.Is(err, pki.ErrDisproved):
		return iap.Receipt{}, refuse(ReasonNotVerified, "%v", err)
	}
	mark, refused := c.mark(err)
	result := iap.Receipt{
		BundleID: *r.bundleID, CustomerRef: *r.customerRef, Kind: iap.KindSignedTransaction, Data: []byte(jws), Signature: mark,
	}
	if err == nil {
		result.Environment, result.Facts = facts.Environment, &facts
	}
	return result, refused
}
