package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/report"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) explainCommand() *cobra.Command {
	var as, app string
	c := &cobra.Command{
		Use:   "explain ID [flags]",
		Short: "Say why a receipt, customer or subscription is as it is",
		Long: `Say why a receipt, a customer or a subscription is as it is: the last check and
its result, when it is checked next and by which rule, which events led here,
and what prevents the next check. Apple is not called; 'revalidator check' does
that.

ID is the id of a receipt, a customer reference, a transaction id of a
subscription or purchase (the original one, the current one, or any that an
event names), or the web order line item of a subscription's period. Where it is
the id of several things, they are listed; --as and --app choose.`,
		Example: `  revalidator explain 42
  revalidator explain customer-7 --app com.example.reader
  revalidator explain 400000000000000 --as transaction`,
		Args: terminal.OneArgument("ID, of a receipt, customer or transaction,"),
		RunE: func(c *cobra.Command, args []string) error {
			kind := repository.MatchKind(as)
			if as != "" {
				kinds := []repository.MatchKind{repository.MatchReceipt, repository.MatchCustomer, repository.MatchTransaction, repository.MatchWebOrder}
				if _, err := terminal.OneOf("--as", []string{as}, kinds); err != nil {
					return terminal.Usage(err)
				}
			}
			return p.explain(c.Context(), args[0], kind, app)
		},
	}
	c.Flags().StringVar(&as, "as", "", "the `kind` of what the argument is the id of: receipt, customer, transaction or web_order")
	c.Flags().StringVar(&app, "app", "", "only of the app with the `bundle id`")
	p.AddJSON(c)
	return c
}

// budgetsTimeout bounds a look that an explanation can do without.
const budgetsTimeout = 2 * time.Second

func (p *program) explain(ctx context.Context, id string, kind repository.MatchKind, app string) error {
	return p.with(ctx, func(parts *parts) error {
		if err := parts.knowsApps(ctx, app); err != nil {
			return err
		}
		subject, err := report.SubjectOf(ctx, parts.db, id, kind, app)
		if ambiguous := new(report.AmbiguousError); errors.As(err, &ambiguous) {
			return terminal.Usage(err)
		}
		if err != nil {
			return err
		}
		e, err := report.ReadExplanation(ctx, parts.db, id, subject, parts.clock.Now())
		if err != nil {
			return err
		}
		budgets, err := parts.readBudgets(ctx)
		if err != nil {
			p.Note("redis does not answer, so it is unknown whether calls to Apple are slowed down now: %v", err)
		}
		e.AddBudgets(budgets)
		return p.Print(e, func(out *terminal.Page) { explanationText(out, e, parts.clock.AppleTime()) })
	}, needDatabase)
}

// readBudgets reads of which apps Apple is asked less, or nothing.
func (s *parts) readBudgets(ctx context.Context) ([]report.Budget, error) {
	ctx, cancel := context.WithTimeout(ctx, budgetsTimeout)
	defer cancel()
	if err := s.openRedis(ctx); err != nil {
		return nil, err
	}
	limiter, err := s.limiter()
	if err != nil {
		return nil, err
	}
	return report.ReadBudgets(ctx, limiter)
}
