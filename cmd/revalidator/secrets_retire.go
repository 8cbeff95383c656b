package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"revalidator/internal/database"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

func (p *program) secretsRetireCommand() *cobra.Command {
	var yes bool
	c := p.secretCommand(&cobra.Command{
		Use:   "retire ID [--yes] [--json]",
		Short: "Stop using a shared secret, and keep what is known of it",
		Long: `Take a shared secret out of use, such as the old one after a new one was
generated in App Store Connect. Workers stop using it within seconds. To use it
again, remove it and add it again.

It asks first where it is the last secret of an app that Apple accepted: without
a proven one, nothing of that app can be checked.`,
		Example: "  revalidator secrets list\n  revalidator secrets retire 3",
	}, "retired", func(db *repository.DB, ctx context.Context, id int64) (bool, error) {
		apps, err := db.LastAcceptedFor(ctx, id)
		if err == nil && len(apps) > 0 && !yes {
			err = p.Confirm(ctx, fmt.Sprintf("Apple accepts no other secret for %s yet. Retire it all the same?", phrase.List(apps)), "retire it", "retired")
		}
		if err != nil {
			return false, err
		}
		return db.RetireSharedSecret(ctx, id)
	})
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	return c
}

func (p *program) secretsRemoveCommand() *cobra.Command {
	return p.secretCommand(&cobra.Command{
		Use:   "remove ID [--json]",
		Short: "Delete a shared secret",
		Long: `Delete a shared secret from the database: one that was entered for the wrong
app, or that cannot be opened any more because its key is lost. It needs no
keys. The secret itself stays in App Store Connect, to be added again.`,
		Example: "  revalidator secrets list\n  revalidator secrets remove 3",
	}, "removed", (*repository.DB).RemoveSharedSecret)
}

// secretCommand makes a command that does something to one secret.
func (p *program) secretCommand(c *cobra.Command, done string, do func(*repository.DB, context.Context, int64) (bool, error)) *cobra.Command {
	c.Args = terminal.OneArgument("ID of a secret")
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || id < 1 {
			// What was given may be a secret: it is not repeated.
			return terminal.Usage(errors.New("the ID of a secret is a number: see 'revalidator secrets list'"))
		}
		return p.with(c.Context(), func(parts *parts) error {
			return p.changeSecret(c.Context(), parts.db, id, done, do)
		}, needDatabase)
	}
	p.AddJSON(c)
	return c
}

func (p *program) changeSecret(ctx context.Context, db *repository.DB, id int64, done string, do func(*repository.DB, context.Context, int64) (bool, error)) error {
	row, err := db.SharedSecret(ctx, id)
	if errors.Is(err, database.ErrNotFound) {
		return fmt.Errorf("no shared secret %d: see 'revalidator secrets list'", id)
	}
	if err != nil {
		return err
	}
	if _, err := do(db, ctx, id); err != nil {
		return err
	}
	if err := p.noteLeftWithout(ctx, db, row.BundleID); err != nil {
		return err
	}
	report := struct {
		ID     int64  `json:"id"`
		Result string `json:"result"`
	}{id, done}
	return p.PrintLine(report, "%s shared secret %d", done, id)
}

// noteLeftWithout warns of apps that have no secret left of those that one of
// app, or with an empty app of all, was good for.
func (p *program) noteLeftWithout(ctx context.Context, db *repository.DB, app string) error {
	apps, err := db.Apps(ctx)
	if err != nil {
		return err
	}
	for _, a := range apps {
		if app != "" && app != a.BundleID {
			continue
		}
		left, err := db.SharedSecrets(ctx, a.BundleID)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			fmt.Fprintf(p.Err, "warning: %s has no shared secret left,\n"+
				"and is paused until it has: revalidator secrets add --app %s\n", a.BundleID, a.BundleID)
		}
	}
	return nil
}
