// Package appstore calls Apple's verifyReceipt and turns what
// comes back, whatever shape or fault it has, into facts (iap types) and error
// values. It leaves what they mean for a subscription to internal/iap, and
// what to do about an error to the worker.
package appstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"revalidator/internal/iap"
	"revalidator/internal/secret"
)

// Apple's addresses.
// https://developer.apple.com/documentation/appstorereceipts/verifyreceipt
const (
	DefaultProductionURL = "https://buy.itunes.apple.com/verifyReceipt"
	DefaultSandboxURL    = "https://sandbox.itunes.apple.com/verifyReceipt"
)

// appleRequestBytes is the largest request that Apple was measured to take.
const appleRequestBytes = 3 << 20

// Request is one receipt to ask about.
type Request struct {
	// BundleID is the app that the reply must be about.
	BundleID string
	// Environment is where the receipt is known to live. Empty means not
	// known: production is asked first, as Apple wants it.
	Environment iap.Environment
	Receipt     Receipt
	// Password is the app's shared secret. None is sent where it is empty.
	Password secret.Value
	// ExcludeOldTransactions asks for the newest transaction of each
	// subscription only. It makes the reply small, never the request, and
	// hides refunds of older periods.
	ExcludeOldTransactions bool
	// Wait is called before each HTTP request: the rate limiter of the app,
	// which has a budget for each environment. Its error ends the call and can
	// be matched in what VerifyReceipt returns. Nil means no waiting.
	Wait func(ctx context.Context, e iap.Environment) error
	// Heard is called after each HTTP request, also one that was not made after
	// all because of the receipt, with the error that it ended with. Nil means
	// that nobody listens.
	Heard func(ctx context.Context, e iap.Environment, err error)
	// Grow is called while a reply is read, as what is kept of it grows, with
	// how many bytes of memory that is in all. ctx ends with the HTTP request.
	// After its error the reply is only counted, and VerifyReceipt returns a
	// RoomError. Nil means that nobody counts.
	Grow func(ctx context.Context, bytes int64) error
}

// Answer is what Apple said about one receipt.
type Answer struct {
	// Environment is where the receipt turned out to live. It is set with an
	// error too, once Apple pointed to the other environment; otherwise it is
	// that of the request.
	Environment iap.Environment
	// Code is 0 or 21006 for a success. It is meaningless with an error that
	// is not a *StatusError.
	Code Code
	// Facts is what the reply says. With an error it may be incomplete, or
	// about another app, and must not be stored.
	Facts iap.Facts
	// Calls is how many HTTP requests were made: 0 to 2.
	Calls int
	// Unknown counts what was not known in the reply or was accepted in spite of its form, by
	// name, at most some 64 names.
	Unknown map[string]int
}

// Config is what a Client needs. Every zero field has a default.
type Config struct {
	// HTTPClient carries the requests; its redirect policy is replaced by
	// none. Where its transport is nil or an http.Transport without a limit for
	// the headers of a reply, a copy with one takes its place; another kind of
	// transport must bound them by itself. Default: a client of its own that
	// keeps 512 idle connections per host.
	HTTPClient *http.Client
	// ProductionURL and SandboxURL default to Apple's.
	ProductionURL, SandboxURL string
	// Timeout is for one HTTP request of a small receipt; a second per 32 KiB
	// of the request is added. Default 60 s.
	Timeout time.Duration
	// MaxRequestBytes bounds a whole request body. Default 3,145,728, beyond
	// which Apple was measured to answer HTTP 413.
	MaxRequestBytes int64
	// LimitMargin is how near to MaxRequestBytes, or to Apple's own limit where
	// that is lower, a request must be for HTTP 413 to be about its size, in
	// bytes. It is an eighth of that limit at most. Default 65,536.
	LimitMargin int64
	// MaxReplyBytes, MaxDepth, MaxRecords and MaxTextBytes are the Limits of a
	// reply.
	MaxReplyBytes                      int64
	MaxDepth, MaxRecords, MaxTextBytes int
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger gets one Debug line per HTTP request. Default: none.
	Logger *slog.Logger
}

// Client asks verifyReceipt. It is safe for concurrent use.
type Client struct {
	http            *http.Client
	urls            map[iap.Environment]string
	timeout         time.Duration
	maxRequestBytes int64
	limitMargin     int64
	limits          Limits
	now             func() time.Time
	log             *slog.Logger
}

// New returns a Client, or an error that names every field it cannot use.
func New(cfg Config) (*Client, error) {
	c := &Client{
		http: bounded(cfg.HTTPClient),
		urls: map[iap.Environment]string{
			iap.Production: cmp.Or(cfg.ProductionURL, DefaultProductionURL),
			iap.Sandbox:    cmp.Or(cfg.SandboxURL, DefaultSandboxURL),
		},
		timeout:         cmp.Or(cfg.Timeout, time.Minute),
		maxRequestBytes: cmp.Or(cfg.MaxRequestBytes, appleRequestBytes),
		limitMargin:     cmp.Or(cfg.LimitMargin, 64<<10),
		limits:          Limits{cfg.MaxReplyBytes, cfg.MaxDepth, cfg.MaxRecords, cfg.MaxTextBytes}.withDefaults(),
		now:             cfg.Now,
		log:             cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, c.validate()
}

func (c *Client) validate() error {
	var errs []error
	for _, e := range []iap.Environment{iap.Production, iap.Sandbox} {
		u, err := url.Parse(c.urls[e])
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			errs = append(errs, fmt.Errorf("address of %s: want an http or https URL", e))
		}
	}
	if c.timeout < 0 || c.maxRequestBytes < 0 || c.limitMargin < 0 {
		errs = append(errs, errors.New("timeout, request size and margin: want positive values"))
	}
	if c.limits.MaxReplyBytes < 0 || c.limits.MaxDepth < 0 || c.limits.MaxRecords < 0 || c.limits.MaxTextBytes < 0 {
		errs = append(errs, errors.New("limits of a reply: want positive values"))
	}
	return errors.Join(errs...)
}

// VerifyReceipt checks one receipt, and asks the other environment
// once where Apple says that the receipt lives there.
//
// Its errors are the sentinels and types of this package; an error of
// Request.Wait, of the Receipt or of ctx can be matched too.
func (c *Client) VerifyReceipt(ctx context.Context, r Request) (Answer, error) {
	a := Answer{Environment: r.Environment}
	if r.Environment != "" {
		if err := r.Environment.Validate(); err != nil {
			return a, err
		}
	}
	body := newRequestBody(r)
	if size := body.size(); size > c.maxRequestBytes {
		return a, fmt.Errorf("%w: %d bytes, may be %d", ErrTooLargeToSend, size, c.maxRequestBytes)
	}
	first := cmp.Or(r.Environment, iap.Production)
	err := c.askOnce(ctx, r, first, body, &a)
	if next := first.Other(); err != nil && a.Calls == 1 && pointsTo(err) == next {
		a.Environment = next
		err = c.askOnce(ctx, r, next, body, &a)
		if errors.Is(err, ErrEnvironmentSwitch) {
			a.Environment = r.Environment // nothing was learned
		}
	}
	return a, err
}

// nearLimit is whether a request of so many bytes is near the limit that applies:
// the configured one, or Apple's own where that is lower.
func (c *Client) nearLimit(size int64) bool {
	limit := min(c.maxRequestBytes, appleRequestBytes)
	return size >= limit-min(c.limitMargin, limit/8)
}

// pointsTo is the environment that a reply sends the receipt to, if any.
func pointsTo(err error) iap.Environment {
	var status *StatusError
	if !errors.As(err, &status) {
		return ""
	}
	switch status.Code {
	case CodeIsSandbox:
		return iap.Sandbox
	case CodeIsProduction:
		return iap.Production
	}
	return ""
}

// askOnce waits for its turn, asks one environment and judges the reply.
func (c *Client) askOnce(ctx context.Context, r Request, e iap.Environment, body requestBody, a *Answer) error {
	a.Facts = iap.Facts{} // what the other environment said is not said here
	if r.Wait != nil {
		if err := r.Wait(ctx, e); err != nil {
			return fmt.Errorf("wait to ask %s: %w", e, err)
		}
	}
	started := c.now()
	reply, err := c.post(ctx, e, body, r.Grow, &a.Calls)
	a.Code, a.Facts, a.Unknown = reply.Code, reply.Facts, reply.Unknown
	if err == nil {
		err = reply.Judge(r.BundleID, e)
	}
	if r.Heard != nil {
		r.Heard(ctx, e, err)
	}
	c.log.DebugContext(ctx, "called verifyReceipt", "bundle_id", r.BundleID, "environment", string(e),
		"code", int(reply.Code), "ok", err == nil, "elapsed", c.now().Sub(started))
	if err != nil {
		return fmt.Errorf("ask %s: %w", e, err)
	}
	switch a.Facts.Environment {
	case e:
	case "":
		a.Facts.Environment = e // iOS 6 style replies do not say
	default:
		unknown(a.Unknown).add("environment other than asked", 1)
	}
	a.Environment = a.Facts.Environment
	return nil
}

// Judge says whether a reply that could be read is a success about the app, of an
// environment where it was asked for: nil, or why its facts must not be believed.
// It is the one judge of a reply that has just come and of one that was saved.
func (r Reply) Judge(bundleID string, e iap.Environment) error {
	if !r.Code.succeeded() {
		return &StatusError{Code: r.Code, Retryable: r.Retryable, Environment: e, Exception: r.Exception}
	}
	switch got := r.Facts.BundleID; {
	case got == "" && r.Code == CodeSubscriptionExpired && r.Facts.IsEmpty():
		// 21006 may come alone: then the code is all there is.
	case got == "":
		return ErrNoBundleID
	case got != bundleID:
		return &WrongAppError{Want: bundleID, Got: got}
	case r.contradictsItself():
		return ErrContradiction
	}
	if !isPossible(r.Facts.AsOf) {
		return ErrNoTime
	}
	return nil
}

// contradictsItself reports whether the code says that the subscription has
// expired, and a period that has not is among the facts.
func (r Reply) contradictsItself() bool {
	return r.Code == CodeSubscriptionExpired &&
		slices.ContainsFunc(r.Facts.Transactions(), func(t iap.Transaction) bool {
			return t.ExpiresDate.After(r.Facts.AsOf) && !t.IsRevoked() && !t.IsUpgraded
		})
}
