package main

import (
	"context"
	"fmt"
	"strings"

	"revalidator/internal/check"
	"revalidator/internal/secret"
	"revalidator/internal/terminal"
)

// secretsFor are the secrets to ask with, in the order in which to try them.
func (p *program) secretsFor(ctx context.Context, parts *parts, bundleID string) ([]secret.Value, error) {
	stored, err := parts.storedSecrets(ctx, bundleID)
	if err != nil || len(stored) > 0 {
		return stored, err
	}
	if terminal.IsTerminal(p.In) {
		return p.typedSecret(ctx, bundleID)
	}
	return nil, &check.NotAskedError{Reason: fmt.Sprintf("there is no shared secret for %s: give one with --secret-file, or store it with 'revalidator secrets add' and set DATABASE_URL and REVALIDATOR_KEYS", bundleID)}
}

// typedSecret asks for the secret, which a person need not have.
func (p *program) typedSecret(ctx context.Context, bundleID string) ([]secret.Value, error) {
	line, err := p.AskHidden(ctx, fmt.Sprintf("Shared secret of %s (Enter: go without): ", bundleID))
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(line) == "" {
		return nil, &check.NotAskedError{Reason: "no shared secret was given"}
	}
	value, err := secretOf(line)
	return []secret.Value{value}, err
}

// storedSecrets are the secrets in the database that are good for an app; none
// where the settings for them are not there. One that does not open is no
// reason not to ask with the others.
func (s *parts) storedSecrets(ctx context.Context, bundleID string) ([]secret.Value, error) {
	if s.db == nil || s.cfg.Keys.Keyset.IsZero() {
		return nil, nil
	}
	if err := s.open(ctx, needKeys); err != nil {
		return nil, err
	}
	rows, err := s.db.SharedSecrets(ctx, bundleID)
	if err != nil {
		return nil, err
	}
	var values []secret.Value
	var closed error
	for _, row := range rows {
		value, err := s.keys.Open(row.Ciphertext, row.Row())
		if err != nil {
			closed = fmt.Errorf("open shared secret %d: %w", row.ID, err)
			continue
		}
		values = append(values, value)
	}
	if len(values) == 0 {
		return nil, closed
	}
	return values, nil
}
