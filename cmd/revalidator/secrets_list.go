package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/report"
	"revalidator/internal/terminal"
)

func (p *program) secretsListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list [--json]",
		Short: "List the shared secrets, without showing them",
		Long: `List the shared secrets: which app each is good for, and what Apple said of it
last. A fingerprint distinguishes two secrets without revealing them.

States:
  new       Apple was not asked with it yet
  accepted  Apple accepted it last
  refused   Apple refused it last; it is tried after all others
  retired   not used any more

With REVALIDATOR_KEYS set, it also says which secrets these keys do not open.`,
		Example: "  revalidator secrets list\n  revalidator secrets list --json | jq '.[] | select(.state == \"refused\")'",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.with(c.Context(), func(parts *parts) error {
				return p.listSecrets(c.Context(), parts)
			}, needDatabase)
		},
	}
	p.AddJSON(c)
	return c
}

func (p *program) listSecrets(ctx context.Context, parts *parts) error {
	if !parts.cfg.Keys.Keyset.IsZero() {
		if err := parts.open(ctx, needKeys); err != nil {
			return err
		}
	}
	rows, err := parts.db.AllSharedSecrets(ctx)
	if err != nil {
		return err
	}
	secrets := make([]report.Secret, len(rows))
	for i, row := range rows {
		secrets[i] = report.NewSecret(row, parts.keys)
	}
	if len(secrets) == 0 {
		p.Note("no shared secrets yet: add one with 'revalidator secrets add'")
	}
	return p.Print(secrets, func(out *terminal.Page) { secretsTable(out, secrets, parts.clock.Now()) })
}

func secretsTable(out *terminal.Page, secrets []report.Secret, now time.Time) {
	if len(secrets) == 0 {
		return
	}
	table := out.Table()
	table.Row("ID\tGOOD FOR\tSTATE\tADDED\tACCEPTED\tREFUSED\tFINGERPRINT")
	for _, s := range secrets {
		goodFor, state := "all apps (primary)", string(s.State)
		if s.App != nil {
			goodFor = terminal.Short(*s.App, 20)
		}
		if s.Readable != nil && !*s.Readable {
			state = "unreadable"
		}
		table.Row("%d\t%s\t%s\t%s\t%s\t%s\t%s", s.ID, goodFor, state,
			shortAgo(&s.CreatedAt, now), shortAgo(s.LastAccepted, now), shortAgo(s.LastRefused, now), s.Fingerprint)
	}
	table.End()
}

// shortAgo is how long ago something was, in a column of a table.
func shortAgo(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	const day = 24 * time.Hour
	switch ago := max(now.Sub(*t), 0); {
	case ago < time.Hour:
		return fmt.Sprintf("%dm ago", ago/time.Minute)
	case ago < 2*day:
		return fmt.Sprintf("%dh ago", ago/time.Hour)
	default:
		return fmt.Sprintf("%dd ago", ago/day)
	}
}
