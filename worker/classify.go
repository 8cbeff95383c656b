package worker

import (
	"context"
	"errors"

	"revalidator/internal/appstore"
	"revalidator/internal/ledger"
	"revalidator/internal/ratelimit"
)

// action is what is done about an answer.
type action int

const (
	// giveBack frees the claim at once: nothing was asked, or the answer says
	// nothing about the receipt. No attempt is counted.
	giveBack action = iota
	// record stores what Apple's facts say.
	record
	// retryLater counts a failure and asks again after a back-off.
	retryLater
	// retryDaily is retryLater for what Apple says will not cure soon.
	retryDaily
	// accuse holds a failure against the receipt: said again, as often and on as
	// many days as the table of quarantine wants, it is believed.
	accuse
	// wait gives back until a limit is over.
	waitForLimit
	// pauseApp stops the whole app: every one of its receipts would fail.
	pauseApp
	// disregard releases a receipt whose reply is not believed, to be checked
	// again. No attempt is counted.
	disregard
	// hold releases a receipt that is not checked while the clock is wrong.
	hold
	// fail hands a fault of our own machinery to asynq, which tries again.
	fail
)

// verdict is one line of the table: an error, the class under which it is
// counted and stored, and what is done about it.
type verdict struct {
	err    error
	class  string
	action action
	// alarm marks what needs a person: it is logged as an error.
	alarm bool
	// signal is what it says of Apple, whatever it says of the receipt.
	signal ratelimit.Signal
}

// The signals, in words that fit the table.
const (
	unclear   = ratelimit.Unclear
	answered  = ratelimit.Answered
	limited   = ratelimit.Limited
	distress  = ratelimit.Distress
	malformed = ratelimit.Malformed
	oversized = ratelimit.Oversized
)

// verdicts is the whole table from errors to actions. The first line that
// matches counts.
func verdicts() []verdict {
	return []verdict{
		{context.Canceled, "stopped", giveBack, false, unclear},          // the worker is shutting down
		{ratelimit.ErrForgotten, "queue_lost", giveBack, false, unclear}, // the claim is void, or will be
		{ledger.ErrLostClaim, "claim_lost", giveBack, false, unclear},    // to save it changes nothing
		// Before what an answer says: it may be an old one.
		{errClockDiffers, "clock_differs", disregard, false, answered},
		{appstore.ErrNoTime, "reply_without_time", disregard, true, answered},
		{errClockWrong, "clock_wrong", hold, false, unclear},
		// Before what an answer says: it came while the breaker was open.
		{ratelimit.ErrOpen, "held_back", waitForLimit, false, unclear},
		{ratelimit.ErrBusy, "limiter_busy", waitForLimit, false, unclear},
		{errNoRoom, "memory_full", waitForLimit, false, unclear},
		{errWaitedTooLong, "waited_too_long", waitForLimit, false, unclear},
		{ratelimit.ErrUnavailable, "limiter_unavailable", waitForLimit, false, unclear},
		{appstore.ErrRateLimited, "rate_limited", waitForLimit, false, limited}, // HTTP 429

		{errProbing, "shared_secret_in_doubt", waitForLimit, false, unclear},
		// The pause of the app is the one alarm for all of its receipts.
		{errNoSecret, "no_shared_secret", pauseApp, false, unclear},
		{appstore.ErrSharedSecret, "shared_secret_refused", pauseApp, false, answered}, // 21004, by every secret of the ring

		{appstore.ErrMalformedReceipt, "receipt_malformed", accuse, false, malformed},       // 21002
		{appstore.ErrNotAuthenticated, "receipt_not_authenticated", accuse, true, answered}, // 21003
		{appstore.ErrAccountGone, "account_gone", accuse, false, answered},                  // 21010
		{appstore.ErrWrongApp, "wrong_app", accuse, true, malformed},
		{appstore.ErrRequestTooLarge, "request_too_large", accuse, false, answered}, // HTTP 413 near the limit
		{appstore.ErrTooLargeToSend, "too_large_to_send", accuse, false, answered},
		{errSaveRefused, "save_refused", accuse, true, unclear}, // while others are stored
		{errPanicked, "panicked", accuse, false, unclear},       // told with its stack where it is caught

		{appstore.ErrUnavailable, "apple_unavailable", retryLater, false, distress},         // 21005, 21009, 21100–21199, -1
		{appstore.ErrInternalPermanent, "apple_internal_error", retryDaily, true, distress}, // 21100–21199, not retryable
		// Each half of it is a good answer.
		{appstore.ErrEnvironmentSwitch, "environments_disagree", retryLater, true, answered},
		{appstore.ErrBadRequest, "request_refused", retryLater, true, unclear}, // 21000: a fault of ours
		{appstore.ErrUnknownStatus, "unknown_status", retryLater, true, distress},

		{appstore.ErrTimeout, "timeout", retryLater, false, distress},
		{context.DeadlineExceeded, "timeout", retryLater, false, distress},
		{appstore.ErrConnection, "connection_failed", retryLater, false, distress},
		{appstore.ErrServer, "server_error", retryLater, false, distress},            // HTTP 5xx
		{appstore.ErrSizeRefused, "proxy_refused_size", retryLater, true, oversized}, // HTTP 413 far below the limit
		{appstore.ErrHTTPStatus, "http_status", retryLater, true, distress},
		{appstore.ErrEmptyReply, "reply_empty", retryLater, false, distress},
		{appstore.ErrNotJSON, "reply_not_json", retryLater, false, distress},
		{appstore.ErrCutReply, "reply_cut", retryLater, false, distress},
		{appstore.ErrMalformedReply, "reply_malformed", retryLater, true, distress},
		{appstore.ErrReplyTooLarge, "reply_too_large", retryLater, true, unclear},
	}
}

// classify finds the verdict on an error. No error at all is a success; an
// error that no line knows is a fault of our own.
func classify(err error) verdict {
	if err == nil {
		return verdict{action: record, signal: answered}
	}
	for _, v := range verdicts() {
		if errors.Is(err, v.err) {
			return v
		}
	}
	return verdict{err: err, class: "internal_fault", action: fail, alarm: true, signal: unclear}
}
