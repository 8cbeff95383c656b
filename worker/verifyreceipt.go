package worker

import (
	"bytes"
	"context"
	"errors"
	"io"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// AppStore is what the source verifyReceipt needs of Apple's client.
type AppStore interface {
	VerifyReceipt(ctx context.Context, r appstore.Request) (appstore.Answer, error)
}

// verifyReceipt is Apple's verifyReceipt as a source: a receipt and the shared
// secret of its app.
type verifyReceipt struct {
	*ring
	client AppStore
	data   func(id, size int64) appstore.Receipt
	// excludeOld asks for the newest period of each subscription only.
	excludeOld bool
}

// Classes implements Source.
func (*verifyReceipt) Classes() []Class {
	return []Class{
		{Err: appstore.ErrNoTime, Name: "reply_without_time", Action: Disregard, Alarm: true, Signal: answered},
		{Err: appstore.ErrRateLimited, Name: "rate_limited", Action: WaitForLimit, Signal: limited}, // HTTP 429

		{Err: errProbing, Name: "shared_secret_selection", Action: WaitForLimit},
		// The pause of the app is the one alarm for all of its receipts.
		{Err: errNoSecret, Name: "no_shared_secret", Action: PauseApp, Pause: apps.PausedNoSecret, Fix: addSecret},
		{ // 21004, by every secret of the ring
			Err: appstore.ErrSharedSecret, Name: "shared_secret_refused", Action: PauseApp, Signal: answered,
			Pause: apps.PausedSecretRefused, Fix: addSecret,
		},

		{Err: appstore.ErrMalformedReceipt, Name: "receipt_malformed", Action: Accuse, Signal: malformed},                     // 21002
		{Err: appstore.ErrNotAuthenticated, Name: "receipt_not_authenticated", Action: Accuse, Alarm: true, Signal: answered}, // 21003
		{Err: appstore.ErrAccountGone, Name: "account_gone", Action: Accuse, Signal: answered},                                // 21010
		{Err: appstore.ErrWrongApp, Name: "wrong_app", Action: Accuse, Alarm: true, Signal: malformed, OfNew: answered},
		{Err: appstore.ErrRequestTooLarge, Name: "request_too_large", Action: Accuse, Signal: answered}, // HTTP 413 near the limit
		{Err: appstore.ErrTooLargeToSend, Name: "too_large_to_send", Action: Accuse, Signal: answered},

		{Err: appstore.ErrUnavailable, Name: "apple_unavailable", Action: RetryLater, Signal: distress},                       // 21005, 21009, 21100–21199, -1
		{Err: appstore.ErrInternalPermanent, Name: "apple_internal_error", Action: RetryDaily, Alarm: true, Signal: distress}, // 21100–21199, not retryable
		// Each half of it is a good answer.
		{Err: appstore.ErrEnvironmentSwitch, Name: "environments_disagree", Action: RetryLater, Alarm: true, Signal: answered},
		{Err: appstore.ErrBadRequest, Name: "request_refused", Action: RetryLater, Alarm: true}, // 21000: a fault of ours
		{Err: appstore.ErrUnknownStatus, Name: "unknown_status", Action: RetryLater, Alarm: true, Signal: distress},

		{Err: appstore.ErrTimeout, Name: "timeout", Action: RetryLater, Signal: distress},
		{Err: context.DeadlineExceeded, Name: "timeout", Action: RetryLater, Signal: distress},
		{Err: appstore.ErrConnection, Name: "connection_failed", Action: RetryLater, Signal: distress},
		{Err: appstore.ErrServer, Name: "server_error", Action: RetryLater, Signal: distress},                          // HTTP 5xx
		{Err: appstore.ErrSizeRefused, Name: "proxy_refused_size", Action: RetryLater, Alarm: true, Signal: oversized}, // HTTP 413 far below the limit
		{Err: appstore.ErrHTTPStatus, Name: "http_status", Action: RetryLater, Alarm: true, Signal: distress},
		{Err: appstore.ErrEmptyReply, Name: "reply_empty", Action: RetryLater, Signal: distress},
		{Err: appstore.ErrNotJSON, Name: "reply_not_json", Action: RetryLater, Signal: distress},
		{Err: appstore.ErrCutReply, Name: "reply_cut", Action: RetryLater, Signal: distress},
		{Err: appstore.ErrMalformedReply, Name: "reply_malformed", Action: RetryLater, Alarm: true, Signal: distress},
		{Err: appstore.ErrReplyTooLarge, Name: "reply_too_large", Action: RetryLater, Alarm: true},
	}
}

const addSecret = "add a shared secret that Apple accepts with 'revalidator secrets add'"

// Details implements Source.
func (*verifyReceipt) Details(err error) (d Details) {
	var status *appstore.StatusError
	if errors.As(err, &status) {
		code := int(status.Code)
		d.Code = &code
	}
	var reply *appstore.HTTPError
	if errors.As(err, &reply) {
		d.RetryAfter = reply.RetryAfter
	}
	return d
}

// Paused implements Source.
func (s *verifyReceipt) Paused(bundleID string) { s.pausing(bundleID) }

// Check asks Apple with one secret of the ring after the other, until one is not
// refused, each at most once.
func (s *verifyReceipt) Check(ctx context.Context, r claim.Receipt, g Gate) (Answer, error) {
	var answer Answer
	selection := s.selection(r.App.BundleID)
	defer selection.end()
	request := s.request(r)
	request.Grow = g.Grow
	var at apps.Endpoint // of the last call
	request.Heard = func(ctx context.Context, e iap.Environment, err error) {
		g.Heard(ctx, apps.Endpoint{Environment: e}, err)
	}
	for {
		secret, err := s.nextSecret(ctx, selection, g)
		if err != nil {
			return answer, err
		}
		request.Password = secret.value
		request.Wait = func(ctx context.Context, e iap.Environment) error {
			at = apps.Endpoint{Environment: e}
			if err := g.Wait(ctx, at); err != nil {
				return err
			}
			err := selection.admit(secret.id)
			if err != nil {
				g.Heard(ctx, at, err) // nothing is asked
			}
			return err
		}
		reply, err := s.client.VerifyReceipt(ctx, request)
		request.Environment = reply.Environment
		answer.add(reply)
		if asOf := reply.Facts.AsOf; !asOf.IsZero() {
			// Before anything is learned of the reply.
			if wrong := g.Replied(ctx, at, asOf); wrong != nil {
				return answer, wrong
			}
		}
		if !errors.Is(err, errSecretChanged) && !selection.learn(ctx, secret.id, saidOfSecret(reply, err)) {
			return answer, err
		}
	}
}

// add takes a reply in the place of those before.
func (a *Answer) add(reply appstore.Answer) {
	code := int(reply.Code)
	*a = Answer{Environment: reply.Environment, Code: &code, Facts: reply.Facts, Calls: a.Calls + reply.Calls, Unknown: reply.Unknown}
}

// nextSecret is the next secret to try, for which it waits no longer than the
// worker runs.
func (s *verifyReceipt) nextSecret(ctx context.Context, t *selection, g Gate) (*sharedSecret, error) {
	ctx, cancel := g.UntilStopped(ctx)
	defer cancel()
	return t.next(ctx)
}

func (s *verifyReceipt) request(r claim.Receipt) appstore.Request {
	return appstore.Request{
		BundleID:               r.App.BundleID,
		Environment:            r.Environment,
		Receipt:                s.receipt(r),
		ExcludeOldTransactions: s.excludeOld,
	}
}

// receipt gives the bytes of a receipt: those that came with its row, or slices.
func (s *verifyReceipt) receipt(r claim.Receipt) appstore.Receipt {
	if r.Data != nil {
		return inMemory(r.Data)
	}
	return s.data(r.ID, r.ByteSize)
}

// inMemory is a receipt that is there already.
type inMemory []byte

func (m inMemory) Size() int64 { return int64(len(m)) }

func (m inMemory) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m)), nil
}
