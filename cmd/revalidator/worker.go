package main

import (
	"context"

	"revalidator/internal/terminal"

	"github.com/spf13/cobra"
)

func (p *program) workerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "worker",
		Short: "Check the receipts on the queue with Apple, and store the results",
		Long: `Take receipts from the queue, check each within the rate of its app, and store
the results. Run as many as you like: they share the rate. A worker that is
stopped finishes the checks that it has begun and releases the rest. It waits
for Postgres and Redis when it is started before them (REVALIDATOR_START_WAIT),
and refuses a Redis that holds the queue of another database.`,
		Example: "  revalidator worker\n  REVALIDATOR_METRICS_ADDR=:9090 revalidator worker",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			parts, err := p.openService(true)
			if err != nil {
				return err
			}
			defer parts.close()
			parts.boundMemory()
			reg, err := parts.registry()
			if err != nil {
				return err
			}
			w, err := parts.worker(reg)
			if err != nil {
				return err
			}
			return parts.beside(c.Context(), reg, w.Alive, func(ctx context.Context) error {
				if err := parts.await(ctx, true); err != nil {
					return err
				}
				if err := parts.keysFitAll(ctx); err != nil {
					return err
				}
				parts.log.Info("worker started", "concurrency", parts.cfg.Worker.Concurrency)
				defer parts.log.Info("worker stopped")
				return w.Run(ctx)
			})
		},
	}
}
