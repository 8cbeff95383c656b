package pki

import (
	"errors"
	"fmt"
	"slices"
)

// Whatever is not verified is one of two things, matched with errors.Is.
var (
	// ErrUndetermined is for what we cannot judge: it uses something that we do
	// not know or cannot reach, and may be genuine. It proves nothing.
	ErrUndetermined = errors.New("signature undetermined")
	// ErrDisproved is for what is certainly not what it claims to be: Apple did
	// not sign it, or not for this app, environment or purchase.
	ErrDisproved = errors.New("signature disproved")
)

// Reason names why something is not verified. It is stored and shown as it is.
type Reason string

// The reasons why something is undetermined.
const (
	// ReasonMalformed is for what cannot be read, or says a thing twice.
	ReasonMalformed Reason = "malformed"
	// ReasonTooLarge is for what is beyond a bound: of bytes, certificates,
	// signers, attributes or depth.
	ReasonTooLarge Reason = "too_large"
	// ReasonUnsupportedKind is for what has another kind of signature than those
	// that are verified here, such as a transaction receipt of iOS 6.
	ReasonUnsupportedKind Reason = "unsupported_kind"
	// ReasonUnknownAlgorithm is for a signature of another algorithm than Apple's.
	ReasonUnknownAlgorithm Reason = "unknown_algorithm"
	// ReasonUnknownRoot is for a chain that does not name one of our roots.
	ReasonUnknownRoot Reason = "unknown_root"
	// ReasonUnknownExtension is for a critical extension, of a certificate or of
	// a JWS, that we do not know.
	ReasonUnknownExtension Reason = "unknown_extension"
	// ReasonChainLength is for another number of certificates than Apple sends.
	ReasonChainLength Reason = "chain_length"
	// ReasonNoCertificate is for a chain that lacks one of its certificates.
	ReasonNoCertificate Reason = "no_certificate"
	// ReasonSigners is for several signers: Apple is the only one.
	ReasonSigners Reason = "several_signers"
	// ReasonCertificateDates is for a signature at a date at which one of the
	// certificates was not valid. Apple has signed with an expired intermediate
	// for hours, so it is no proof of a forgery.
	ReasonCertificateDates Reason = "certificate_dates"
	// ReasonSignedInFuture is for a signing date ahead of our clock, which may
	// be wrong. It can be verified later.
	ReasonSignedInFuture Reason = "signed_in_future"
	// ReasonNoSignedDate is for a JWS without a date to judge its chain by.
	ReasonNoSignedDate Reason = "no_signed_date"
	// ReasonNoApp is for a payload that does not say which app it is about.
	ReasonNoApp Reason = "no_app"
	// ReasonUnknownEnvironment is for an environment that Apple does not document.
	ReasonUnknownEnvironment Reason = "unknown_environment"
	// ReasonRevocationUnknown is for a revocation check without an answer. It
	// can be repeated.
	ReasonRevocationUnknown Reason = "revocation_unknown"
)

// The reasons why something is disproved.
const (
	// ReasonUnsigned is for what carries no signature of a private key: none at
	// all, or one that everybody can make who has the public key.
	ReasonUnsigned Reason = "unsigned"
	// ReasonTestEnvironment is for what Xcode or StoreKit testing made, which
	// the App Store has never seen.
	ReasonTestEnvironment Reason = "test_environment"
	// ReasonNotCA is for a certificate that was issued by one which may not
	// issue any.
	ReasonNotCA Reason = "issuer_not_ca"
	// ReasonLeafIsCA is for a signing certificate that may issue others.
	ReasonLeafIsCA Reason = "leaf_is_ca"
	// ReasonPathLength is for a chain that is longer than its certificates allow.
	ReasonPathLength Reason = "path_length"
	// ReasonKeyUsage is for a key that was used for what its certificate does
	// not allow.
	ReasonKeyUsage Reason = "key_usage"
	// ReasonChainSignature is for a certificate that names its issuer and was
	// not signed by it.
	ReasonChainSignature Reason = "chain_signature"
	// ReasonLeafOID and ReasonIntermediateOID are for certificates of Apple's
	// without the extension that marks those for the App Store.
	ReasonLeafOID         Reason = "leaf_oid"
	ReasonIntermediateOID Reason = "intermediate_oid"
	// ReasonCertificateRevoked is for a certificate that Apple had revoked.
	ReasonCertificateRevoked Reason = "certificate_revoked"
	// ReasonBadSignature is for a signature that is not of the content.
	ReasonBadSignature Reason = "bad_signature"
	// ReasonDigest is for signed attributes that are of another content.
	ReasonDigest Reason = "content_digest"
	// ReasonNoCreationDate is for a receipt without its creation date.
	ReasonNoCreationDate Reason = "no_creation_date"
	// ReasonWrongApp, ReasonWrongEnvironment and ReasonWrongTransaction are for
	// what Apple signed, and for something else than it is handed in for.
	ReasonWrongApp         Reason = "wrong_app"
	ReasonWrongEnvironment Reason = "wrong_environment"
	ReasonWrongTransaction Reason = "wrong_transaction"
)

// undetermined and disproved list the reasons of both classes.
var (
	undetermined = []Reason{
		ReasonMalformed, ReasonTooLarge, ReasonUnsupportedKind, ReasonUnknownAlgorithm, ReasonUnknownRoot, ReasonUnknownExtension,
		ReasonChainLength, ReasonNoCertificate, ReasonSigners, ReasonCertificateDates, ReasonSignedInFuture, ReasonNoSignedDate,
		ReasonNoApp, ReasonUnknownEnvironment, ReasonRevocationUnknown,
	}
	disproved = []Reason{
		ReasonUnsigned, ReasonTestEnvironment, ReasonNotCA, ReasonLeafIsCA, ReasonPathLength, ReasonKeyUsage,
		ReasonChainSignature, ReasonLeafOID, ReasonIntermediateOID, ReasonCertificateRevoked, ReasonBadSignature,
		ReasonDigest, ReasonNoCreationDate, ReasonWrongApp, ReasonWrongEnvironment, ReasonWrongTransaction,
	}
)

// Reasons lists every Reason, those of ErrUndetermined first.
func Reasons() []Reason { return slices.Concat(undetermined, disproved) }

// Error says why something is not verified. It unwraps to ErrUndetermined or
// ErrDisproved, by its reason.
type Error struct {
	Reason Reason
	// Detail says more in words, and never repeats what was signed; empty where
	// the reason says everything.
	Detail string
}

// Errorf returns an *Error with a detail.
func Errorf(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%v: %s", e.Unwrap(), e.Reason)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Unwrap returns ErrUndetermined or ErrDisproved.
func (e *Error) Unwrap() error {
	if slices.Contains(disproved, e.Reason) {
		return ErrDisproved
	}
	return ErrUndetermined
}

// Retryable reports whether the same bytes may be verified later, without a
// change of the program.
func (e *Error) Retryable() bool {
	return e.Reason == ReasonSignedInFuture || e.Reason == ReasonRevocationUnknown
}

// ReasonOf returns the reason of an error of a verifier; empty for any other.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}
