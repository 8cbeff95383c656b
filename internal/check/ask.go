package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/ratelimit"
	"revalidator/internal/secret"
	"revalidator/worker"
)

// NotAskedError is why Apple was not asked, which is another thing than that it
// could not be.
type NotAskedError struct{ Reason string }

func (e *NotAskedError) Error() string { return "Apple was not asked: " + e.Reason }

// Askable is the app to ask about, or what stands against asking.
func (s Subject) Askable(app string, maxRequest int64) (string, error) {
	for _, known := range []string{app, s.App, s.BundleID} {
		if app == "" {
			app = known
		}
	}
	r := newReceipt(s, maxRequest)
	switch {
	case s.Kind == iap.KindXcode:
		return "", &NotAskedError{"the receipt is of Xcode's StoreKit testing, which the App Store does not know"}
	case !r.FitsVerifyReceipt:
		return "", &NotAskedError{fmt.Sprintf("a request of %d bytes is more than verifyReceipt takes, which is %d (REVALIDATOR_MAX_REQUEST_BYTES)",
			r.RequestBytes, maxRequest)}
	case app == "":
		return "", &NotAskedError{"the receipt does not name its app: give it with --app"}
	}
	if got := s.BundleID; got != "" && got != app {
		return "", &NotAskedError{fmt.Sprintf("the receipt is of %s, not of %s: correct --app, or import it for the right app", got, app)}
	}
	return app, nil
}

// Asker asks Apple about one receipt.
type Asker struct {
	Client  *appstore.Client
	Limiter *ratelimit.Limiter
}

// Question is what to ask.
type Question struct {
	Subject  Subject
	BundleID string
	// App is the app where the database knows it, whose rate is kept then.
	App *apps.App
	// Environment is the one to ask first, empty for the one that the receipt names.
	Environment            iap.Environment
	Secrets                []secret.Value
	ExcludeOldTransactions bool
}

// Ask asks with one secret after the other until one is not refused.
func (a Asker) Ask(ctx context.Context, q Question) (answer appstore.Answer, err error) {
	r := appstore.Request{
		BundleID: q.BundleID, Environment: cmp.Or(q.Environment, q.Subject.Environment), Receipt: memory(q.Subject.Data),
		ExcludeOldTransactions: q.ExcludeOldTransactions,
	}
	if q.App != nil {
		r.Wait, r.Heard = a.turn(*q.App)
	}
	calls := 0
	for _, r.Password = range q.Secrets {
		answer, err = a.Client.VerifyReceipt(ctx, r)
		calls += answer.Calls
		answer.Calls = calls
		r.Environment = answer.Environment
		if !errors.Is(err, appstore.ErrSharedSecret) {
			break
		}
	}
	return answer, err
}

// turn waits for a slot in the budget that the workers have for an app. What is
// heard of the call says nothing to them: it may be of any receipt.
func (a Asker) turn(app apps.App) (wait func(context.Context, iap.Environment) error, heard func(context.Context, iap.Environment, error)) {
	rate := ratelimit.Rate{PerSecond: app.RatePerSecond, Burst: app.Burst}
	var slot ratelimit.Slot
	wait = func(ctx context.Context, e iap.Environment) (err error) {
		for {
			if slot, err = a.Limiter.Wait(ctx, app.Budget(apps.Endpoint{Environment: e}).String(), rate); !errors.Is(err, ratelimit.ErrLate) {
				break
			}
		}
		switch {
		case errors.Is(err, ratelimit.ErrBusy):
			return fmt.Errorf("%w: the workers use the whole rate of %s; try again later", err, app.BundleID)
		case errors.Is(err, ratelimit.ErrOpen):
			return fmt.Errorf("%w: Apple is failing, see 'revalidator status'; try again later", err)
		}
		return err
	}
	heard = func(ctx context.Context, e iap.Environment, _ error) {
		_, _ = a.Limiter.Report(ctx, app.Budget(apps.Endpoint{Environment: e}).String(), slot, ratelimit.Unclear, "")
	}
	return wait, heard
}

// NewReport is what a receipt says of itself, and what Apple answered, or err where
// it did not.
func NewReport(s Subject, maxRequest int64, answer appstore.Answer, err error) Report {
	r := Report{Receipt: newReceipt(s, maxRequest)}
	if answer.Calls == 0 {
		r.NotAsked = new(err.Error())
		if unasked := new(NotAskedError); errors.As(err, &unasked) {
			r.NotAsked = &unasked.Reason
		}
		return r
	}
	r.Answer = newAnswer(answer, err)
	conclusion, class := worker.Judge(&answer.Facts, err)
	r.Answer.show(answer.Facts, conclusion, class)
	return r
}
