package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/keyring"
	"revalidator/internal/ledger"
	"revalidator/internal/terminal"
)

func (p *program) secretsListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list [--json]",
		Short: "List the shared secrets, without showing them",
		Long: `List the shared secrets: which app each is good for, and what Apple said of it
last. A fingerprint tells two secrets apart and gives neither away.

States:
  new       Apple was not asked with it yet
  accepted  Apple accepted it last
  refused   Apple refused it last; it is tried after all others
  retired   not used any more

With REVALIDATOR_KEYS set, it also says which secrets these keys do not open.`,
		Example: "  revalidator secrets list\n  revalidator secrets list --json | jq '.[] | select(.state == \"refused\")'",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			parts, err := p.open(c.Context(), needDatabase)
			if err != nil {
				return err
			}
			defer parts.close()
			return p.listSecrets(c.Context(), parts)
		},
	}
	p.AddJSON(c)
	return c
}

// secretReport is what is told of a secret.
type secretReport struct {
	ID   int64  `json:"id"`
	Kind string `json:"kind"` // app_specific or primary
	// App is null for a primary secret.
	App          *string            `json:"bundle_id"`
	State        ledger.SecretState `json:"state"`
	Fingerprint  string             `json:"fingerprint"`
	KeyID        string             `json:"key_id"`
	CreatedAt    time.Time          `json:"created_at"`
	LastAccepted *time.Time         `json:"last_accepted"`
	LastRefused  *time.Time         `json:"last_refused"`
	// Readable is whether the keys open it, null where no keys are set.
	Readable *bool `json:"readable"`
}

func newSecretReport(s ledger.SharedSecret, keys *keyring.Ring) secretReport {
	r := secretReport{
		ID: s.ID, Kind: secretKind(s), State: s.State, Fingerprint: s.Fingerprint, KeyID: s.KeyID,
		CreatedAt: s.CreatedAt.UTC(), LastAccepted: inUTC(s.LastAccepted), LastRefused: inUTC(s.LastRefused),
	}
	if s.BundleID != "" {
		r.App = &s.BundleID
	}
	if keys != nil {
		_, err := keys.Open(s.Ciphertext, s.Row())
		readable := err == nil
		r.Readable = &readable
	}
	return r
}

func secretKind(s ledger.SharedSecret) string {
	if s.BundleID == "" {
		return "primary"
	}
	return "app_specific"
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
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
	secrets := make([]secretReport, len(rows))
	for i, row := range rows {
		secrets[i] = newSecretReport(row, parts.keys)
	}
	if len(secrets) == 0 {
		p.Note("no shared secrets yet: add one with 'revalidator secrets add'")
	}
	return p.Print(secrets, func(out *terminal.Page) { secretsTable(out, secrets, parts.now()) })
}

func secretsTable(out *terminal.Page, secrets []secretReport, now time.Time) {
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
