package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
)

// errSecretChanged ends a wait for the rate limit after which another secret, or
// the result of another receipt, comes first. No request was sent.
var errSecretChanged = errors.New("another shared secret is to be tried")

// errProbing is a receipt that waited too long for the result of another one. Its
// claim is released, so that the receipts of an app whose secret was refused do not
// keep those of other apps from being checked.
var errProbing = errors.New("a shared secret is being tried")

// probeWait is how long a receipt waits for that.
const probeWait = 5 * time.Second

// selection chooses the secret for one receipt from the ring of its app. Each secret is
// tried once at most. It must be ended.
//
// While Apple accepts the secret in use, receipts are checked concurrently. Once it
// was refused, one receipt at a time tries the next: a secret that was regenerated
// costs the calls that had begun, and one more.
type selection struct {
	ring  *appRing
	tried map[int64]bool
	// probing is whether the others wait for this selection.
	probing bool
	// turn is the ring's when the last call was let through.
	turn int
	// reread is whether the ring was read for this selection already.
	reread bool
}

// next is the secret to try, once no other receipt is trying one. Its errors
// are errNoSecret, appstore.ErrSharedSecret where all were refused, errProbing,
// and ctx's and our own.
func (t *selection) next(ctx context.Context) (*sharedSecret, error) {
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

// pick is the secret to try, or the result of another receipt to wait for.
func (t *selection) pick(ctx context.Context) (s *sharedSecret, verdict <-chan struct{}, err error) {
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
func (t *selection) choose() (s *sharedSecret, verdict <-chan struct{}, after int, err error) {
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
	// What was added meanwhile comes before the pause: an app that was just resumed
	// must not be paused again because of an old copy of its ring.
	if !t.reread {
		t.reread = true
		return nil, nil, a.begun, nil
	}
	if len(a.secrets) == 0 {
		return nil, nil, -1, fmt.Errorf("%w: %s", errNoSecret, a.bundleID)
	}
	return nil, nil, -1, fmt.Errorf("every secret of %s: %w", a.bundleID, appstore.ErrSharedSecret)
}

func (t *selection) untried() *sharedSecret {
	for _, s := range t.ring.secrets {
		if !s.refused && !t.tried[s.id] {
			return s
		}
	}
	return nil
}

// admit lets a call with a secret through, after its wait for the rate limit. That
// may have been long: where the secret is not the one to try any more, or another
// receipt is trying it, the error is errSecretChanged.
func (t *selection) admit(id int64) error {
	a := t.ring
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := t.untried(); s == nil || s.id != id {
		return errSecretChanged
	}
	if a.afterRefusal && !t.probing {
		if a.probe != nil {
			return errSecretChanged
		}
		a.probe, t.probing = make(chan struct{}), true
	}
	t.turn = a.turn
	return nil
}

// learn takes what Apple said of a secret: accepted, refused, new where it did not
// check it, or nothing. It reports whether to try the next.
func (t *selection) learn(ctx context.Context, id int64, said apps.SecretState) (again bool) {
	defer t.end()
	if t.take(id, said) {
		t.ring.tell(ctx, id, said)
	}
	return said == apps.SecretRefused
}

// take is what learn means for this worker, and whether others need to know.
func (t *selection) take(id int64, said apps.SecretState) (news bool) {
	a := t.ring
	a.mu.Lock()
	defer a.mu.Unlock()
	t.tried[id] = true
	s := a.find(id)
	switch {
	case s == nil: // removed meanwhile
	case said == apps.SecretRefused:
		return a.refuse(s)
	case said != "" && s.refused && t.turn < a.turn:
		// The request was sent before Apple refused the secret.
	case said == apps.SecretAccepted:
		return a.accept(s)
	case said == apps.SecretNew:
		// Not refused: good enough to ask with, not to be marked.
		a.afterRefusal = false
	}
	return false
}

func (a *appRing) refuse(s *sharedSecret) (news bool) {
	if s.refused {
		return false
	}
	s.refused, a.afterRefusal = true, true
	a.turn++
	news = a.mark(s, apps.SecretRefused)
	a.sort()
	return news
}

func (a *appRing) accept(s *sharedSecret) (news bool) {
	news = a.mark(s, apps.SecretAccepted)
	if a.afterRefusal || a.lastAccepted != s.id {
		a.afterRefusal, a.lastAccepted = false, s.id
		a.retryRefused()
		a.sort()
	}
	return news
}

// release ends the wait of the others.
func (t *selection) release() {
	if t.probing {
		close(t.ring.probe)
		t.ring.probe, t.probing = nil, false
	}
}

// end ends the wait of the others where the selection was broken off.
func (t *selection) end() {
	t.ring.mu.Lock()
	defer t.ring.mu.Unlock()
	t.release()
}
