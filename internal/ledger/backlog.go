package ledger

import "time"

// Backlog is how much work there is, over all apps.
type Backlog struct {
	// Due is how many receipts of apps at work are due and with nobody, counted
	// up to a limit; Oldest is since when the first of them is, nil where there
	// is none.
	Due    int64      `db:"due"`
	Oldest *time.Time `db:"oldest"`
	// Claimed is how many receipts are with the workers.
	Claimed int64 `db:"claimed"`
	// PausedApps is how many apps stand still.
	PausedApps int64 `db:"paused_apps"`
	// StoppedApps is how many apps have their quarantining stopped.
	StoppedApps int64 `db:"stopped_apps"`
	// Unscheduled is that of UnscheduledSubscriptions.
	Unscheduled int64 `db:"unscheduled"`
	// Secret is when the newest secret was added of the app whose newest is the
	// oldest, nil where no app has one. Refused and retired ones do not count.
	Secret *time.Time `db:"secret"`
	// WrongClocks are the endpoints whose checks are held because the clock is
	// wrong.
	WrongClocks []EndpointClock `db:"-"`
}
