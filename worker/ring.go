package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/secret"
)

// errNoSecret is an app without any secret to ask with.
var errNoSecret = errors.New("app has no shared secret")

// ringAge is how long a worker trusts its copy of an app's secrets. A secret
// that was added, retired or removed is known to everybody within this time.
const ringAge = 5 * time.Second

// sharedSecret is one secret of the ring, opened.
type sharedSecret struct {
	id    int64
	value secret.Value
	state apps.SecretState
	// refused is whether this worker saw Apple refuse it since Apple last
	// accepted any of the app's: it is not tried before that happens again.
	refused bool
}

// ring holds the secrets of apps for a short time, so that they are neither
// read nor decrypted for each receipt, and shares what one receipt learns of a
// secret with all others of the worker. The other workers read it in Postgres.
type ring struct {
	store SecretStore
	keys  Keys
	now   func() time.Time
	log   *slog.Logger

	mu   sync.Mutex
	apps map[string]*appRing
}

// appRing is the ring of one app.
type appRing struct {
	*ring
	bundleID string
	// database is taken by the one that reads or marks the app's secrets: nobody
	// waits for Postgres while mu is held.
	database chan struct{}

	mu      sync.Mutex
	secrets []*sharedSecret // in the order in which to try them
	read    time.Time
	// begun counts the reads that began.
	begun int
	// marking is what Apple said of secrets, while it is written to Postgres.
	marking map[int64]apps.SecretState
	// unreadable are the secrets that the keys did not open at the last read.
	unreadable []int64
	// lastAccepted is the secret that Apple last accepted for this app.
	lastAccepted int64
	// afterRefusal is whether a secret was refused and none accepted since: then one
	// receipt at a time is checked, and the others wait for its result on probe,
	// which is nil while none is.
	afterRefusal bool
	probe        chan struct{}
	// turn counts refusals, to recognise responses to requests that were sent before.
	turn int
	// stopped is when this worker last paused the app.
	stopped time.Time
}

func newRing(store SecretStore, keys Keys, now func() time.Time, log *slog.Logger) *ring {
	return &ring{store: store, keys: keys, now: now, log: log, apps: make(map[string]*appRing)}
}

func (r *ring) of(bundleID string) *appRing {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.apps[bundleID]
	if a == nil {
		a = &appRing{ring: r, bundleID: bundleID, database: make(chan struct{}, 1), marking: make(map[int64]apps.SecretState)}
		r.apps[bundleID] = a
	}
	return a
}

// selection begins the selection of a secret for one receipt. The app is not paused: if
// this worker paused it before, it was resumed since, and what was refused then is
// worth another try.
func (r *ring) selection(bundleID string) *selection {
	a := r.of(bundleID)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopped.IsZero() && !r.now().Equal(a.stopped) {
		a.stopped = time.Time{}
		a.retryRefused()
	}
	return &selection{ring: a, tried: make(map[int64]bool)}
}

// pausing notes that this worker pauses the app.
func (r *ring) pausing(bundleID string) {
	a := r.of(bundleID)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = r.now()
}

// isFresh is whether the copy of the secrets is good. mu is held.
func (a *appRing) isFresh() bool {
	return !a.read.IsZero() && a.now().Sub(a.read).Abs() < ringAge
}

// refresh reads the secrets of the app, unless a read began that is not among the
// first so many. What this worker saw refused stays refused as long as Postgres agrees. The
// wait for others ends with ctx, the read does not: what Apple said of a secret may
// require that the app is paused, and the read comes first.
func (a *appRing) refresh(ctx context.Context, after int) error {
	release, err := a.takeDatabase(ctx)
	if err != nil {
		return err
	}
	defer release()
	a.mu.Lock()
	done := a.begun > after
	if !done {
		a.begun++
	}
	a.mu.Unlock()
	if done {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	secrets, unreadable, err := a.open(ctx, a.bundleID)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range secrets {
		if said, marking := a.marking[s.id]; marking {
			s.state = said
		}
		old := a.find(s.id)
		s.refused = old != nil && old.refused && s.state == apps.SecretRefused
	}
	if len(unreadable) > 0 && !slices.Equal(unreadable, a.unreadable) {
		a.log.Warn("shared secrets do not open with these keys", "bundle_id", a.bundleID, "secret_ids", unreadable)
	}
	a.secrets, a.unreadable, a.read = secrets, unreadable, a.now()
	a.sort()
	return nil
}

// takeDatabase waits until nobody else reads or marks the app's secrets.
func (a *appRing) takeDatabase(ctx context.Context) (release func(), err error) {
	release = func() { <-a.database }
	select {
	case a.database <- struct{}{}:
		return release, nil
	default:
	}
	select {
	case a.database <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open reads and opens the secrets of an app, in the order in which to try
// them, and names those that do not open. It fails where none does: that is a
// fault of the keys, and no reason to take the app for one without secrets.
func (r *ring) open(ctx context.Context, bundleID string) (secrets []*sharedSecret, unreadable []int64, err error) {
	rows, err := r.store.SharedSecrets(ctx, bundleID)
	if err != nil {
		return nil, nil, err
	}
	for _, row := range rows {
		value, openErr := r.keys.Open(row.Ciphertext, row.Row())
		if openErr != nil {
			unreadable = append(unreadable, row.ID)
			err = fmt.Errorf("open shared secret %d: %w", row.ID, openErr)
			continue
		}
		secrets = append(secrets, &sharedSecret{id: row.ID, value: value, state: row.State})
	}
	if len(secrets) > 0 {
		err = nil
	}
	return secrets, unreadable, err
}

func (a *appRing) find(id int64) *sharedSecret {
	for _, s := range a.secrets {
		if s.id == id {
			return s
		}
	}
	return nil
}

// sort puts refused secrets last, or each receipt of the app would cost a call
// more for as long as one is there, and the one last accepted first.
func (a *appRing) sort() {
	rank := func(s *sharedSecret) int {
		switch {
		case s.state == apps.SecretRefused:
			return 3
		case s.id == a.lastAccepted:
			return 0
		case s.state == apps.SecretAccepted:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(a.secrets, func(s, t *sharedSecret) int { return cmp.Compare(rank(s), rank(t)) })
}

// retryRefused lets every secret be tried again.
func (a *appRing) retryRefused() {
	for _, s := range a.secrets {
		s.refused = false
	}
}

// mark takes what Apple said of a secret, and is whether that is news, which note
// tells Postgres. mu is held.
func (a *appRing) mark(s *sharedSecret, said apps.SecretState) (news bool) {
	if s.state == said {
		return false
	}
	s.state, a.marking[s.id] = said, said
	return true
}

// tell notes in Postgres what Apple said of a secret. That it could not be noted is
// no reason to lose the answer.
func (a *appRing) tell(ctx context.Context, id int64, said apps.SecretState) {
	release, _ := a.takeDatabase(context.WithoutCancel(ctx)) // each of those before it has a time limit
	defer release()
	a.mu.Lock()
	latest := a.marking[id] == said
	a.mu.Unlock()
	if !latest {
		return // somebody learned something else meanwhile, and tells that
	}
	a.note(ctx, id, said)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.marking[id] == said {
		delete(a.marking, id)
	}
}

func (r *ring) note(ctx context.Context, id int64, said apps.SecretState) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if err := r.store.MarkSharedSecret(ctx, id, said == apps.SecretAccepted, r.now()); err != nil {
		r.log.Warn("mark shared secret", "secret_id", id, "state", said, "error", err)
	}
}
