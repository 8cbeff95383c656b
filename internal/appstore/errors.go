package appstore

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"revalidator/internal/iap"
)

// What Apple's receipt status codes come to. Each is matched with errors.Is; a
// *StatusError around it has the code itself.
var (
	// ErrBadRequest is 21000 or 21001: Apple could not read our request.
	ErrBadRequest = errors.New("request refused")
	// ErrMalformedReceipt is 21002, which also stands for temporary trouble.
	ErrMalformedReceipt = errors.New("receipt malformed, or a temporary failure of Apple")
	// ErrNotAuthenticated is 21003.
	ErrNotAuthenticated = errors.New("receipt not authenticated")
	// ErrSharedSecret is 21004: every receipt of the app would be refused.
	ErrSharedSecret = errors.New("shared secret refused")
	// ErrUnavailable is 21005, 21009, -1, and 21100 to 21199 unless Apple says
	// that trying again is of no use.
	ErrUnavailable = errors.New("receipt server unavailable")
	// ErrInternalPermanent is 21100 to 21199 with is_retryable false.
	ErrInternalPermanent = errors.New("internal error of Apple's that trying again does not cure")
	// ErrAccountGone is 21010.
	ErrAccountGone = errors.New("account not found or deleted")
	// ErrEnvironmentSwitch is 21007 or 21008 where following it would go back
	// to an environment that has already been asked.
	ErrEnvironmentSwitch = errors.New("environments point at each other")
	// ErrUnknownStatus is any code that Apple does not document.
	ErrUnknownStatus = errors.New("unknown status")
)

// What can go wrong on the way to Apple and back.
var (
	// ErrTimeout is our own deadline for one request. A deadline or
	// cancellation of the caller's is returned as such.
	ErrTimeout = errors.New("timeout")
	// ErrConnection is every other fault of the network: refused, reset, DNS, TLS, a
	// certificate, HTTP/2. Its text says which.
	ErrConnection = errors.New("connection failed")
	// ErrRateLimited is HTTP 429; see HTTPError.RetryAfter.
	ErrRateLimited = errors.New("rate limited")
	// ErrServer is HTTP 5xx.
	ErrServer = errors.New("server error")
	// ErrHTTPStatus is any other HTTP status but 200. Redirects are not followed.
	ErrHTTPStatus = errors.New("unexpected HTTP status")
	// ErrRequestTooLarge is HTTP 413 for a request near the limit that applies.
	ErrRequestTooLarge = errors.New("request too large")
	// ErrSizeRefused is HTTP 413 for any other request. Apple takes requests of
	// that size: it is something between here and Apple that does not.
	ErrSizeRefused = errors.New("size refused by something before Apple")
	// ErrTooLargeToSend is a receipt that was not sent because its request would
	// exceed Config.MaxRequestBytes.
	ErrTooLargeToSend = errors.New("too large to be sent")
)

// What can be wrong with the body of a reply.
var (
	// ErrEmptyReply is a body without anything in it.
	ErrEmptyReply = errors.New("empty reply")
	// ErrNotJSON is a body that does not begin like a JSON object: HTML, text.
	ErrNotJSON = errors.New("reply is not JSON")
	// ErrCutReply is a body that ends too early.
	ErrCutReply = errors.New("reply is cut off")
	// ErrMalformedReply is a body that is not well-formed, or lacks what every
	// reply has.
	ErrMalformedReply = errors.New("malformed reply")
	// ErrNoStatus and ErrNoBundleID are an ErrMalformedReply each: without a
	// status that is a number of 32 bits nothing was said; without a bundle id
	// the facts could be those of any app.
	ErrNoStatus   = fmt.Errorf("%w: no status", ErrMalformedReply)
	ErrNoBundleID = fmt.Errorf("%w: no bundle id", ErrMalformedReply)
	// ErrUnusableText is an ErrMalformedReply too: an id or another text that is
	// stored is longer than any of Apple's, or no text.
	ErrUnusableText = fmt.Errorf("%w: an id or text that cannot be kept", ErrMalformedReply)
	// ErrNoTime is an ErrMalformedReply too: the reply does not say when it was
	// made, neither itself nor by an HTTP Date, or gives a time that is impossible:
	// a proxy may have kept it for any time.
	ErrNoTime = fmt.Errorf("%w: no possible time", ErrMalformedReply)
	// ErrContradiction is an ErrMalformedReply too: 21006, which says that the
	// subscription has expired, together with a period that has not.
	ErrContradiction = fmt.Errorf("%w: expired by its status, active by its dates", ErrMalformedReply)
	// ErrReplyTooLarge is a body beyond one of the Limits.
	ErrReplyTooLarge = errors.New("reply too large")
	// ErrWrongApp is a receipt of another app; see WrongAppError.
	ErrWrongApp = errors.New("receipt of another app")
)

// StatusError is a reply whose code is not a success. It unwraps to the
// sentinel of its code.
type StatusError struct {
	Code Code
	// Retryable is what Apple said about trying again, nil where it said
	// nothing. It is documented for 21100 to 21199 only.
	Retryable *bool
	// Environment is the one that was asked; empty for a saved reply.
	Environment iap.Environment
	// Exception is the class name of the exception that Apple let out, if any.
	// The rest of Apple's text may quote the receipt and is left out.
	Exception string
}

func (e *StatusError) Error() string {
	text := "status " + e.Code.String()
	if e.Exception != "" {
		text += " (" + e.Exception + ")"
	}
	return text
}

// Unwrap returns the sentinel that stands for the code.
func (e *StatusError) Unwrap() error {
	switch e.Code {
	case CodeNotPOST, CodeNoLongerSent:
		return ErrBadRequest
	case CodeMalformed:
		return ErrMalformedReceipt
	case CodeNotAuthenticated:
		return ErrNotAuthenticated
	case CodeSharedSecret:
		return ErrSharedSecret
	case CodeUnavailable, CodeInternalError, codeNull:
		return ErrUnavailable
	case CodeIsSandbox, CodeIsProduction:
		return ErrEnvironmentSwitch
	case CodeAccountGone:
		return ErrAccountGone
	}
	if !e.Code.isDataAccess() {
		return ErrUnknownStatus
	}
	if e.Retryable != nil && !*e.Retryable {
		return ErrInternalPermanent
	}
	return ErrUnavailable
}

// HTTPError is a reply with another HTTP status than 200. It unwraps to
// ErrRateLimited, ErrServer, ErrRequestTooLarge, ErrSizeRefused or ErrHTTPStatus.
type HTTPError struct {
	StatusCode int
	// RetryAfter is when the server wants to be asked again, at most an hour
	// ahead; the zero time where it did not say.
	RetryAfter time.Time
	// NearLimit is whether the request was near the largest one that is taken:
	// only then is HTTP 413 about its size.
	NearLimit bool
}

func (e *HTTPError) Error() string {
	return fmt.Sprintf("HTTP status %d: %v", e.StatusCode, e.Unwrap())
}

// Unwrap returns the sentinel that stands for the status.
func (e *HTTPError) Unwrap() error {
	switch {
	case e.StatusCode == http.StatusRequestEntityTooLarge && e.NearLimit:
		return ErrRequestTooLarge
	case e.StatusCode == http.StatusRequestEntityTooLarge:
		return ErrSizeRefused
	case e.StatusCode == http.StatusTooManyRequests:
		return ErrRateLimited
	case e.StatusCode >= http.StatusInternalServerError:
		return ErrServer
	}
	return ErrHTTPStatus
}

// WrongAppError is a reply about the receipt of another app. It unwraps to
// ErrWrongApp.
type WrongAppError struct{ Want, Got string }

func (e *WrongAppError) Error() string {
	return fmt.Sprintf("%v: got bundle id %.155q, want %q", ErrWrongApp, e.Got, e.Want)
}

// Unwrap returns ErrWrongApp.
func (e *WrongAppError) Unwrap() error { return ErrWrongApp }
