package worker

import (
	"context"
	"errors"
	"iter"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
)

// How often a worker looks for paused apps that have a secret to try; when it tries
// one again of which Apple said nothing; and when it tries refused ones again,
// because the refusal may have been a failure of Apple's.
const (
	reviveEvery   = 2 * time.Second
	reviveRetry   = 10 * time.Second
	reviveRecheck = time.Hour
)

// reviveLoop is what the loop is called where it is stuck.
const reviveLoop = "try secrets of paused apps"

// ErrNoReceipt is an app without any receipt to try a secret with.
var ErrNoReceipt = errors.New("app has no receipt to try a shared secret with")

// revive tries the secrets of paused apps until ctx ends, and resumes the apps whose
// secrets Apple accepts. Of several workers one tries.
func (w *Worker) revive(ctx context.Context) {
	tick := time.NewTicker(reviveEvery)
	defer tick.Stop()
	defer w.loops.End(reviveLoop)
	for {
		w.loops.Beat(reviveLoop)
		if err := w.reviveAll(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Warn("try secrets of paused apps", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *Worker) reviveAll(ctx context.Context) error {
	for {
		app, err := w.cfg.Store.ClaimProbe(ctx, w.cfg.Now(), reviveRetry, reviveRecheck)
		if errors.Is(err, database.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.reviveApp(ctx, app); err != nil {
			return err
		}
	}
}

// reviveApp resumes an app as soon as one of its secrets is not refused. One that
// Apple did not check is enough: if it is refused later, that pauses the app again.
func (w *Worker) reviveApp(ctx context.Context, app apps.App) error {
	for v, err := range w.VerifySecrets(ctx, app) {
		if err != nil && !errors.Is(err, ErrNoReceipt) {
			return err
		}
		if v.Said == apps.SecretRefused {
			w.cfg.Logger.Warn("shared secret refused, app stays paused", "bundle_id", app.BundleID, "secret_id", v.ID)
			continue
		}
		resumed, err := w.cfg.Store.ResumeForSecret(ctx, app.BundleID)
		if resumed {
			w.cfg.Logger.Info("app resumed: Apple did not refuse its shared secret", "bundle_id", app.BundleID, "secret_id", v.ID)
		}
		return err
	}
	return nil
}

// SecretVerdict is what Apple says of one secret: accepted, refused, new where
// the app has no receipt for which Apple looks at it, or nothing.
type SecretVerdict struct {
	ID   int64
	Said apps.SecretState
}

// VerifySecrets asks Apple with each secret of an app, within the app's rate,
// and notes what it says. The receipts that it asks with stay as they are. It
// ends at the first error: ErrNoReceipt, errors of internal/appstore other than
// a refusal, and our own.
func (w *Worker) VerifySecrets(ctx context.Context, app apps.App) iter.Seq2[SecretVerdict, error] {
	return func(yield func(SecretVerdict, error) bool) {
		secrets, _, err := w.secrets.open(ctx, app.BundleID)
		if err != nil {
			yield(SecretVerdict{}, err)
			return
		}
		receipts, err := w.cfg.Store.ProbeReceipts(ctx, app.BundleID)
		if err == nil && len(receipts) == 0 {
			err = ErrNoReceipt
		}
		for _, s := range secrets {
			v := SecretVerdict{ID: s.id}
			if err == nil {
				v.Said, err = w.verify(ctx, app, receipts, s)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// verify tries one secret with one receipt after the other, until Apple has checked
// it. A failure with one receipt says nothing of the next; but where all fail,
// nothing is known of the secret.
func (w *Worker) verify(ctx context.Context, app apps.App, receipts []claim.Receipt, s *sharedSecret) (apps.SecretState, error) {
	var failure error
	for _, r := range receipts {
		w.loops.Beat(reviveLoop) // an app may have many secrets
		r.App = app
		room := w.memory.room(r)
		turns := w.turns(r, room)
		request := w.secrets.request(r)
		request.Password, request.Grow = s.value, room.grow
		request.Wait = func(ctx context.Context, e iap.Environment) error {
			return turns.wait(ctx, apps.Endpoint{Environment: e})
		}
		request.Heard = func(ctx context.Context, e iap.Environment, err error) {
			turns.Heard(ctx, apps.Endpoint{Environment: e}, err)
		}
		answer, err := w.secrets.client.VerifyReceipt(ctx, request)
		room.leave()
		w.metrics.calls.Add(float64(answer.Calls))
		switch said := saidOfSecret(answer, err); said {
		case apps.SecretAccepted, apps.SecretRefused:
			w.secrets.note(ctx, s.id, said)
			return said, nil
		case "":
			failure = err
		}
	}
	if failure != nil {
		return "", failure
	}
	return apps.SecretNew, nil
}

// saidOfSecret is what an answer, or the error in its place, says of the secret
// that was asked with. Apple checks it for auto-renewable subscriptions only,
// so that any other success leaves it new.
func saidOfSecret(a appstore.Answer, err error) apps.SecretState {
	switch {
	case errors.Is(err, appstore.ErrSharedSecret):
		return apps.SecretRefused
	case err != nil:
		return ""
	case len(a.Facts.RenewalInfos()) > 0:
		return apps.SecretAccepted
	}
	return apps.SecretNew
}
