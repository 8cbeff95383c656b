package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/ledger"
)

// errSecretChanged ends a wait for the limiter after which another secret, or
// the verdict of another receipt, comes first. Apple was not asked.
var errSecretChanged = errors.New("another shared secret is to be tried")

// errProbing is a receipt that waited too long for the verdict of another one.
// It is given back, so that the receipts of an app in doubt do not keep those
// of other apps from being asked about.
var errProbing = errors.New("a shared secret is being tried")

// probeWait is how long a receipt waits for that.
const probeWait = 5 * time.Second

// trial is the way of one receipt through the ring of its app, in which each
// secret is tried once at most. It must be ended.
//
// While Apple accepts the secret in use, all receipts are asked about side by
// side. Once it was refused, one receipt at a time tries the next: a secret that
// is dead costs the calls that were on their way, and one more.
type trial struct {
	ring  *appRing
	tried map[int64]bool
	// probing is whether the others wait for this trial.
	probing bool
	// turn is the ring's when the last call was let through.
	turn int
	// anew is whether the ring was read for this trial already.
	anew bool
}

// next is the secret to try, once no other receipt is trying one. Its errors
// are errNoSecret, appstore.ErrSharedSecret where all were refused, errProbing,
// and ctx's and our own.
func (t *trial) next(ctx context.Context) (*sharedSecret, error) {
	timeout := time.NewTimer(probeWait)
	defer timeout.Stop()
	for {
		s, verdict, err := t.pick(ctx)
		if err != nil || verdict == nil {
			return s, err
		}
		select {
		case <-verdict:
		case <-timeout.C:
			return nil, errProbing
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pick is the secret to try, or the verdict to wait for.
func (t *trial) pick(ctx context.Context) (s *sharedSecret, verdict <-chan struct{}, err error) {
	a := t.ring
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.probe != nil && !t.probing {
		return nil, a.probe, nil
	}
	if err := a.refresh(ctx, false); err != nil {
		return nil, nil, err
	}
	if s := t.untried(); s != nil {
		return s, nil, nil
	}
	// What was added meanwhile comes before the pause: an app that was just put
	// back to work must not be stopped again for an old copy of its ring.
	if !t.anew {
		t.anew = true
		if err := a.refresh(ctx, true); err != nil {
			return nil, nil, err
		}
		if s := t.untried(); s != nil {
			return s, nil, nil
		}
	}
	if len(a.secrets) == 0 {
		return nil, nil, fmt.Errorf("%w: %s", errNoSecret, a.bundleID)
	}
	return nil, nil, fmt.Errorf("every secret of %s: %w", a.bundleID, appstore.ErrSharedSecret)
}

func (t *trial) untried() *sharedSecret {
	for _, s := range t.ring.secrets {
		if !s.refused && !t.tried[s.id] {
			return s
		}
	}
	return nil
}

// admit lets a call with a secret through, whose turn by the limiter has come.
// The wait for it may have been long: where the secret is not the one to try
// any more, or another receipt is trying it, the error is errSecretChanged.
func (t *trial) admit(id int64) error {
	a := t.ring
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := t.untried(); s == nil || s.id != id {
		return errSecretChanged
	}
	if a.doubt && !t.probing {
		if a.probe != nil {
			return errSecretChanged
		}
		a.probe, t.probing = make(chan struct{}), true
	}
	t.turn = a.turn
	return nil
}

// learn takes what Apple said of a secret: accepted, refused, new where it was
// asked and did not look at it, or nothing. It reports whether to try the next.
func (t *trial) learn(ctx context.Context, id int64, said ledger.SecretState) (again bool) {
	a := t.ring
	a.mu.Lock()
	defer a.mu.Unlock()
	defer t.release()
	t.tried[id] = true
	s := a.find(id)
	switch {
	case s == nil: // removed meanwhile
	case said == ledger.SecretRefused:
		a.refuse(ctx, s)
	case said != "" && s.refused && t.turn < a.turn:
		// The answer was on its way when Apple refused the secret.
	case said == ledger.SecretAccepted:
		a.accept(ctx, s)
	case said == ledger.SecretNew:
		// Not refused: good enough to ask with, not to be marked.
		a.doubt = false
	}
	return said == ledger.SecretRefused
}

func (a *appRing) refuse(ctx context.Context, s *sharedSecret) {
	if s.refused {
		return
	}
	s.refused, a.doubt = true, true
	a.turn++
	a.mark(ctx, s, ledger.SecretRefused)
	a.sort()
}

func (a *appRing) accept(ctx context.Context, s *sharedSecret) {
	a.mark(ctx, s, ledger.SecretAccepted)
	if a.doubt || a.favorite != s.id {
		a.doubt, a.favorite = false, s.id
		a.forgive()
		a.sort()
	}
}

// release lets the others go on.
func (t *trial) release() {
	if t.probing {
		close(t.ring.probe)
		t.ring.probe, t.probing = nil, false
	}
}

// end lets the others go on where the trial was broken off.
func (t *trial) end() {
	t.ring.mu.Lock()
	defer t.ring.mu.Unlock()
	t.release()
}
