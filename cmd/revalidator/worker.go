package main

import (
	"github.com/spf13/cobra"
)

func (p *program) workerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "worker",
		Short: "Ask Apple about the receipts on the queue, and store the answers",
		Long: `Take receipts from the queue, ask Apple about each within the rate of its app,
and store the answers. Run as many as you like: they share the rate. A worker
that is stopped finishes what it has asked and gives the rest back.`,
		Example: "  revalidator worker\n  REVALIDATOR_METRICS_ADDR=:9090 revalidator worker",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			parts, err := p.open(c.Context(), needKeys, needDatabase, needRedis)
			if err != nil {
				return err
			}
			defer parts.close()
			if err := parts.keysFitAll(c.Context()); err != nil {
				return err
			}
			reg := parts.registry()
			w, err := parts.worker(reg)
			if err != nil {
				return err
			}
			parts.log.Info("worker started", "concurrency", parts.cfg.Worker.Concurrency)
			defer parts.log.Info("worker stopped")
			return parts.beside(c.Context(), reg, w.Run)
		},
	}
}
