package worker

import (
	"context"
	"errors"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
)

// Source answers one question: what are the facts of a receipt? It owns the choice
// of credentials, its requests, its errors, and the table from these to classes of
// failures. The worker does not know which source it asks.
type Source interface {
	// Check asks about a receipt. Each of its calls passes the gate. Its errors are
	// those of Classes, of the gate, and faults of ours.
	Check(ctx context.Context, r claim.Receipt, g Gate) (Answer, error)
	// Classes is the table of its errors. The first line that matches counts.
	Classes() []Class
	// Details is what else an error says.
	Details(err error) Details
	// Paused tells that an app was paused for one of its errors.
	Paused(bundleID string)
}

// Gate is what each call of a source passes, of which one comes after the other.
type Gate interface {
	// Wait is called before each call: it waits until the rate allows it. Its error
	// ends the check.
	Wait(ctx context.Context, at apps.Endpoint) error
	// Heard is called after each call that was waited for, with the error that it
	// ended with.
	Heard(ctx context.Context, at apps.Endpoint, err error)
	// Grow is called while a reply is read, as what is kept of it grows, with how
	// many bytes that is in all. After its error the reply is not kept.
	Grow(ctx context.Context, bytes int64) error
	// Replied compares Apple's time of a reply with the clock. After its error nothing
	// may be learned of the reply.
	Replied(ctx context.Context, at apps.Endpoint, asOf time.Time) error
	// UntilStopped is a context that ends when the worker is told to stop, too.
	UntilStopped(ctx context.Context) (context.Context, context.CancelFunc)
}

// Answer is what a source says of a receipt.
type Answer struct {
	// Environment is where the receipt turned out to live, with an error too.
	Environment iap.Environment
	// Code is the source's code for a success, nil where it has none.
	Code *int
	// Facts are meaningless with an error.
	Facts iap.Facts
	// Calls is how many requests were made.
	Calls int
	// Endpoint is the class of endpoints that was asked last, where Apple limits by it.
	Endpoint string
	// Unknown counts what was not known in the reply, or had to be forgiven, by name.
	Unknown map[string]int
}

// Details is what an error of a source says besides its class.
type Details struct {
	// Code is the source's code, nil where there is none.
	Code *int
	// RetryAfter is when Apple may be asked again, the zero time where it did not say.
	RetryAfter time.Time
}

// Action is what is done about an answer.
type Action int

// The actions.
const (
	// Release frees the claim at once: nothing was asked, or the answer says
	// nothing about the receipt. No attempt is counted.
	Release Action = iota
	// Record stores what the facts say.
	Record
	// RetryLater counts a failure and checks again after a back-off.
	RetryLater
	// RetryDaily is RetryLater for what Apple says will not cure soon.
	RetryDaily
	// Accuse holds a failure against the receipt: said again, as often and on as
	// many days as the table of quarantine wants, it is believed.
	Accuse
	// WaitForLimit releases until a limit is over.
	WaitForLimit
	// PauseApp stops the whole app: every one of its receipts would fail.
	PauseApp
	// Disregard releases a receipt whose reply is not believed, to be checked
	// again. No attempt is counted.
	Disregard
	// Hold releases a receipt that is not checked while the clock is wrong.
	Hold
	// Fail hands a fault of our own machinery to asynq, which tries again.
	Fail
)

// Class is one line of a table: an error, the class under which it is counted and
// stored, and what is done about it.
type Class struct {
	Err    error
	Name   string
	Action Action
	// Alarm marks what needs a person: it is logged.
	Alarm bool
	// Signal is what it says of Apple, whatever it says of the receipt; empty is
	// nothing. OfNew takes its place, where it is set, for a receipt that Apple never
	// accepted.
	Signal, OfNew ratelimit.Signal
	// Pause is the code of the pause, and Fix how to end it, for PauseApp.
	Pause, Fix string
}

// The signals, in words that fit the tables.
const (
	unclear   = ratelimit.Unclear
	answered  = ratelimit.Answered
	limited   = ratelimit.Limited
	distress  = ratelimit.Distress
	malformed = ratelimit.Malformed
	oversized = ratelimit.Oversized
)

// ownClasses is the table of the worker's own errors, which comes before that of
// the source: what a reply says does not count where it came too late.
func ownClasses() []Class {
	return []Class{
		{Err: context.Canceled, Name: "stopped", Action: Release},          // the worker is shutting down
		{Err: ratelimit.ErrForgotten, Name: "queue_lost", Action: Release}, // the claim is void, or will be
		{Err: claim.ErrLost, Name: "claim_lost", Action: Release},          // to save it changes nothing
		{Err: errClockDiffers, Name: "clock_differs", Action: Disregard, Signal: answered},
		{Err: errClockWrong, Name: "clock_wrong", Action: Hold},
		{Err: ratelimit.ErrOpen, Name: "held_back", Action: WaitForLimit},
		{Err: ratelimit.ErrBusy, Name: "limiter_busy", Action: WaitForLimit},
		{Err: errWaitedTooLong, Name: "waited_too_long", Action: WaitForLimit},
		{Err: errNoRoom, Name: "memory_full", Action: WaitForLimit},
		{Err: errNeverRoom, Name: "reply_too_large", Action: RetryLater, Alarm: true},
		{Err: ratelimit.ErrUnavailable, Name: "limiter_unavailable", Action: WaitForLimit},
		{Err: errSaveRefused, Name: "save_refused", Action: Accuse, Alarm: true}, // while others are stored
		{Err: errPanicked, Name: "panicked", Action: Accuse},                     // told with its stack where it is caught
	}
}

// classify finds the class of an error. No error at all is a success; an error
// that no line knows is a fault of our own.
func classify(s Source, err error) Class {
	if err == nil {
		return Class{Action: Record, Signal: answered}
	}
	for _, table := range [][]Class{ownClasses(), s.Classes()} {
		for _, c := range table {
			if errors.Is(err, c.Err) {
				return c
			}
		}
	}
	return Class{Err: err, Name: "internal_fault", Action: Fail, Alarm: true}
}
