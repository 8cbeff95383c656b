package report

import (
	"context"
	"slices"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// lastRuns is how many runs status shows, next to those that are running.
const lastRuns = 5

// Status is what there is to say at one moment. It is read as a whole
// before any of it is printed.
type Status struct {
	At            time.Time        `json:"at"`
	Runs          []RunLine        `json:"runs"`
	Receipts      repository.Tally `json:"receipts"`
	Subscriptions repository.Tally `json:"subscriptions"`
	// Due is of the enabled apps, DuePaused of the paused ones.
	Due       Due `json:"due"`
	DuePaused Due `json:"due_paused"`
	// WrongClocks are the endpoints whose checks are held.
	WrongClocks []WrongClock `json:"wrong_clocks"`
	QueueStatus
	// RedisError is why there is nothing of QueueStatus, empty where there is.
	RedisError string     `json:"redis_error"`
	Paused     []apps.App `json:"paused_apps"`
	// Stops are the apps whose quarantining is stopped.
	Stops   []repository.QuarantineStop `json:"quarantine_stops"`
	Secrets []SecretWarning             `json:"secret_warnings"`

	redisError error
}

// Missing is why a part could not be read, nil where all could.
func (r *Status) Missing() error { return r.redisError }

// Due is what is due and not claimed.
type Due struct {
	Receipts int64 `json:"receipts"`
	// More says that there are more than Receipts.
	More   bool       `json:"more"`
	Oldest *time.Time `json:"oldest"`
	// OverdueSince is the slot of the schedule whose run should have done the
	// oldest, nil where nothing is overdue.
	OverdueSince *time.Time `json:"overdue_since"`
}

// SecretWarning is an app without a shared secret, or whose newest is too old.
type SecretWarning struct {
	repository.AppSecret
	Warning string `json:"warning"`
}

// The warnings about secrets.
const (
	SecretMissing  = "missing"
	SecretRefused  = "refused"
	SecretUnproven = "unproven"
	SecretOld      = "old"
)

// The small stores that status and doctor read.
type (
	appStore interface {
		Apps(ctx context.Context) ([]apps.App, error)
	}
	recentStore interface {
		// RecentRuns are the newest runs and every one that is running.
		RecentRuns(ctx context.Context, limit int) ([]runs.Totals, error)
		RunApps(ctx context.Context, id int64) ([]repository.RunApp, error)
		waitingStore
	}
	dueStore interface {
		Due(ctx context.Context, now time.Time, paused bool) (repository.Due, error)
		QuarantineStops(ctx context.Context, now time.Time) ([]repository.QuarantineStop, error)
	}
	tallyStore interface {
		ReceiptsByState(ctx context.Context) (repository.Tally, error)
		SubscriptionsByStatus(ctx context.Context) (repository.Tally, error)
	}
	secretStore interface {
		AppSecrets(ctx context.Context) ([]repository.AppSecret, error)
	}
)

// StatusStore is what status needs of Postgres.
type StatusStore interface {
	appStore
	recentStore
	dueStore
	tallyStore
	secretStore
	ClockStore
}

// StatusReader reads the status of an installation.
type StatusReader struct {
	Store    StatusStore
	Queue    QueueReader
	Schedule Schedule
	// SecretAge is from when on a secret is old; 0 is never.
	SecretAge time.Duration
	// DateOf is a time by the clock of Apple's dates.
	DateOf func(now time.Time) time.Time
}

// Read reads everything. Without Redis, what Postgres knows is read all the same:
// see Missing.
func (s StatusReader) Read(ctx context.Context, known *Paces, now time.Time) (*Status, error) {
	r := &Status{At: now.UTC()}
	for _, read := range []func() error{
		func() (err error) { r.Runs, err = s.recentRuns(ctx, known, now); return },
		func() (err error) { r.Receipts, err = s.Store.ReceiptsByState(ctx); return },
		func() (err error) { r.Subscriptions, err = s.Store.SubscriptionsByStatus(ctx); return },
		func() (err error) { r.Due, err = readDue(ctx, s.Store, s.Schedule, s.DateOf(now)); return },
		func() (err error) { r.DuePaused, err = readDuePaused(ctx, s.Store, s.DateOf(now)); return },
		func() (err error) { r.WrongClocks, err = ReadWrongClocks(ctx, s.Store); return },
		func() (err error) { r.Paused, err = s.pausedApps(ctx); return },
		func() (err error) { r.Stops, err = s.Store.QuarantineStops(ctx, now); r.Stops = list(r.Stops); return },
		func() (err error) { r.Secrets, err = secretWarnings(ctx, s.Store, s.SecretAge, now); return },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	if r.QueueStatus, r.redisError = s.Queue.Read(ctx); r.redisError != nil {
		r.RedisError = r.redisError.Error()
	}
	return r, nil
}

func (s StatusReader) recentRuns(ctx context.Context, known *Paces, now time.Time) ([]RunLine, error) {
	lastRuns, err := s.Store.RecentRuns(ctx, lastRuns)
	if err != nil {
		return nil, err
	}
	lines := make([]RunLine, len(lastRuns))
	for i, t := range lastRuns {
		var apps []repository.RunApp
		if t.State == runs.Running {
			if apps, err = s.Store.RunApps(ctx, t.ID); err != nil {
				return nil, err
			}
		}
		if lines[i], err = readRunLine(ctx, s.Store, t, apps, known, now); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// readDue reads what is due at a time, and since when it should be done.
func readDue(ctx context.Context, store dueStore, schedule Schedule, now time.Time) (Due, error) {
	d, err := store.Due(ctx, now, false)
	r := Due{Receipts: d.Receipts, More: d.More, Oldest: d.Oldest}
	if err != nil || d.Oldest == nil {
		return r, err
	}
	// A run may take until its window is over.
	ended := now.Add(-schedule.Window).In(schedule.Zone)
	if slot := lastSlot(schedule, ended).UTC(); d.Oldest.Before(slot) {
		r.OverdueSince = &slot
	}
	return r, nil
}

// readDuePaused reads what is due of paused apps, of which nothing is overdue.
func readDuePaused(ctx context.Context, store dueStore, now time.Time) (Due, error) {
	d, err := store.Due(ctx, now, true)
	return Due{Receipts: d.Receipts, More: d.More, Oldest: d.Oldest}, err
}

func (s StatusReader) pausedApps(ctx context.Context) ([]apps.App, error) {
	allApps, err := s.Store.Apps(ctx)
	if err != nil {
		return nil, err
	}
	return list(slices.DeleteFunc(allApps, func(a apps.App) bool { return a.PausedAt == nil })), nil
}

// secretWarnings lists the apps whose secrets need a person.
func secretWarnings(ctx context.Context, store secretStore, age time.Duration, now time.Time) ([]SecretWarning, error) {
	secrets, err := store.AppSecrets(ctx)
	if err != nil {
		return nil, err
	}
	warnings := []SecretWarning{}
	oldest := now.Add(-age)
	for _, a := range secrets {
		switch {
		case a.Newest == nil:
			warnings = append(warnings, SecretWarning{a, SecretMissing})
		case a.Refused:
			warnings = append(warnings, SecretWarning{a, SecretRefused})
		case a.Unproven:
			warnings = append(warnings, SecretWarning{a, SecretUnproven})
		case age > 0 && a.Newest.Before(oldest):
			warnings = append(warnings, SecretWarning{a, SecretOld})
		}
	}
	return warnings, nil
}
