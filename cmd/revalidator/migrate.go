package main

import (
	"context"

	"revalidator/internal/terminal"

	"github.com/spf13/cobra"
)

func (p *program) migrateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "migrate [--json]",
		Short: "Create the tables, or bring them to this program's version",
		Long: `Bring the database's schema to the version that this program needs. It is safe
to run again, and to run while workers of the version before are running.`,
		Example: "  DATABASE_URL=postgres://localhost/revalidator revalidator migrate",
		Args:    terminal.NoArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return p.migrate(c.Context()) },
	}
	p.AddJSON(c)
	return c
}

// migrationReport is the result of the migration.
type migrationReport struct {
	// Applied are the names of the steps that were taken, in order.
	Applied []string `json:"applied"`
	Version int64    `json:"version"`
}

func (p *program) migrate(ctx context.Context) error {
	return p.with(ctx, func(parts *parts) error {
		steps, err := parts.db.Migrate(ctx)
		if err != nil {
			return err
		}
		r := migrationReport{Applied: []string{}}
		for _, step := range steps {
			r.Applied = append(r.Applied, step.Name)
		}
		if r.Version, err = parts.schema(ctx); err != nil {
			return err
		}
		return p.Print(r, r.text)
	}, needNewDatabase)
}

func (r migrationReport) text(out *terminal.Page) {
	for _, name := range r.Applied {
		out.Printf("applied %s\n", name)
	}
	out.Printf("schema is at version %d\n", r.Version)
}
