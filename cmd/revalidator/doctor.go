package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/config"
	"revalidator/internal/keyring"
	"revalidator/internal/phrase"
	"revalidator/internal/report"
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
responds. It changes nothing, and continues when Postgres or Redis is away.

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
			parts := &parts{cfg: cfg, log: p.logger(cfg.Log)}
			defer parts.close()
			diagnosis := parts.doctor(offline).Examine(c.Context())
			if err := c.Context().Err(); err != nil {
				return err // what was broken off is no finding
			}
			if err := terminal.Show(&p.Terminal, diagnosis, diagnosisText); err != nil {
				return err
			}
			if diagnosis.Failures > 0 {
				return fmt.Errorf("%d of %d checks failed", diagnosis.Failures, len(diagnosis.Checks))
			}
			return nil
		},
	}
	p.AddJSON(c)
	c.Flags().BoolVar(&offline, "offline", false, "do not call Apple")
	return c
}

// doctor examines the set-up, and opens the parts of it as it comes to them.
func (s *parts) doctor(offline bool) *report.Doctor {
	var weaknesses []report.Weakness
	for _, w := range s.cfg.Weaknesses() {
		weaknesses = append(weaknesses, report.Weakness(w))
	}
	return &report.Doctor{
		Weaknesses: weaknesses,
		OpenPostgres: func(ctx context.Context) (report.PostgresDoctorStore, error) {
			err := s.openDatabase(ctx, true)
			return s.db, err
		},
		OpenRedis: func(ctx context.Context) (report.RedisDoctorStore, error) {
			err := s.openRedis(ctx)
			return s.redis, err
		},
		OpenKeys: func() (*keyring.Ring, error) {
			err := s.openKeys()
			return s.keys, err
		},
		OpenQueue: s.queueReader, ReadInstallation: s.readInstallation, Schedule: s.schedule,
		ReadClocks: s.readClocks, Shared: s.clock.Now, Dates: s.clock.AppleTime, Machine: time.Now,
		SecretAge: s.cfg.Keys.SecretAge, ClaimLease: s.cfg.Queue.ClaimLease,
		ProductionURL: s.cfg.Apple.ProductionURL, SandboxURL: s.cfg.Apple.SandboxURL, Offline: offline,
	}
}

// diagnosisText is the diagnosis for people: a line for each check, and below it what to
// do.
func diagnosisText(out *terminal.Page, d report.Diagnosis) {
	const indent = 27
	colors := map[report.Severity]string{report.OK: terminal.Green, report.Warning: terminal.Yellow, report.Failure: terminal.Red}
	for _, f := range d.Checks {
		state := fmt.Sprintf("%-7s", f.State)
		if color := colors[f.State]; color != "" {
			state = out.Paint(color, state)
		}
		text := terminal.Wrap(indent, strings.Fields(f.Text)...)[indent:]
		if f.Fix != "" {
			text += terminal.Wrap(indent, strings.Fields("-> "+f.Fix)...)
		}
		out.Printf("%s  %-18s%s", state, phrase.Words(f.Check), text)
	}
}
