package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"revalidator/internal/intake"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
)

func (p *program) importCommand() *cobra.Command {
	var format, rejects string
	c := &cobra.Command{
		Use:   "import FILE|- [--format FORMAT] [--rejects FILE] [--json]",
		Short: "Import receipts from a file or standard input",
		Long: `Import receipts, one a line, as NDJSON or CSV:

  {"bundle_id":"com.example.reader","customer_ref":"42","receipt":"MIIT..."}

  bundle_id,customer_ref,receipt
  com.example.reader,42,MIIT...

The receipt is base64, as the app hands it over. What transports do to it is
undone: line breaks, the URL alphabet, wrong padding, spaces in the place of +,
PEM, UTF-16, URL encoding, escapes, a JSON body, Postgres' \x of a bytea.

A line may have signed_transaction, a JWS of StoreKit 2, in the place of
receipt. It is verified at once. The signatures of receipts are verified, too:
those that do not verify are marked, or refused with
REVALIDATOR_REFUSE_UNVERIFIED.

The same receipt again is known already and changes nothing, so an import that
was interrupted is simply started again. A line that cannot be imported goes to
the rejects file with its number, the reason and what it held, and the import
goes on. Correct the rejects file and import it.

Exit code 3 says that it is done and some lines were rejected.`,
		Example: "  revalidator import receipts.ndjson\n  psql -c \"COPY (...) TO STDOUT CSV HEADER\" | revalidator import -",
		Args:    terminal.OneArgument("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			f := intake.Format(format)
			if err := f.Validate(); err != nil {
				return terminal.Usage(fmt.Errorf("--format: %w", err))
			}
			if f == "" {
				f = intake.FormatOf(args[0])
			}
			return p.importFile(c.Context(), args[0], f, rejects)
		},
	}
	p.AddJSON(c)
	c.Flags().StringVar(&format, "format", "", "`format`: ndjson or csv (default: by the file's name, else by its first byte)")
	c.Flags().StringVar(&rejects, "rejects", "", "write rejected lines to `file` (default: FILE.rejects.ndjson)")
	return c
}

func (p *program) importFile(ctx context.Context, name string, format intake.Format, rejectsName string) error {
	rejects, err := terminal.RejectsFile(rejectsName, name)
	if err != nil {
		return err
	}
	input, size, err := p.OpenInput(ctx, name)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer func() { _ = input.Close() }()
	return p.with(ctx, func(parts *parts) error {
		hasApp, err := parts.apps(ctx)
		if err != nil {
			return err
		}
		verifiers, err := parts.verifiers()
		if err != nil {
			return err
		}
		progress, endProgress := p.importProgress(parts.log, size, time.Now)
		result, err := intake.Run(ctx, input, format, intake.Config{
			Store: parts.db, HasApp: hasApp, Rejects: rejects, Now: parts.clock.AppleTime,
			Progress: progress, Verifier: verifiers, RefuseUnverified: parts.cfg.Apple.RefuseUnverified,
		})
		endProgress()
		err = errors.Join(err, rejects.Close())
		if err == nil || result.Lines > 0 {
			summary := intake.NewSummary(result, rejects.Name, err == nil)
			err = errors.Join(err, terminal.Show(&p.Terminal, summary, importText))
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("import interrupted after line %d: import the file again for the rest; what is stored already stays as it is", result.LastLine)
		case err != nil:
			return err
		case result.Lines == 0:
			p.Note("there was nothing to import in %s", name)
		case result.Rejected > 0:
			return terminal.Failures(fmt.Errorf("%d of %d lines were rejected: see %s", result.Rejected, result.Lines, rejects.Name))
		}
		return nil
	}, needDatabase)
}

// apps reports which apps there are now.
func (s *parts) apps(ctx context.Context) (func(bundleID string) bool, error) {
	apps, err := s.db.Apps(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool, len(apps))
	for _, a := range apps {
		known[a.BundleID] = true
	}
	return func(bundleID string) bool { return known[bundleID] }, nil
}

func importText(out *terminal.Page, r intake.Summary) {
	table := out.Figures()
	row := func(n int64, what string) { table.Row("  %d\t %s", n, what) }
	row(r.Added, "receipts added, due at once")
	row(r.Known, "known already")
	row(r.Rejected, "rejected")
	if r.Unverified > 0 {
		row(r.Unverified, "without a verified signature, see 'revalidator check'")
	}
	if r.Xcode > 0 {
		row(r.Xcode, "of Xcode's StoreKit testing, which are never checked")
	}
	table.End()
	for _, reason := range slices.Sorted(maps.Keys(r.RejectedByReason)) {
		out.Printf("      %d %s\n", r.RejectedByReason[reason], phrase.Words(string(reason)))
	}
}
