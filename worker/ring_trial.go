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
	for {
		var after int
		if s, verdict, after, err = t.choose(); after < 0 {
			return s, verdict, err
		}
		if err := t.ring.refresh(ctx, after); err != nil {
			return nil, nil, err
		}
	}
}

// choose is pick by what is known, or after how many reads of the secrets there has
// to be another one; -1 is that none is needed.
func (t *trial) choose() (s *sharedSecret, verdict <-chan struct{}, after int, err error) {
	a := t.ring
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.probe != nil && !t.probing {
		return nil, a.probe, -1, nil
	}
	if !a.isFresh() {
		return nil, nil, a.begun, nil
	}
	if s := t.untried(); s != nil {
		return s, nil, -1, nil
	}
	// What was added meanwhile comes before the pause: an app that was just put
	// back to work must not be stopped again for an old copy of its ring.
	if !t.anew {
		t.anew = true
		return nil, nil, a.begun, nil
	}
	if len(a.secrets) == 0 {
		return nil, nil, -1, fmt.Errorf("%w: %s", errNoSecret, a.bundleID)
	}
	return nil, nil, -1, fmt.Errorf("every secret of %s: %w", a.bundleID, appstore.ErrSharedSecret)
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
	defer t.end()
	if t.take(id, said) {
		t.ring.tell(ctx, id, said)
	}
	return said == ledger.SecretRefused
}

// take is what learn means for this worker, and whether it is news for the others.
func (t *trial) take(id int64, said ledger.SecretState) (news bool) {
	a := t.ring
	a.mu.Lock()
	defer a.mu.Unlock()
	t.tried[id] = true
	s := a.find(id)
	switch {
	case s == nil: // removed meanwhile
	case said == ledger.SecretRefused:
		return a.refuse(s)
	case said != "" && s.refused && t.turn < a.turn:
		// The answer was on its way when Apple refused the secret.
	case said == ledger.SecretAccepted:
		return a.accept(s)
	case said == ledger.SecretNew:
		// Not refused: good enough to ask with, not to be marked.
		a.doubt = false
	}
	return false
}

func (a *appRing) refuse(s *sharedSecret) (news bool) {
	if s.refused {
		return false
	}
	s.refused, a.doubt = true, true
	a.turn++
	news = a.mark(s, ledger.SecretRefused)
	a.sort()
	return news
}

func (a *appRing) accept(s *sharedSecret) (news bool) {
	news = a.mark(s, ledger.SecretAccepted)
	if a.doubt || a.favorite != s.id {
		a.doubt, a.favorite = false, s.id
		a.forgive()
		a.sort()
	}
	return news
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
