package main

import (
	"context"

	"github.com/spf13/cobra"

	"revalidator/internal/terminal"
	"revalidator/jobs"
)

func (p *program) schedulerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "scheduler",
		Short: "Open a run at each slot of the schedule, and feed the workers",
		Long: `Open the nightly run at each slot of REVALIDATOR_SCHEDULE, and keep the queue
filled until everything that was due is done. Run as many as you like: each slot
is opened once, a slot that was missed while all were down is caught up, and
the run of a scheduler that died is taken over. It waits for Postgres and Redis
when it is started before them (REVALIDATOR_START_WAIT), and refuses a Redis
that holds the queue of another database.`,
		Example: `  revalidator scheduler
  REVALIDATOR_SCHEDULE="30 3 * * *" REVALIDATOR_TIME_ZONE=Europe/Berlin \
    revalidator scheduler`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			parts, err := p.openService(false)
			if err != nil {
				return err
			}
			defer parts.close()
			reg, err := parts.registry()
			if err != nil {
				return err
			}
			s, err := parts.scheduler(reg, jobs.KindScheduler)
			if err != nil {
				return err
			}
			return parts.beside(c.Context(), reg, s.Alive, func(ctx context.Context) error {
				if err := parts.await(ctx, true); err != nil {
					return err
				}
				parts.log.Info("scheduler started", "schedule", parts.cfg.Schedule.Cron, "time_zone", parts.cfg.Schedule.TimeZone.String())
				defer parts.log.Info("scheduler stopped")
				return s.Run(ctx)
			})
		},
	}
}
