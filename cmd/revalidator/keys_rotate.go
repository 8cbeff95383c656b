package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"revalidator/internal/apps"
	"revalidator/internal/keyring"
	"revalidator/internal/secret"
	"revalidator/internal/terminal"
)

func (p *program) keysExtendCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "extend",
		Short: "Print the key set in use with a new key added: step 1 of a change",
		Long: `Print the key set in use with a new key added. Whoever has it opens what was
encrypted with either, and encrypts with the new one. Nothing is changed in the
database: see 'revalidator keys --help' for the steps that follow.`,
		Example: "  (umask 077 && revalidator keys extend > new.keys)",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.with(c.Context(), func(parts *parts) error {
				if err := p.printChanged(parts, keyring.Rotate); err != nil {
					return err
				}
				p.Note("next: give this key set to every worker, restart them, then 'revalidator keys rotate'")
				return nil
			}, needKeys)
		},
	}
}

func (p *program) keysPruneCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Print the key set in use without its old keys: step 4 of a change",
		Long: `Print the key set in use with only the key that encrypts. It is refused while a
secret in the database still needs another key. Keep the old set for as long as
you keep backups of the database from before.`,
		Example: "  (umask 077 && revalidator keys prune > last.keys)",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.with(c.Context(), func(parts *parts) error {
				rows, err := parts.db.AllSharedSecrets(c.Context())
				if err != nil {
					return err
				}
				if old := underOtherKeys(rows, parts.keys.KeyID()); len(old) > 0 {
					return fmt.Errorf("shared secrets %d need an old key still: run 'revalidator keys rotate' first", old)
				}
				return p.printChanged(parts, keyring.Prune)
			}, needKeys, needDatabase)
		},
	}
}

func (p *program) printChanged(parts *parts, change func(secret.Value) (secret.Value, error)) error {
	keyset, err := change(parts.cfg.Keys.Keyset)
	if err != nil {
		return err
	}
	return p.printKeys(keyset)
}

func underOtherKeys(rows []apps.SharedSecret, keyID string) []int64 {
	var old []int64
	for _, row := range rows {
		if row.KeyID != keyID {
			old = append(old, row.ID)
		}
	}
	return old
}

func (p *program) keysRotateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate [--json]",
		Short: "Encrypt all secrets with the newest key: step 3 of a change",
		Long: `Encrypt every shared secret in the database again with the newest key of the set
in use, while workers run. Those must have the set already, or they cannot open
the secrets any more. It can be repeated; what is done stays done.`,
		Example: "  revalidator keys rotate",
		Args:    terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.with(c.Context(), func(parts *parts) error {
				return p.rotateKeys(c.Context(), parts)
			}, needKeys, needDatabase)
		},
	}
	p.AddJSON(c)
	return c
}

// rotation is what a rotation did.
type rotation struct {
	KeyID string `json:"key_id"`
	// Encrypted were encrypted again, Already had the key before.
	Encrypted int `json:"encrypted"`
	Already   int `json:"already"`
	// Unreadable are the ids of secrets that no key of the set opens.
	Unreadable []int64 `json:"unreadable"`
}

func (p *program) rotateKeys(ctx context.Context, parts *parts) error {
	rows, err := parts.db.AllSharedSecrets(ctx)
	if err != nil {
		return err
	}
	old := underOtherKeys(rows, parts.keys.KeyID())
	r := rotation{KeyID: parts.keys.KeyID(), Already: len(rows) - len(old), Unreadable: []int64{}}
	for _, id := range old {
		changed, err := parts.db.ResealSharedSecret(ctx, id, r.KeyID, parts.reseal)
		switch {
		case errors.Is(err, keyring.ErrUnreadable):
			r.Unreadable = append(r.Unreadable, id)
		case err != nil:
			return err
		case changed:
			r.Encrypted++
		}
	}
	if err := p.Print(r, r.text); err != nil {
		return err
	}
	if len(r.Unreadable) > 0 {
		return terminal.Failures(fmt.Errorf("no key of this set opens the shared secrets %d: give the keys that they were stored with in REVALIDATOR_KEYS,"+
			" or remove them with 'revalidator secrets remove' and add them again", r.Unreadable))
	}
	p.Note("every shared secret is encrypted with key %s: old keys may be dropped, see\n'revalidator keys prune --help'", r.KeyID)
	return nil
}

func (s *parts) reseal(row apps.SharedSecret) ([]byte, error) {
	value, err := s.keys.Open(row.Ciphertext, row.Row())
	if err != nil {
		return nil, err
	}
	return s.keys.Seal(value, row.Row())
}

func (r rotation) text(out *terminal.Page) {
	out.Printf("key %s: %d shared secrets encrypted again, %d had that key already\n", r.KeyID, r.Encrypted, r.Already)
}
