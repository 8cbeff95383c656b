package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/config"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
)

func (p *program) doctorCommand() *cobra.Command {
	var offline bool
	c := &cobra.Command{
		Use:   "doctor [--offline] [--json]",
		Short: "Examine the set-up, and say what to do about what is wrong",
		Long: `Examine everything that this program needs, and say what to do about what is
wrong: Postgres and Redis with their versions, clocks and settings, the schema,
apps, keys and secrets, what is overdue, schedulers, workers, and whether Apple
answers. It changes nothing, and goes on when Postgres or Redis is away.

Apple is sent an empty request to each of the two addresses, without receipt and
secret; --offline leaves that out.

Exit code 1 says that there is a failure, which keeps receipts from being asked
about or will lose data. Warnings alone are exit code 0, such as an app that
somebody has paused.`,
		Example: "  revalidator doctor\n  revalidator doctor --json | jq '.checks[] | select(.state != \"ok\")'",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(p.environ)
			if err != nil {
				return terminal.Usage(err)
			}
			d := &doctor{parts: &parts{cfg: cfg, log: p.logger(cfg.Log)}, now: time.Now, offline: offline}
			defer d.close()
			diagnosis := d.examine(c.Context())
			if err := c.Context().Err(); err != nil {
				return err // what was broken off is no finding
			}
			return p.printDiagnosis(diagnosis)
		},
	}
	p.AddJSON(c)
	c.Flags().BoolVar(&offline, "offline", false, "do not ask Apple")
	return c
}

// doctor examines the set-up. It opens the parts as it comes to them.
type doctor struct {
	*parts
	now     func() time.Time // the clock of this machine
	offline bool
}

// severity is how bad a finding is.
type severity string

// The severities.
const (
	severityOK      severity = "ok"
	severityWarning severity = "warning"
	severityFailure severity = "failure"
	// severitySkipped is what could not be looked at, because of a failure before it or
	// by the flag --offline.
	severitySkipped severity = "skipped"
)

// finding is what became of one check.
type finding struct {
	Check string   `json:"check"`
	State severity `json:"state"`
	Text  string   `json:"text"`
	// Mend is what to do, empty where there is nothing to do or Text says it.
	Mend string `json:"mend"`
}

// diagnosis is the result of all checks.
type diagnosis struct {
	// State is failure where any check failed, else warning where any warned.
	State    severity  `json:"state"`
	Failures int       `json:"failures"`
	Warnings int       `json:"warnings"`
	Checks   []finding `json:"checks"`
}

// doctorCheck is one examination. Its look leaves the name of the check to others.
type doctorCheck struct {
	name string
	look func(context.Context) finding
	// gate marks a check whose failure leaves the rest of its group nothing to
	// look at.
	gate bool
}

// groupTimeout bounds the checks of one service together.
const groupTimeout = 30 * time.Second

// examine makes all checks, those of different services side by side, and then
// those that need both stores.
func (d *doctor) examine(ctx context.Context) diagnosis {
	groups := [][]doctorCheck{d.postgresChecks(), d.redisChecks(), d.appleChecks()}
	findings := make([][]finding, len(groups))
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
	return newDiagnosis(slices.Concat(findings[0], findings[1], queue, findings[2]))
}

// closedGate is the first check of some groups whose failure leaves others nothing
// to look at, or empty.
func closedGate(groups [][]doctorCheck, findings [][]finding) string {
	for i, checks := range groups {
		for j, c := range checks {
			if c.gate && findings[i][j].State == severityFailure {
				return c.name
			}
		}
	}
	return ""
}

// examineGroup makes the checks of a group, unless one before it blocks them.
func examineGroup(ctx context.Context, checks []doctorCheck, blocked string) []finding {
	var findings []finding
	for _, c := range checks {
		f := finding{State: severitySkipped, Text: "see " + phrase.Words(blocked) + " above"}
		if blocked == "" {
			f = c.look(ctx)
		}
		f.Check = c.name
		if c.gate && f.State == severityFailure {
			blocked = c.name
		}
		findings = append(findings, f)
	}
	return findings
}

func newDiagnosis(findings []finding) diagnosis {
	d := diagnosis{State: severityOK, Checks: findings}
	for _, f := range findings {
		switch f.State {
		case severityFailure:
			d.Failures++
		case severityWarning:
			d.Warnings++
		}
	}
	switch {
	case d.Failures > 0:
		d.State = severityFailure
	case d.Warnings > 0:
		d.State = severityWarning
	}
	return d
}

// printDiagnosis prints the result. Its error says that a check failed.
func (p *program) printDiagnosis(d diagnosis) error {
	if err := p.Print(d, d.text); err != nil {
		return err
	}
	if d.Failures > 0 {
		return fmt.Errorf("%d of %d checks failed", d.Failures, len(d.Checks))
	}
	return nil
}

// text is the diagnosis for people: a line for each check, and below it what to
// do.
func (d diagnosis) text(out *terminal.Page) {
	const indent = 27
	colors := map[severity]string{severityOK: terminal.Green, severityWarning: terminal.Yellow, severityFailure: terminal.Red}
	for _, f := range d.Checks {
		state := fmt.Sprintf("%-7s", f.State)
		if color := colors[f.State]; color != "" {
			state = out.Paint(color, state)
		}
		text := terminal.Wrap(indent, strings.Fields(f.Text)...)[indent:]
		if f.Mend != "" {
			text += terminal.Wrap(indent, strings.Fields("-> "+f.Mend)...)
		}
		out.Printf("%s  %-18s%s", state, phrase.Words(f.Check), text)
	}
}

// sound, doubtful and broken are findings.
func sound(format string, args ...any) finding {
	return finding{State: severityOK, Text: fmt.Sprintf(format, args...)}
}

func doubtful(mend, format string, args ...any) finding {
	return finding{State: severityWarning, Text: fmt.Sprintf(format, args...), Mend: mend}
}

func broken(mend, format string, args ...any) finding {
	return finding{State: severityFailure, Text: fmt.Sprintf(format, args...), Mend: mend}
}

// brokenBy is a check that could not be made. Errors of this program say
// themselves what to do.
func brokenBy(err error) finding { return broken("", "%v", err) }

// The difference between two clocks that is worth a word, and the one from
// which workers take each other's tasks for lost: asynq keeps its leases by the
// clocks of the machines. Our own go by the database's.
const (
	skewWarning = 5 * time.Second
	skewFailure = time.Minute
)

// compareClocks compares a service's clock with ours. The answer is taken to have come
// in the middle between before and after.
func compareClocks(service string, theirs, before, after time.Time) finding {
	skew := theirs.Sub(before.Add(after.Sub(before) / 2)).Round(time.Second)
	const mend = "set both clocks by NTP: the queue's leases are compared across machines"
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	switch away := skew.Abs(); {
	case away > skewFailure:
		return broken(mend, "%s is %s this machine by %s", service, direction, away)
	case away > skewWarning:
		return doubtful(mend, "%s is %s this machine by %s", service, direction, away)
	}
	return sound("as on this machine")
}
