package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/terminal"
	"revalidator/worker"
)

func (p *program) secretsVerifyCommand() *cobra.Command {
	var app string
	c := &cobra.Command{
		Use:   "verify [--app BUNDLE_ID] [--json]",
		Short: "Verify which of the shared secrets Apple accepts",
		Long: `Check a stored receipt with each secret, within the rate of the app, and store
whether Apple accepts the secret. Receipts that show a subscription are
preferred, because Apple reads the secret for those; the receipt itself stays as
it is. An app that is paused because of its secrets is resumed when one is
accepted.

Results:
  accepted   Apple accepts it
  refused    Apple refuses it (status 21004)
  unproven   Apple replied, and did not need the secret for that
  not asked  there is no receipt to check with, or Apple did not respond

Exit code 3 says that an app has no secret that is accepted or unproven.`,
		Example: "  revalidator secrets verify\n  revalidator secrets verify --app com.example.reader",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.with(c.Context(), func(parts *parts) error {
				return p.verifySecrets(c.Context(), parts, app)
			}, needKeys, needDatabase, needRedis)
		},
	}
	c.Flags().StringVar(&app, "app", "", "only the secrets of this app, by `bundle id`")
	p.AddJSON(c)
	return c
}

// appVerdict is what Apple says of the secrets of one app.
type appVerdict struct {
	App     string          `json:"bundle_id"`
	Secrets []secretVerdict `json:"secrets"`
	// Error is why Apple could not be asked, with all of them or from one on.
	Error   string `json:"error,omitempty"`
	Resumed bool   `json:"resumed"`
}

type secretVerdict struct {
	ID     int64  `json:"id"`
	Result string `json:"result"`
}

func (p *program) verifySecrets(ctx context.Context, parts *parts, only string) error {
	apps, err := parts.db.Apps(ctx)
	if err != nil {
		return err
	}
	w, err := parts.worker(nil)
	if err != nil {
		return err
	}
	verdicts, good := []appVerdict{}, 0
	for _, a := range apps {
		if only != "" && only != a.BundleID {
			continue
		}
		v, isGood, err := verifyApp(ctx, parts, w, a)
		if err != nil {
			return err
		}
		verdicts = append(verdicts, v)
		if isGood {
			good++
		}
	}
	switch {
	case len(apps) == 0:
		p.Note("no apps yet: add one with 'revalidator apps add BUNDLE_ID'")
	case len(verdicts) == 0:
		return fmt.Errorf("no app %s: see 'revalidator apps list'", only)
	}
	if err := p.Print(verdicts, func(out *terminal.Page) { verdictsTable(out, verdicts) }); err != nil {
		return err
	}
	if bad := len(verdicts) - good; bad > 0 {
		return terminal.Failures(fmt.Errorf("%d of %d apps have no shared secret that Apple accepts, as far as it could be asked", bad, len(verdicts)))
	}
	return nil
}

// verifyApp asks with each secret of an app; good is whether one of them is not
// refused. An app that it is good for is put back to work.
func verifyApp(ctx context.Context, parts *parts, w *worker.Worker, a apps.App) (v appVerdict, good bool, err error) {
	v = appVerdict{App: a.BundleID, Secrets: []secretVerdict{}}
	for said, err := range w.VerifySecrets(ctx, a) {
		if err != nil && ctx.Err() != nil {
			return v, false, ctx.Err()
		}
		if err != nil {
			v.Error = verifyTrouble(err)
		}
		if said.ID != 0 {
			v.Secrets = append(v.Secrets, secretVerdict{said.ID, verdictWord(said.Said)})
		}
		good = good || said.Said == apps.SecretAccepted || said.Said == apps.SecretNew
	}
	if len(v.Secrets) == 0 && v.Error == "" {
		v.Error = "no shared secret, see 'revalidator secrets add'"
	}
	if good {
		v.Resumed, err = parts.db.ResumeForSecret(ctx, a.BundleID)
	}
	return v, good, err
}

func verifyTrouble(err error) string {
	if errors.Is(err, worker.ErrNoReceipt) {
		return "no receipt to ask with, see 'revalidator import'"
	}
	return err.Error()
}

func verdictWord(said apps.SecretState) string {
	switch said {
	case apps.SecretNew:
		return "unproven"
	case "":
		return "not_asked"
	}
	return string(said)
}

func verdictsTable(out *terminal.Page, verdicts []appVerdict) {
	table := out.Table().Cut(0)
	for _, v := range verdicts {
		for _, s := range v.Secrets {
			result := s.Result
			if result == "not_asked" {
				result = "not asked"
			}
			table.Row("%s\tsecret %d\t%s", v.App, s.ID, result)
		}
		if v.Error != "" {
			table.Row("%s: %s", v.App, v.Error)
		}
		if v.Resumed {
			table.Row("%s is resumed", v.App)
		}
	}
	table.End()
}
