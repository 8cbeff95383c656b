package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"time"

	"revalidator/internal/appstore/signed"
	"revalidator/internal/dev/applesign"
	"revalidator/internal/dev/interop"
	"revalidator/internal/receipt"
)

// The targets of what is signed.
const (
	mostOverECDSA   = 1.5 // times a bare check of the signature
	leastUnderApple = 20  // times faster than Apple's library
	mostOverRSA     = 2   // of a small receipt, times the RSA signatures: its certificates are read each time
	mostOverHash    = 1.5 // of a large one, times its hash
)

// signatures measures what it costs to verify a transaction and a receipt.
func (b *bench) signatures(ctx context.Context) error {
	if err := b.transactions(ctx); err != nil {
		return err
	}
	a, err := applesign.NewRSA(applesign.Config{})
	if err != nil {
		return err
	}
	if err := b.receiptSignature(ctx, a, "8KB", 18, mostOverRSA); err != nil {
		return err
	}
	return b.receiptSignature(ctx, a, "5MB", 22_000, mostOverHash)
}

// transactions compares the verification of a signed transaction, whose chain is
// known, with the check of its signature alone and with Apple's library.
func (b *bench) transactions(ctx context.Context) error {
	a, err := applesign.NewEC(applesign.Config{})
	if err != nil {
		return err
	}
	jws, err := a.JWS(benchTransaction())
	if err != nil {
		return err
	}
	root := a.Certificates[applesign.Root]
	v, err := signed.New(signed.Config{Roots: []*x509.Certificate{root}})
	if err != nil {
		return err
	}
	app := signed.App{BundleID: appID, AppAppleID: benchAppleID}
	bare, err := bareES256(a, jws)
	if err != nil {
		return err
	}
	ours, base, err := sideBySide(b.size(2000), func() error {
		_, err := v.Transaction(ctx, jws, app)
		return err
	}, bare)
	if err != nil {
		return err
	}
	r := row{name: b.name("SignedTransaction"), what: "signed transaction, chain known; baseline: ECDSA alone", target: fmt.Sprintf("≤ %.2f×", mostOverECDSA)}
	b.table.add(r.cpu(ours, base, 100*time.Nanosecond, mostOverECDSA))
	return b.appleTransactions(ctx, interop.Request{
		Kind: string(signed.KindTransaction), JWS: jws, Root: root.Raw, Environment: "Production", BundleID: appID, AppAppleID: benchAppleID,
	}, ours)
}

// appleTransactions measures Apple's library, in Node, with the same transaction.
func (b *bench) appleTransactions(ctx context.Context, r interop.Request, ours time.Duration) error {
	r.Times = b.size(500)
	verdicts, err := interop.Judge(ctx, interop.Folder, []interop.Request{r, r}) // the first one warms up
	if errors.Is(err, interop.ErrNotInstalled) {
		say("  not compared with Apple's library: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	if !verdicts[1].Verified {
		return fmt.Errorf("verify the transaction with Apple's library: %s", verdicts[1].Status)
	}
	theirs := time.Duration(verdicts[1].Nanoseconds)
	faster := float64(theirs) / float64(ours)
	b.table.add(row{
		name: b.name("SignedTransactionApple"), what: "the same; baseline: Apple's library for Node",
		figure: figure{value: float64(ours), unit: unitTime, ratio: 1 / faster},
		ours:   ours.Round(100 * time.Nanosecond).String(), baseline: theirs.Round(time.Microsecond).String(),
		ratio: fmt.Sprintf("%.0f times faster", faster), target: fmt.Sprintf("≥ %d times", leastUnderApple), met: faster >= leastUnderApple,
	})
	return nil
}

// receiptSignature compares the verification of a receipt with the hash of its
// content and the check of its three signatures.
func (b *bench) receiptSignature(ctx context.Context, a *applesign.Authority, size string, records int, most float64) error {
	content := applesign.Content("Production", appID, time.Now().Add(-time.Hour), records)
	data, err := a.Receipt(content, applesign.Receipt{})
	if err != nil {
		return err
	}
	info, err := receipt.Read(data)
	if err != nil {
		return err
	}
	v, err := receipt.NewVerifier(receipt.VerifierConfig{Roots: []*x509.Certificate{a.Certificates[applesign.Root]}})
	if err != nil {
		return err
	}
	verify := func() error {
		_, err := v.Verify(ctx, info)
		return err
	}
	keys := a.Certificates
	ours, base, err := sideBySide(max(b.size(2000)*8<<10/len(data), 20), verify, func() error {
		sha256.Sum256(content)
		return errors.Join(
			keys[applesign.Root].CheckSignature(keys[applesign.Intermediate].SignatureAlgorithm, keys[applesign.Intermediate].RawTBSCertificate, keys[applesign.Intermediate].Signature),
			keys[applesign.Intermediate].CheckSignature(keys[applesign.Leaf].SignatureAlgorithm, keys[applesign.Leaf].RawTBSCertificate, keys[applesign.Leaf].Signature),
			bareRSA(keys[applesign.Leaf], keys[applesign.Leaf].Signature),
		)
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("signature of a receipt of %.1f KB", float64(len(data))/1000)
	r := row{name: b.name("ReceiptSignature" + size), what: what + "; baseline: hash and RSA alone", target: fmt.Sprintf("≤ %.2f×", most)}
	b.table.add(r.cpu(ours, base, time.Microsecond, most))
	used, err := allocated(verify)
	if err != nil {
		return err
	}
	b.table.add(row{
		name: b.name("ReceiptSignature" + size + "Memory"), what: what + ", memory", figure: figure{value: float64(used), unit: unitMemory},
		ours: kib(used), ratio: kib(used), target: "≤ " + kib(receipt.VerifyBytes), met: used <= receipt.VerifyBytes,
	})
	return nil
}

// bareRSA does the work of a check, of whatever.
func bareRSA(c *x509.Certificate, signature []byte) error {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return errors.New("the leaf has no RSA key")
	}
	var sum [sha256.Size]byte
	_ = rsa.VerifyPKCS1v15(key, 0, sum[:], signature) // of something else, at the same price
	return nil
}

// bareES256 checks the signature of a JWS and nothing else.
func bareES256(a *applesign.Authority, jws string) (func() error, error) {
	key, ok := a.Certificates[applesign.Leaf].PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the leaf has no ECDSA key")
	}
	end := strings.LastIndexByte(jws, '.')
	signature, err := base64.RawURLEncoding.DecodeString(jws[end+1:])
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(jws[:end]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return func() error {
		if !ecdsa.Verify(key, sum[:], r, s) {
			return errors.New("the signature is not good")
		}
		return nil
	}, nil
}

// sideBySide measures two functions in turns, so that what slows the machine for
// a while slows both. Of each the median turn counts.
func sideBySide(n int, first, second func() error) (a, b time.Duration, err error) {
	const turns = 20
	var took [2][]time.Duration
	each := max(n/turns, 1)
	for range turns {
		for i, f := range []func() error{first, second} {
			started := time.Now()
			for range each {
				if err := f(); err != nil {
					return 0, 0, err
				}
			}
			took[i] = append(took[i], time.Since(started)/time.Duration(each))
		}
	}
	slices.Sort(took[0])
	slices.Sort(took[1])
	return took[0][turns/2], took[1][turns/2], nil
}

// allocated is how many bytes a function takes from the heap, whether it frees
// them or not. Nothing else runs meanwhile.
func allocated(f func() error) (int64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc), err
}

func kib(bytes int64) string { return fmt.Sprintf("%.0f KiB", float64(bytes)/(1<<10)) }

// benchAppleID is Apple's id of the app.
const benchAppleID = 1234567890

// benchTransaction is a transaction as Apple sends them for a subscription.
func benchTransaction() map[string]any {
	now := time.Now().Add(-time.Hour)
	return map[string]any{
		"transactionId": "2000000000000002", "originalTransactionId": "2000000000000001", "webOrderLineItemId": "2000000000000009",
		"bundleId": appID, "productId": productID, "subscriptionGroupIdentifier": "20500000",
		"purchaseDate": now.UnixMilli(), "originalPurchaseDate": now.AddDate(0, -1, 0).UnixMilli(), "expiresDate": now.AddDate(0, 1, 0).UnixMilli(),
		"quantity": 1, "type": signed.TypeAutoRenewable, "appAccountToken": "7e3fb204-2d2c-4a6a-8a1e-1c7b8a6d9f10",
		"inAppOwnershipType": "PURCHASED", "signedDate": now.UnixMilli(), "environment": "Production", "transactionReason": "RENEWAL",
		"storefront": "USA", "storefrontId": "143441", "price": 9990, "currency": "USD", "appTransactionId": "704000000000000001",
	}
}
