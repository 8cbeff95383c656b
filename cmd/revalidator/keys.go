package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/keyring"
	"revalidator/internal/secret"
	"revalidator/internal/terminal"
)

func (p *program) keysCommand() *cobra.Command {
	keys := &cobra.Command{
		Use:   "keys",
		Short: "Make and change the keys that encrypt shared secrets",
		Long: `Shared secrets are encrypted in the database with the keys that
REVALIDATOR_KEYS or REVALIDATOR_KEYS_FILE gives. To change the key while
everything runs:

  1. revalidator keys extend > new.keys   a new key next to the old ones
  2. give new.keys to every worker and every person, and restart the workers
  3. revalidator keys rotate              encrypts every secret with the new key
  4. revalidator keys prune > last.keys   without the old ones; give it to all

After step 2 and before step 4 both sets open every secret.`,
		Example: "  revalidator keys generate > revalidator.keys\n  revalidator keys extend > new.keys",
	}
	keys.AddCommand(p.keysGenerateCommand(), p.keysExtendCommand(), p.keysRotateCommand(), p.keysPruneCommand())
	return keys
}

func (p *program) keysGenerateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "generate",
		Short: "Print a new key set, for REVALIDATOR_KEYS_FILE",
		Long: `Print a new key set, to be given in REVALIDATOR_KEYS_FILE or REVALIDATOR_KEYS.
Keep it apart from the database and its backups: whoever has both can read the
shared secrets, and whoever loses it has to enter them again.`,
		Example: "  (umask 077 && revalidator keys generate > revalidator.keys)\n  export REVALIDATOR_KEYS_FILE=$PWD/revalidator.keys",
		Args:    terminal.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			keyset, err := keyring.Generate()
			if err != nil {
				return err
			}
			return p.printKeys(keyset)
		},
	}
}

// printKeys prints a key set: the one secret that is meant to be printed.
func (p *program) printKeys(keyset secret.Value) error {
	if terminal.IsTerminal(p.Out) {
		fmt.Fprintln(p.Err, "These keys are secret. Better write them to a file that only you can read.")
	}
	_, err := fmt.Fprintln(p.Out, keyset.Reveal())
	return err
}

// keysFitAll refuses keys that open none of the shared secrets in the database,
// because then they are those of another one, and warns of secrets that they do
// not open. Where there are no secrets yet, every key fits.
func (s *parts) keysFitAll(ctx context.Context) error {
	rows, err := s.db.AllSharedSecrets(ctx)
	if err != nil {
		return err
	}
	var opened int
	var closed []int64
	for _, row := range rows {
		if row.State == apps.SecretRetired {
			continue
		}
		if _, err := s.keys.Open(row.Ciphertext, row.Row()); err != nil {
			closed = append(closed, row.ID)
			continue
		}
		opened++
	}
	switch {
	case len(closed) == 0:
		return nil
	case opened == 0:
		return terminal.Usage(fmt.Errorf("the shared secrets in the database were encrypted with other keys: give those in REVALIDATOR_KEYS or REVALIDATOR_KEYS_FILE;"+
			" where they are lost, remove the secrets %d with 'revalidator secrets remove' and add them again", closed))
	}
	s.log.Warn("shared secrets do not open with these keys: give the keys that they were stored with, or remove them and add them again", "secret_ids", closed)
	return nil
}
