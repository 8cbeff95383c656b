package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/database"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// changeApp changes an app in the database, and prints what came of it.
func (p *program) changeApp(ctx context.Context, bundleID string, change func(*repository.DB) (apps.App, string, error)) error {
	return p.with(ctx, func(parts *parts) error {
		app, text, err := change(parts.db)
		if errors.Is(err, database.ErrNotFound) {
			return fmt.Errorf("no app %s: see 'revalidator apps list', or add it with 'revalidator apps add'", bundleID)
		}
		if err != nil {
			return err
		}
		return p.printApp(app, text)
	}, needDatabase)
}

func (p *program) appsSetCommand() *cobra.Command {
	var flags appFlags
	c := &cobra.Command{
		Use:   "set BUNDLE_ID [--name NAME] [--rate NUMBER] ...",
		Short: "Change the rate of an app, its name, or when its receipts are due",
		Long: `Change what the flags name and leave the rest as it is. A new rate is kept from
the next receipts on, also in a run that is running. The flags in days change
when a receipt is checked, from its next check on.`,
		Example: `  revalidator apps set com.example.reader --rate 25 --burst 5
  revalidator apps set com.example.reader --resubscribe-days 180
  revalidator apps set com.example.reader --resubscribe-days default`,
		Args: terminal.OneArgument("BUNDLE_ID"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := flags.validate(); err != nil {
				return terminal.Usage(err)
			}
			change := flags.change(c)
			if change == (repository.AppChange{}) {
				return terminal.Usage(errors.New("nothing to change: give --rate, --burst, --name, --grace-days, --resubscribe-days or --sweep-days"))
			}
			return p.changeApp(c.Context(), args[0], func(db *repository.DB) (apps.App, string, error) {
				app, err := db.ChangeApp(c.Context(), args[0], change)
				return app, fmt.Sprintf("app %s: rate %g/s, burst %d, name %q%s", app.BundleID, app.RatePerSecond, app.Burst, app.Name, looksText(app)), err
			})
		},
	}
	flags.add(c)
	// What is not given stays as it is: the defaults are those of a new app.
	for _, name := range []string{"rate", "burst"} {
		c.Flags().Lookup(name).DefValue = "0"
	}
	p.AddJSON(c)
	return c
}

// change holds the flags that were given.
func (f *appFlags) change(c *cobra.Command) repository.AppChange {
	var change repository.AppChange
	if c.Flags().Changed("name") {
		change.Name = &f.name
	}
	if c.Flags().Changed("rate") {
		change.RatePerSecond = &f.rate
	}
	if c.Flags().Changed("burst") {
		change.Burst = &f.burst
	}
	change.GraceDays, change.ResubscribeDays, change.SweepDays = f.looks.grace.Change(), f.looks.resubscribe.Change(), f.looks.sweep.Change()
	return change
}

func (p *program) appsPauseCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "pause BUNDLE_ID --reason TEXT [--json]",
		Short: "Stop all work on an app until it is resumed",
		Long: `Stop all work on an app. Its tasks on the queue are released, none of its
receipts is checked any more, and they stay due. An app that a person paused is
resumed by 'revalidator apps resume' only; one that the program paused, because
Apple refuses every secret of the app, is resumed by a new secret too.`,
		Example: "  revalidator apps pause com.example.reader --reason 'moving to another team'",
		Args:    terminal.OneArgument("BUNDLE_ID"),
		RunE: func(c *cobra.Command, args []string) error {
			if reason = strings.Join(strings.Fields(reason), " "); reason == "" {
				return terminal.Usage(errors.New("--reason is missing: whoever finds the app paused will want to know"))
			}
			return p.changeApp(c.Context(), args[0], func(db *repository.DB) (apps.App, string, error) {
				now, err := db.Time(c.Context())
				if err != nil {
					return apps.App{}, "", err
				}
				app, err := db.HoldApp(c.Context(), args[0], reason, now)
				return app, "paused app " + app.BundleID, err
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, as a `text` for whoever finds the app paused")
	p.AddJSON(c)
	return c
}

func (p *program) appsResumeCommand() *cobra.Command {
	var quarantine bool
	c := &cobra.Command{
		Use:   "resume BUNDLE_ID [--quarantine] [--json]",
		Short: "Resume a paused app, or its quarantining",
		Long: `Put a paused app back to work. Its receipts are due and come with the next run,
or with one that is running and still has them.

With --quarantine, resume the app's quarantining instead, which stops where too
many good receipts have the same failure within a day: receipts that fail so are
quarantined then, as often as that takes. That holds for this failure, until so
few have it that nothing is unusual for a day. See docs/quarantine.md.`,
		Example: `  revalidator apps resume com.example.reader
  revalidator apps resume com.example.reader --quarantine`,
		Args: terminal.OneArgument("BUNDLE_ID"),
		RunE: func(c *cobra.Command, args []string) error {
			return p.changeApp(c.Context(), args[0], func(db *repository.DB) (apps.App, string, error) {
				if quarantine {
					return resumeQuarantine(c.Context(), db, args[0])
				}
				return resumeApp(c.Context(), db, args[0])
			})
		},
	}
	c.Flags().BoolVar(&quarantine, "quarantine", false, "resume quarantining, and leave a pause as it is")
	p.AddJSON(c)
	return c
}

func resumeApp(ctx context.Context, db *repository.DB, bundleID string) (apps.App, string, error) {
	resumed, err := db.ResumeApp(ctx, bundleID)
	if err != nil {
		return apps.App{}, "", err
	}
	text := fmt.Sprintf("app %s resumed", bundleID)
	if !resumed {
		text = fmt.Sprintf("app %s is not paused", bundleID)
	}
	app, err := db.App(ctx, bundleID)
	return app, text, err
}

func resumeQuarantine(ctx context.Context, db *repository.DB, bundleID string) (apps.App, string, error) {
	before, err := db.App(ctx, bundleID)
	if err != nil {
		return apps.App{}, "", err
	}
	now, err := db.Time(ctx)
	if err != nil {
		return apps.App{}, "", err
	}
	resumed, err := db.ResumeQuarantine(ctx, bundleID, now)
	if err != nil {
		return apps.App{}, "", err
	}
	text := fmt.Sprintf("quarantining of app %s is not stopped", bundleID)
	if resumed && before.QuarantineStoppedFor != nil {
		text = fmt.Sprintf("quarantining of app %s is resumed for %s", bundleID, phrase.Words(*before.QuarantineStoppedFor))
	}
	app, err := db.App(ctx, bundleID)
	return app, text, err
}
