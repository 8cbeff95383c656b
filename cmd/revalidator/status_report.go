package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/robfig/cron/v3"

	"revalidator/internal/ledger"
	"revalidator/jobs"
	"revalidator/repository"
)

// lastRuns is how many runs status shows, beside those that are running.
const lastRuns = 5

// statusReport is what there is to say at one moment. It is read as a whole
// before any of it is printed.
type statusReport struct {
	At            time.Time        `json:"at"`
	Runs          []runLine        `json:"runs"`
	Receipts      repository.Tally `json:"receipts"`
	Subscriptions repository.Tally `json:"subscriptions"`
	// Due is of the apps at work, DuePaused of the paused ones.
	Due       dueReport `json:"due"`
	DuePaused dueReport `json:"due_paused"`
	// WrongClocks are the endpoints whose checks are held.
	WrongClocks []wrongClock `json:"wrong_clocks"`
	queueStatus
	// RedisError is why there is nothing of queueStatus, empty where there is.
	RedisError string       `json:"redis_error"`
	Paused     []ledger.App `json:"paused_apps"`
	// Stops are the apps whose quarantining is stopped.
	Stops   []ledger.QuarantineStop `json:"quarantine_stops"`
	Secrets []secretWarning         `json:"secret_warnings"`

	redisError error
}

// queueStatus is what Redis knows.
type queueStatus struct {
	Queue      queueOwner     `json:"queue_owner"`
	Queues     []queueReport  `json:"queues"`
	Workers    []workerReport `json:"workers"`
	Schedulers []string       `json:"schedulers"`
	// Budgets are those that are not as configured, because Apple shows distress.
	Budgets []budgetReport `json:"budgets"`
	// SilentClaims is how many of the oldest claims have no task.
	SilentClaims int `json:"claims_without_task"`
}

func (r *statusReport) missing() error { return r.redisError }

// dueReport is what is due and with nobody.
type dueReport struct {
	Receipts int64 `json:"receipts"`
	// More says that there are more than Receipts.
	More   bool       `json:"more"`
	Oldest *time.Time `json:"oldest"`
	// OverdueSince is the slot of the schedule whose run should have done the
	// oldest, nil where nothing is overdue.
	OverdueSince *time.Time `json:"overdue_since"`
}

// queueReport is how many tasks of a lane are where.
type queueReport struct {
	Queue    string `json:"queue"`
	Waiting  int    `json:"waiting"`
	InHand   int    `json:"in_hand"`
	Retry    int    `json:"retry"`
	Archived int    `json:"archived"`
}

// workerReport is a worker process.
type workerReport struct {
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Queues    []string  `json:"queues"`
	InHand    int       `json:"in_hand"`
	StartedAt time.Time `json:"started_at"`
}

// secretWarning is an app without a shared secret that Apple accepts, or whose newest
// is too old.
type secretWarning struct {
	repository.AppSecret
	Warning string `json:"warning"`
}

// The warnings about secrets.
const (
	secretMissing  = "missing"
	secretRefused  = "refused"
	secretUnproven = "unproven"
	secretOld      = "old"
)

func (s *parts) status(ctx context.Context, known *paces, now time.Time) (*statusReport, error) {
	r := &statusReport{At: now.UTC()}
	for _, read := range []func() error{
		func() (err error) { r.Runs, err = s.recentRuns(ctx, known, now); return },
		func() (err error) { r.Receipts, err = s.db.ReceiptsByState(ctx); return },
		func() (err error) { r.Subscriptions, err = s.db.SubscriptionsByStatus(ctx); return },
		func() (err error) { r.Due, err = s.due(ctx, s.dateOf(now), false); return },
		func() (err error) { r.DuePaused, err = s.due(ctx, s.dateOf(now), true); return },
		func() (err error) { r.WrongClocks, err = s.wrongClocks(ctx); return },
		func() (err error) { r.Paused, err = s.pausedApps(ctx); return },
		func() (err error) { r.Stops, err = s.db.QuarantineStops(ctx, now); r.Stops = list(r.Stops); return },
		func() (err error) { r.Secrets, err = s.secretWarnings(ctx, now); return },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	if r.queueStatus, r.redisError = s.queueStatus(ctx); r.redisError != nil {
		r.RedisError = r.redisError.Error()
	}
	return r, nil
}

func (s *parts) queueStatus(ctx context.Context) (queueStatus, error) {
	var q queueStatus
	for _, read := range []func() error{
		func() error { return s.reachRedis(ctx) },
		func() (err error) { q.Queue, err = s.queueOwner(ctx); return },
		func() (err error) { q.Queues, err = s.queues(ctx); return },
		func() (err error) { q.Workers, err = s.workers(); return },
		func() (err error) { q.Schedulers, err = s.queue().Schedulers(ctx); return },
		func() (err error) { q.Budgets, err = s.budgets(ctx); return },
		func() (err error) { q.SilentClaims, err = s.silentClaims(ctx); return },
	} {
		if err := read(); err != nil {
			return queueStatus{}, err
		}
	}
	return q, nil
}

func (s *parts) recentRuns(ctx context.Context, known *paces, now time.Time) ([]runLine, error) {
	runs, err := s.db.RecentRuns(ctx, lastRuns)
	if err != nil {
		return nil, err
	}
	lines := make([]runLine, len(runs))
	for i, t := range runs {
		var apps []repository.RunApp
		if t.State == ledger.RunRunning {
			if apps, err = s.db.RunApps(ctx, t.ID); err != nil {
				return nil, err
			}
		}
		lines[i] = newRunLine(t, apps, known, now)
	}
	return lines, nil
}

func (s *parts) due(ctx context.Context, now time.Time, paused bool) (dueReport, error) {
	d, err := s.db.Due(ctx, now, paused)
	if err != nil {
		return dueReport{}, err
	}
	r := dueReport{Receipts: d.Receipts, More: d.More, Oldest: d.Oldest}
	if paused || d.Oldest == nil {
		return r, nil
	}
	schedule, err := s.schedule()
	if err != nil {
		return dueReport{}, err
	}
	// A run may take until its window is over.
	ended := now.Add(-s.cfg.Schedule.RunWindow).In(s.cfg.Schedule.TimeZone.Location)
	if slot := lastSlot(schedule, ended).UTC(); d.Oldest.Before(slot) {
		r.OverdueSince = &slot
	}
	return r, nil
}

// lastSlot is the newest slot of a schedule that is not later than t, or the
// zero time where there was none within years. Schedules only tell the next
// slot, so it goes back further and further, and then forward.
func lastSlot(schedule cron.Schedule, t time.Time) time.Time {
	const day = 24 * time.Hour
	for back := day; back < 3000*day; back *= 2 {
		slot := schedule.Next(t.Add(-back))
		if slot.IsZero() || slot.After(t) {
			continue
		}
		for next := slot; !next.After(t); next = schedule.Next(slot) {
			slot = next
		}
		return slot
	}
	return time.Time{}
}

// queues is what asynq knows of the queues. To have one counted it must be
// announced.
func (s *parts) queues(ctx context.Context) ([]queueReport, error) {
	if err := s.queue().Announce(ctx); err != nil {
		return nil, err
	}
	inspector := asynq.NewInspectorFromRedisClient(s.redis)
	var queues []queueReport
	for _, name := range jobs.Queues() {
		q, err := inspector.GetQueueInfo(name)
		if err != nil {
			return nil, fmt.Errorf("look at queue %s: %w", name, err)
		}
		queues = append(queues, queueReport{name, q.Pending, q.Active, q.Retry, q.Archived})
	}
	return queues, nil
}

// silentClaims is how many of the oldest claims have no task. Where the queue is
// another installation's, none has.
func (s *parts) silentClaims(ctx context.Context) (int, error) {
	scheduler, err := s.scheduler(nil, jobs.KindRun)
	if err != nil {
		return 0, err
	}
	claims, err := scheduler.SilentClaims(ctx)
	return len(claims), err
}

// workers lists the worker processes that have shown a sign of life. Each has a
// server of asynq's for each queue.
func (s *parts) workers() ([]workerReport, error) {
	servers, err := asynq.NewInspectorFromRedisClient(s.redis).Servers()
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	workers := []workerReport{}
	for _, server := range servers {
		i := slices.IndexFunc(workers, func(w workerReport) bool { return w.Host == server.Host && w.PID == server.PID })
		if i < 0 {
			i = len(workers)
			workers = append(workers, workerReport{Host: server.Host, PID: server.PID, StartedAt: server.Started.UTC()})
		}
		for name := range server.Queues {
			workers[i].Queues = append(workers[i].Queues, name)
		}
		slices.Sort(workers[i].Queues)
		workers[i].InHand += len(server.ActiveWorkers)
	}
	return workers, nil
}

func (s *parts) pausedApps(ctx context.Context) ([]ledger.App, error) {
	apps, err := s.db.Apps(ctx)
	if err != nil {
		return nil, err
	}
	return list(slices.DeleteFunc(apps, func(a ledger.App) bool { return a.PausedAt == nil })), nil
}

// secretWarnings lists the apps whose secrets need a person.
func (s *parts) secretWarnings(ctx context.Context, now time.Time) ([]secretWarning, error) {
	secrets, err := s.db.AppSecrets(ctx)
	if err != nil {
		return nil, err
	}
	warnings := []secretWarning{}
	oldest, age := now.Add(-s.cfg.Keys.SecretAge), s.cfg.Keys.SecretAge
	for _, a := range secrets {
		switch {
		case a.Newest == nil:
			warnings = append(warnings, secretWarning{a, secretMissing})
		case a.Refused:
			warnings = append(warnings, secretWarning{a, secretRefused})
		case a.Unproven:
			warnings = append(warnings, secretWarning{a, secretUnproven})
		case age > 0 && a.Newest.Before(oldest):
			warnings = append(warnings, secretWarning{a, secretOld})
		}
	}
	return warnings, nil
}
