package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/database"
	"revalidator/internal/report"
	"revalidator/internal/secret"
	"revalidator/internal/terminal"
)

func (p *program) secretsCommand() *cobra.Command {
	secrets := &cobra.Command{
		Use:     "secrets",
		Short:   "Enter, list and verify the shared secrets from App Store Connect",
		Example: "  revalidator secrets add --app com.example.reader\n  revalidator secrets list",
	}
	secrets.AddCommand(
		p.secretsAddCommand(), p.secretsListCommand(), p.secretsVerifyCommand(),
		p.secretsRetireCommand(), p.secretsRemoveCommand(),
	)
	return secrets
}

func (p *program) secretsAddCommand() *cobra.Command {
	var app, file string
	var primary bool
	c := &cobra.Command{
		Use:   "add (--app BUNDLE_ID | --primary) [--file FILE|-] [--json]",
		Short: "Add a shared secret, from a prompt, a file or a pipe",
		Long: `Add a shared secret. A terminal prompts for it without echo; otherwise it is
read from a file (- is standard input). It is stored encrypted, and never taken
from the command line, which every user of the machine can read and which stays
in the history of the shell.

An app-specific secret (--app) is good for one app, and moves with it to another
team. A primary secret (--primary) is good for every app of the team.

An app that is paused because Apple accepts none of its secrets is resumed once
a worker has checked a receipt with the new one, which takes seconds.`,
		Example: `  revalidator secrets add --app com.example.reader
  revalidator secrets add --primary --file primary.secret
  vault read -field=secret apple/reader |
    revalidator secrets add --app com.example.reader --file -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return errors.New("a secret is not taken from the command line, where others can read it: leave it out and a prompt asks for it, or use --file")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if primary == (app != "") {
				return terminal.Usage(errors.New("name the app with --app BUNDLE_ID, or say --primary for a secret that is good for all apps"))
			}
			return p.addSecret(c.Context(), app, file)
		},
	}
	c.Flags().StringVar(&app, "app", "", "the app of an app-specific secret, by `bundle id`")
	c.Flags().BoolVar(&primary, "primary", false, "a primary secret, good for every app of the team")
	c.Flags().StringVar(&file, "file", "", "read the secret from `file`; - is standard input")
	p.AddJSON(c)
	return c
}

// usualSecret is what every shared secret of App Store Connect looks like.
var usualSecret = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (p *program) addSecret(ctx context.Context, app, file string) error {
	return p.with(ctx, func(parts *parts) error {
		if err := parts.mayAddSecret(ctx, app); err != nil {
			return err
		}
		value, err := p.readSecret(ctx, file)
		if err != nil {
			return err
		}
		row := apps.SharedSecret{
			BundleID: app, KeyID: parts.keys.KeyID(), Fingerprint: parts.keys.Fingerprint(value),
			State: apps.SecretNew, CreatedAt: parts.clock.Now(),
		}
		id, err := parts.db.AddSharedSecret(ctx, row, func(id int64) ([]byte, error) {
			row.ID = id
			return parts.keys.Seal(value, row.Row())
		})
		switch {
		case errors.Is(err, database.ErrConflict):
			return fmt.Errorf("this secret is there already, with fingerprint %s: nothing was added; see 'revalidator secrets list', and to use a retired one again, remove it first", row.Fingerprint)
		case err != nil:
			return err
		}
		if err := p.PrintLine(report.NewSecret(row, nil), "added shared secret %d, fingerprint %s", id, row.Fingerprint); err != nil {
			return err
		}
		if !usualSecret.MatchString(value.Reveal()) {
			fmt.Fprintln(p.Err, "warning: it does not look like a shared secret, which is 32 hexadecimal digits")
		}
		return p.noteStandstill(ctx, parts, app)
	}, needKeys, needDatabase)
}

// noteStandstill says how apps go on that a new secret is good for.
func (p *program) noteStandstill(ctx context.Context, parts *parts, app string) error {
	apps, err := parts.db.Apps(ctx)
	if err != nil {
		return err
	}
	for _, a := range apps {
		if (app == "" || app == a.BundleID) && report.WantsSecret(a) {
			p.Note("app %s is paused. A running worker calls Apple\n"+
				"with the new secret within seconds; to do so now:\n"+
				"revalidator secrets verify --app %s", a.BundleID, a.BundleID)
		}
	}
	return nil
}

// mayAddSecret finds out what stands against a secret before it is asked for.
func (s *parts) mayAddSecret(ctx context.Context, app string) error {
	hasApp, err := s.apps(ctx)
	if err != nil {
		return err
	}
	if app != "" && !hasApp(app) {
		return fmt.Errorf("no app %s: add it first with 'revalidator apps add %s'", app, app)
	}
	return s.keysFitAll(ctx)
}

// maxSecret is longer than any secret, and shorter than a file given by mistake.
const maxSecret = 1024

// readSecret asks for a secret on a terminal, or reads the first line of a file.
func (p *program) readSecret(ctx context.Context, file string) (secret.Value, error) {
	line, err := p.secretLine(ctx, file)
	if err != nil {
		return secret.Value{}, err
	}
	return secretOf(line)
}

// secretOf is the secret in a line.
func secretOf(line string) (secret.Value, error) {
	switch value := strings.TrimSpace(line); {
	case value == "":
		return secret.Value{}, terminal.Usage(errors.New("the secret is empty"))
	case len(value) > maxSecret:
		return secret.Value{}, terminal.Usage(fmt.Errorf("the first line has more than %d bytes: that is not a shared secret", maxSecret))
	default:
		return secret.New(value), nil
	}
}

// secretLine is what was typed, or the first line of a file.
func (p *program) secretLine(ctx context.Context, file string) (string, error) {
	if file == "" {
		return p.AskHidden(ctx, "Shared secret: ")
	}
	input, _, err := p.OpenInput(ctx, file)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	defer func() { _ = input.Close() }()
	line, err := bufio.NewReader(io.LimitReader(input, 2*maxSecret)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	return line, nil
}
