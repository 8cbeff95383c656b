package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/internal/ratelimit"
	"revalidator/internal/secret"
	"revalidator/internal/terminal"
)

// notAskedError is why Apple was not asked, which is another thing than that it
// could not be.
type notAskedError struct{ reason string }

func (e *notAskedError) Error() string { return notAsked + e.reason }

const notAsked = "Apple was not asked: "

// verdict asks for the exit code of an error: whether Apple refused the receipt
// or was not asked is a result, that Apple was not reached is none.
func verdict(err error) error {
	var status *appstore.StatusError
	var unasked *notAskedError
	switch {
	case errors.As(err, &status), errors.As(err, &unasked),
		errors.Is(err, appstore.ErrWrongApp), errors.Is(err, appstore.ErrNoBundleID):
		return terminal.Failures(err)
	}
	return err
}

// checkReceipt says what a receipt says of itself, and then what Apple says.
func (p *program) checkReceipt(ctx context.Context, parts *parts, o checkOptions, s subject, now time.Time) (checkReport, error) {
	report := checkReport{Receipt: newReceiptReport(s, parts.cfg.Apple.MaxRequestBytes)}
	answer, err := p.ask(ctx, parts, o, s)
	if answer.Calls == 0 {
		report.NotAsked = new(strings.TrimPrefix(err.Error(), notAsked))
		return report, verdict(err)
	}
	report.Answer = newAnswerReport(answer, err)
	if err == nil {
		report.Answer.show(answer.Facts, now)
	}
	return report, verdict(err)
}

// ask asks Apple about a receipt, unless something stands against it.
func (p *program) ask(ctx context.Context, parts *parts, o checkOptions, s subject) (appstore.Answer, error) {
	bundleID, err := s.askable(o.app, parts.cfg.Apple.MaxRequestBytes)
	if err != nil {
		return appstore.Answer{}, err
	}
	app, err := parts.knownApp(ctx, bundleID)
	if err != nil {
		return appstore.Answer{}, err
	}
	secrets := o.secrets
	if len(secrets) == 0 {
		if secrets, err = p.secretsFor(ctx, parts, bundleID); err != nil {
			return appstore.Answer{}, err
		}
	}
	if app != nil && app.PausedAt != nil {
		p.Note("app %s is paused (%s): workers do not ask about it, this command does", app.BundleID, ledger.PauseReason(app.PausedCode, app.PausedText))
	}
	request := appstore.Request{
		BundleID: bundleID, Environment: o.environment, Receipt: memory(s.receipt.Data),
		ExcludeOldTransactions: parts.cfg.Apple.ExcludeOldTransactions,
	}
	if request.Environment == "" {
		request.Environment = s.receipt.Environment
	}
	return parts.askApple(ctx, request, app, secrets)
}

// askable is the app to ask about, or what stands against asking.
func (s subject) askable(app string, maxRequest int64) (string, error) {
	for _, known := range []string{app, s.app, s.receipt.BundleID} {
		if app == "" {
			app = known
		}
	}
	r := newReceiptReport(s, maxRequest)
	switch {
	case s.receipt.Kind == iap.KindXcode:
		return "", &notAskedError{"the receipt is of Xcode's StoreKit testing, which the App Store does not know"}
	case !r.FitsVerifyReceipt:
		return "", &notAskedError{fmt.Sprintf("a request of %d bytes is more than verifyReceipt takes, which is %d (REVALIDATOR_MAX_REQUEST_BYTES)",
			r.RequestBytes, maxRequest)}
	case app == "":
		return "", &notAskedError{"the receipt does not name its app: give it with --app"}
	}
	if got := s.receipt.BundleID; got != "" && got != app {
		return "", &notAskedError{fmt.Sprintf("the receipt is of %s, not of %s: correct --app, or import it for the right app", got, app)}
	}
	return app, nil
}

// knownApp is the app in the database, nil where there is no database or no
// such app. The rate of a known app is kept, which takes Redis.
func (s *parts) knownApp(ctx context.Context, bundleID string) (*ledger.App, error) {
	if s.cfg.Database.URL.IsZero() {
		return nil, nil
	}
	if s.db == nil {
		if err := s.open(ctx, needDatabase); err != nil {
			return nil, err
		}
	}
	apps, err := s.db.Apps(ctx)
	if err != nil {
		return nil, err
	}
	for _, app := range apps {
		if app.BundleID == bundleID {
			return &app, s.open(ctx, needRedis)
		}
	}
	return nil, nil
}

// secretsFor are the secrets to ask with, in the order in which to try them.
func (p *program) secretsFor(ctx context.Context, parts *parts, bundleID string) ([]secret.Value, error) {
	stored, err := parts.storedSecrets(ctx, bundleID)
	if err != nil || len(stored) > 0 {
		return stored, err
	}
	if terminal.IsTerminal(p.In) {
		return p.typedSecret(ctx, bundleID)
	}
	return nil, &notAskedError{fmt.Sprintf("there is no shared secret for %s: give one with --secret-file, or store it with 'revalidator secrets add' and set DATABASE_URL and REVALIDATOR_KEYS", bundleID)}
}

// typedSecret asks for the secret, which a person need not have.
func (p *program) typedSecret(ctx context.Context, bundleID string) ([]secret.Value, error) {
	line, err := p.AskHidden(ctx, fmt.Sprintf("Shared secret of %s (Enter: go without): ", bundleID))
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(line) == "" {
		return nil, &notAskedError{"no shared secret was given"}
	}
	value, err := secretOf(line)
	return []secret.Value{value}, err
}

// storedSecrets are the secrets in the database that are good for an app; none
// where the settings for them are not there. One that does not open is no
// reason not to ask with the others.
func (s *parts) storedSecrets(ctx context.Context, bundleID string) ([]secret.Value, error) {
	if s.db == nil || s.cfg.Keys.Keyset.IsZero() {
		return nil, nil
	}
	if err := s.open(ctx, needKeys); err != nil {
		return nil, err
	}
	rows, err := s.db.SharedSecrets(ctx, bundleID)
	if err != nil {
		return nil, err
	}
	var values []secret.Value
	var closed error
	for _, row := range rows {
		value, err := s.keys.Open(row.Ciphertext, row.Row())
		if err != nil {
			closed = fmt.Errorf("open shared secret %d: %w", row.ID, err)
			continue
		}
		values = append(values, value)
	}
	if len(values) == 0 {
		return nil, closed
	}
	return values, nil
}

// askApple asks with one secret after the other until one is not refused.
func (s *parts) askApple(ctx context.Context, r appstore.Request, app *ledger.App, secrets []secret.Value) (answer appstore.Answer, err error) {
	client, err := s.appStore()
	if err != nil {
		return answer, err
	}
	if app != nil {
		if r.Wait, r.Heard, err = s.turn(*app); err != nil {
			return answer, err
		}
	}
	calls := 0
	for _, r.Password = range secrets {
		answer, err = client.VerifyReceipt(ctx, r)
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
func (s *parts) turn(app ledger.App) (wait func(context.Context, iap.Environment) error, heard func(context.Context, iap.Environment, error), err error) {
	limiter, err := s.limiter()
	if err != nil {
		return nil, nil, err
	}
	rate := ratelimit.Rate{PerSecond: app.RatePerSecond, Burst: app.Burst}
	var slot ratelimit.Slot
	wait = func(ctx context.Context, e iap.Environment) (err error) {
		for {
			if slot, err = limiter.Wait(ctx, app.Budget(ledger.Endpoint{Environment: e}).String(), rate); !errors.Is(err, ratelimit.ErrLate) {
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
		_, _ = limiter.Report(ctx, app.Budget(ledger.Endpoint{Environment: e}).String(), slot, ratelimit.Unclear, "")
	}
	return wait, heard, nil
}
