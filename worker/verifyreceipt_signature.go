package worker

import (
	"context"
	"errors"
	"fmt"
	"io"

	"revalidator/internal/appstore"
	"revalidator/internal/appstore/pki"
	"revalidator/internal/claim"
)

var (
	// errForged is a receipt that Apple refuses, whose signature is disproved, and
	// that Apple never accepted.
	errForged = errors.New("forged: refused by Apple, and its signature is disproved")
	// errRefusedGenuine is a receipt that Apple refuses although it is signed by Apple.
	errRefusedGenuine = errors.New("refused, although it carries Apple's own valid signature")
	// errDisagrees is our verifier disproving a receipt that Apple accepted before,
	// which is a fault of ours: the bytes are the same ones.
	errDisagrees = errors.New("our verifier disproves a receipt that Apple accepted")
)

// verifyBytes is the memory that the verifier needs in addition to the receipt.
const verifyBytes = 128 << 10

// withSignature judges 21002 and 21003, which Apple also answers while it is failing,
// with the signature in hand. A signature that is undetermined changes nothing.
func (s *verifyReceipt) withSignature(ctx context.Context, r claim.Receipt, g Gate, refused error) error {
	if s.signature == nil || !errors.Is(refused, appstore.ErrMalformedReceipt) && !errors.Is(refused, appstore.ErrNotAuthenticated) {
		return refused
	}
	switch err := s.verify(ctx, r, g); {
	case err == nil:
		return fmt.Errorf("%w: %w", errRefusedGenuine, refused)
	case !errors.Is(err, pki.ErrDisproved):
		return refused
	case r.Accepted():
		return fmt.Errorf("%w (%v): %w", errDisagrees, err, refused)
	default:
		return fmt.Errorf("%w (%v): %w", errForged, err, refused)
	}
}

// verify verifies the signature of a receipt, which is read for it whole: within the
// budget of memory, or not at all.
func (s *verifyReceipt) verify(ctx context.Context, r claim.Receipt, g Gate) error {
	if err := g.Grow(ctx, r.ByteSize+verifyBytes); err != nil {
		return err
	}
	defer func() { _ = g.Grow(ctx, 0) }() // nothing of it is kept
	stream, err := s.receipt(r).Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	data := make([]byte, r.ByteSize)
	if _, err := io.ReadFull(stream, data); err != nil {
		return err
	}
	return s.signature(ctx, data)
}
