package report

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/apps"
	"revalidator/internal/iap"
	"revalidator/internal/keyring"
	"revalidator/internal/phrase"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// PostgresDoctorStore is what the examination of Postgres needs.
type PostgresDoctorStore interface {
	appStore
	recentStore
	dueStore
	secretStore
	ClockStore
	Server(ctx context.Context) (repository.Server, error)
	Writable(ctx context.Context) error
	SchemaVersion(ctx context.Context) (current, known int64, err error)
	StoredSecrets(ctx context.Context) ([]apps.SharedSecret, error)
	UnscheduledSubscriptions(ctx context.Context, now time.Time, limit int) ([]iap.SubscriptionKey, error)
	LastFinished(ctx context.Context) (runs.Totals, error)
	RunFailures(ctx context.Context, id int64) ([]repository.FailureCount, error)
}

// RedisDoctorStore is what the examination of Redis needs.
type RedisDoctorStore interface {
	InfoMap(ctx context.Context, sections ...string) *redis.InfoCmd
	Time(ctx context.Context) *redis.TimeCmd
}

// Doctor examines the set-up. It opens each part as it comes to it, so that one that
// is away is a finding.
type Doctor struct {
	// Weaknesses are those of the settings.
	Weaknesses   []Weakness
	OpenPostgres func(ctx context.Context) (PostgresDoctorStore, error)
	OpenRedis    func(ctx context.Context) (RedisDoctorStore, error)
	// OpenQueue is called once Redis is there. Whose queue it is takes
	// ReadInstallation.
	OpenQueue        func() (QueueReader, error)
	ReadInstallation func(ctx context.Context) error
	OpenKeys         func() (*keyring.Ring, error)
	// Schedule fails where the settings have no schedule.
	Schedule func() (Schedule, error)
	// ReadClocks reads the clocks that processes share, Shared and Dates tell their
	// times; Machine is the clock of this machine.
	ReadClocks             func(ctx context.Context) error
	Shared, Dates, Machine func() time.Time
	SecretAge, ClaimLease  time.Duration
	// ProductionURL and SandboxURL are Apple's addresses, which Offline leaves out.
	ProductionURL, SandboxURL string
	Offline                   bool

	db    PostgresDoctorStore
	redis RedisDoctorStore
	queue QueueReader
}

// Weakness is a setting that works, and lets others read what they should not.
type Weakness struct{ Setting, Problem, Fix string }

// Severity is how bad a Finding is.
type Severity string

// The severities.
const (
	OK      Severity = "ok"
	Warning Severity = "warning"
	Failure Severity = "failure"
	// Skipped is what could not be looked at, because of a failure before it or
	// by the flag --offline.
	Skipped Severity = "skipped"
)

// Finding is what became of one check.
type Finding struct {
	Check string   `json:"check"`
	State Severity `json:"state"`
	Text  string   `json:"text"`
	// Fix is what to do, empty where there is nothing to do or Text says it.
	Fix string `json:"fix"`
}

// Diagnosis is the result of all checks.
type Diagnosis struct {
	// State is failure where any check failed, else warning where any warned.
	State    Severity  `json:"state"`
	Failures int       `json:"failures"`
	Warnings int       `json:"warnings"`
	Checks   []Finding `json:"checks"`
}

// doctorCheck is one examination. Its look leaves the name of the check to others.
type doctorCheck struct {
	name string
	look func(context.Context) Finding
	// gate marks a check whose failure leaves the rest of its group nothing to
	// look at.
	gate bool
}

// groupTimeout bounds the checks of one service together.
const groupTimeout = 30 * time.Second

// Examine makes all checks, those of different services side by side, and then
// those that need both stores.
func (d *Doctor) Examine(ctx context.Context) Diagnosis {
	settings := examineGroup(ctx, []doctorCheck{{"settings", d.settings, false}}, "")
	groups := [][]doctorCheck{d.postgresChecks(), d.redisChecks(), d.appleChecks()}
	findings := make([][]Finding, len(groups))
	var wait sync.WaitGroup
	for i, checks := range groups {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, groupTimeout)
			defer cancel()
			findings[i] = examineGroup(ctx, checks, "")
		})
	}
	wait.Wait()
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	queue := examineGroup(ctx, d.queueChecks(), closedGate(groups[:2], findings))
	return newDiagnosis(slices.Concat(settings, findings[0], findings[1], queue, findings[2]))
}

// settings looks for what lets others read what they should not.
func (d *Doctor) settings(context.Context) Finding {
	var problems, fixes []string
	for _, w := range d.Weaknesses {
		problems = append(problems, w.Setting+": "+w.Problem)
		fixes = append(fixes, w.Setting+": "+w.Fix)
	}
	if len(problems) > 0 {
		return warn(strings.Join(fixes, "; "), "%s", strings.Join(problems, "; "))
	}
	return ok("nothing is weak")
}

// closedGate is the first check of some groups whose failure leaves others nothing
// to look at, or empty.
func closedGate(groups [][]doctorCheck, findings [][]Finding) string {
	for i, checks := range groups {
		for j, c := range checks {
			if c.gate && findings[i][j].State == Failure {
				return c.name
			}
		}
	}
	return ""
}

// examineGroup makes the checks of a group, unless one before it blocks them.
func examineGroup(ctx context.Context, checks []doctorCheck, blocked string) []Finding {
	var findings []Finding
	for _, c := range checks {
		f := Finding{State: Skipped, Text: "see " + phrase.Words(blocked) + " above"}
		if blocked == "" {
			f = c.look(ctx)
		}
		f.Check = c.name
		if c.gate && f.State == Failure {
			blocked = c.name
		}
		findings = append(findings, f)
	}
	return findings
}

func newDiagnosis(findings []Finding) Diagnosis {
	d := Diagnosis{State: OK, Checks: findings}
	for _, f := range findings {
		switch f.State {
		case Failure:
			d.Failures++
		case Warning:
			d.Warnings++
		}
	}
	switch {
	case d.Failures > 0:
		d.State = Failure
	case d.Warnings > 0:
		d.State = Warning
	}
	return d
}

// ok, warn and fail make findings.
func ok(format string, args ...any) Finding {
	return Finding{State: OK, Text: fmt.Sprintf(format, args...)}
}

func warn(fix, format string, args ...any) Finding {
	return Finding{State: Warning, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(fix, format string, args ...any) Finding {
	return Finding{State: Failure, Text: fmt.Sprintf(format, args...), Fix: fix}
}

// failBy is a check that could not be made. Errors of this program say
// themselves what to do.
func failBy(err error) Finding { return fail("", "%v", err) }

// The difference between two clocks that is worth a word, and the one from
// which workers take each other's tasks for lost: asynq keeps its leases by the
// clocks of the machines. Our own go by the database's.
const (
	skewWarning = 5 * time.Second
	skewFailure = time.Minute
)

// compareClocks compares a service's clock with ours. The answer is taken to have come
// in the middle between before and after.
func compareClocks(service string, theirs, before, after time.Time) Finding {
	skew := theirs.Sub(before.Add(after.Sub(before) / 2)).Round(time.Second)
	const fix = "set both clocks by NTP: the queue's leases are compared across machines"
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	switch away := skew.Abs(); {
	case away > skewFailure:
		return fail(fix, "%s is %s this machine by %s", service, direction, away)
	case away > skewWarning:
		return warn(fix, "%s is %s this machine by %s", service, direction, away)
	}
	return ok("as on this machine")
}
