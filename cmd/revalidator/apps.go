package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/database"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
)

func (p *program) appsCommand() *cobra.Command {
	apps := &cobra.Command{
		Use:   "apps",
		Short: "Add, change, pause and list the apps whose receipts are kept fresh",
		Example: `  revalidator apps add com.example.reader
  revalidator apps set com.example.reader --rate 25
  revalidator apps list`,
	}
	apps.AddCommand(
		p.appsAddCommand(), p.appsListCommand(), p.appsSetCommand(), p.appsPauseCommand(), p.appsResumeCommand(), p.appsRemoveCommand(),
	)
	return apps
}

// appFlags are the flags of what can be set of an app.
type appFlags struct {
	name  string
	rate  float64
	burst int
	looks lookFlags
}

func (f *appFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "`name` for people")
	c.Flags().Float64Var(&f.rate, "rate", 10, "`number` of calls to Apple per second, in each environment, all workers together")
	c.Flags().IntVar(&f.burst, "burst", 1, "`calls` that may be made at once after a pause")
	f.looks.add(c)
}

func (f *appFlags) validate() error {
	if !(f.rate > 0) || math.IsInf(f.rate, 0) || f.burst < 1 || f.burst > math.MaxInt32 {
		return errors.New("--rate must be more than 0 and --burst at least 1")
	}
	return nil
}

func (p *program) appsAddCommand() *cobra.Command {
	var flags appFlags
	c := &cobra.Command{
		Use:     "add BUNDLE_ID [--name NAME] [--rate NUMBER] ...",
		Short:   "Add an app",
		Example: "  revalidator apps add com.example.reader --name Reader --rate 10",
		Args:    terminal.OneArgument("BUNDLE_ID"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(validateBundleID(args[0]), flags.validate()); err != nil {
				return terminal.Usage(err)
			}
			return p.addApp(c.Context(), apps.App{
				BundleID: args[0], Name: flags.name, RatePerSecond: flags.rate, Burst: flags.burst,
				GraceDays: flags.looks.grace.N, ResubscribeDays: flags.looks.resubscribe.N, SweepDays: flags.looks.sweep.N,
			})
		},
	}
	flags.add(c)
	p.AddJSON(c)
	return c
}

// bundleIDs are what Apple takes for one, and the underscore of old Mac apps.
// https://developer.apple.com/documentation/bundleresources/information-property-list/cfbundleidentifier
var bundleIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,255}$`)

// validateBundleID refuses what no receipt can name: an app of a mistyped id
// would stand there for good, and its receipts be rejected one by one.
func validateBundleID(id string) error {
	if !bundleIDs.MatchString(id) {
		return fmt.Errorf("%q is not a bundle id, which has letters, digits, dots and hyphens only, such as com.example.reader", id)
	}
	return nil
}

func (p *program) addApp(ctx context.Context, app apps.App) error {
	return p.with(ctx, func(parts *parts) error {
		app.CreatedAt, app.Source = parts.clock.Now(), apps.SourceVerifyReceipt
		err := parts.db.AddApp(ctx, app)
		if errors.Is(err, database.ErrConflict) {
			return fmt.Errorf("app %s is there already: see 'revalidator apps list', and 'revalidator apps set' to change it", app.BundleID)
		}
		if err != nil {
			return err
		}
		p.Note("next: revalidator secrets add --app %s", app.BundleID)
		return p.printApp(app, "added app "+app.BundleID)
	}, needDatabase)
}

// printApp prints what a command did to an app, or the app as it is then.
func (p *program) printApp(app apps.App, text string) error {
	return p.Print(app, func(out *terminal.Page) { out.Print(terminal.QuoteLines(text) + "\n") })
}

func (p *program) appsListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "list [--json]",
		Short:   "List the apps",
		Example: "  revalidator apps list\n  revalidator apps list --json | jq -r '.[].bundle_id'",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.with(c.Context(), func(parts *parts) error {
				allApps, err := parts.db.Apps(c.Context())
				if err != nil {
					return err
				}
				if len(allApps) == 0 {
					p.Note("no apps yet: add one with 'revalidator apps add BUNDLE_ID'")
				}
				return terminal.Show(&p.Terminal, append([]apps.App{}, allApps...), appsTable)
			}, needDatabase)
		},
	}
	p.AddJSON(c)
	return c
}

func appsTable(out *terminal.Page, apps []apps.App) {
	if len(apps) == 0 {
		return
	}
	table := out.Annotated(func(i int) string { return strings.Join(appNotes(apps[i]), "; ") }).Cut(0, 1)
	table.Row("BUNDLE ID\tNAME\tRATE\tSTATE")
	for _, a := range apps {
		state := "enabled"
		if a.PausedAt != nil {
			state = "paused"
		}
		table.Row("%s\t%s\t%s/s\t%s", a.BundleID, a.Name, phrase.Rate(a.RatePerSecond), state)
	}
	table.End()
	looksTable(out, apps)
}

// appNotes say what is stopped of an app.
func appNotes(a apps.App) (notes []string) {
	if a.PausedAt != nil {
		notes = append(notes, pausedText(a))
	}
	if a.QuarantineStoppedAt != nil && a.QuarantineStoppedFor != nil {
		notes = append(notes, fmt.Sprintf("quarantining stopped since %s: too many receipts had the failure %q", phrase.Time(*a.QuarantineStoppedAt), phrase.Words(*a.QuarantineStoppedFor)))
	}
	return notes
}

// pausedText says since when an app is paused, and why.
func pausedText(a apps.App) string {
	return fmt.Sprintf("since %s: %s", phrase.Time(*a.PausedAt), apps.PauseReason(a.PausedCode, a.PausedText))
}
