package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/apps"
)

// AddSharedSecret stores a secret. Its id is drawn first and given to seal,
// which encrypts the secret bound to that id; what it returns is stored. Errors
// are ErrConflict where the same secret is there already, ErrNotFound where the
// app is not, and seal's own.
func (db *DB) AddSharedSecret(ctx context.Context, s apps.SharedSecret, seal func(id int64) ([]byte, error)) (int64, error) {
	const draw = `SELECT nextval(pg_get_serial_sequence('shared_secrets', 'id'))`
	const insert = `
		INSERT INTO shared_secrets (id, bundle_id, ciphertext, key_id, fingerprint, created_at)
		VALUES ($1, nullif($2, ''), $3, $4, $5, $6)`
	var id int64
	err := db.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := tx.GetContext(ctx, &id, draw); err != nil {
			return err
		}
		ciphertext, err := seal(id)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, insert, id, s.BundleID, ciphertext, s.KeyID, s.Fingerprint, s.CreatedAt)
		return named(err)
	})
	if err != nil {
		return 0, fmt.Errorf("add shared secret: %w", err)
	}
	return id, nil
}

const secretColumns = `id, coalesce(bundle_id, '') AS bundle_id, ciphertext, key_id, fingerprint, state,
	created_at, last_accepted, last_refused`

// SharedSecrets lists the secrets that are good for an app and not retired, in
// the order in which to try them: accepted ones, then those of which nothing is
// known, then refused ones; in each of these the app's own before primary ones,
// and the one last accepted, or else the newest, first.
func (db *DB) SharedSecrets(ctx context.Context, bundleID string) ([]apps.SharedSecret, error) {
	const query = `
		SELECT ` + secretColumns + `
		FROM shared_secrets
		WHERE (bundle_id = $1 OR bundle_id IS NULL) AND state <> 'retired'
		ORDER BY array_position(ARRAY['accepted', 'new', 'refused'], state), bundle_id IS NULL,
		         last_accepted DESC NULLS LAST, id DESC`
	var secrets []apps.SharedSecret
	if err := db.db.SelectContext(ctx, &secrets, query, bundleID); err != nil {
		return nil, fmt.Errorf("list shared secrets of %s: %w", bundleID, err)
	}
	return secrets, nil
}

// AllSharedSecrets lists every secret, primary ones first, retired ones too.
func (db *DB) AllSharedSecrets(ctx context.Context) ([]apps.SharedSecret, error) {
	const query = `SELECT ` + secretColumns + ` FROM shared_secrets ORDER BY bundle_id NULLS FIRST, id`
	var secrets []apps.SharedSecret
	if err := db.db.SelectContext(ctx, &secrets, query); err != nil {
		return nil, fmt.Errorf("list shared secrets: %w", err)
	}
	return secrets, nil
}

// SharedSecret is one secret, or ErrNotFound.
func (db *DB) SharedSecret(ctx context.Context, id int64) (apps.SharedSecret, error) {
	const query = `SELECT ` + secretColumns + ` FROM shared_secrets WHERE id = $1`
	var s apps.SharedSecret
	if err := db.db.GetContext(ctx, &s, query, id); err != nil {
		return s, fmt.Errorf("read shared secret %d: %w", id, named(err))
	}
	return s, nil
}

// LastAcceptedFor lists the apps for which a secret is the only one that Apple
// accepted last.
func (db *DB) LastAcceptedFor(ctx context.Context, id int64) ([]string, error) {
	const query = `
		SELECT a.bundle_id FROM shared_secrets s JOIN apps a ON s.bundle_id = a.bundle_id OR s.bundle_id IS NULL
		WHERE s.id = $1 AND s.state = 'accepted' AND NOT EXISTS (
			SELECT FROM shared_secrets o
			WHERE o.id <> s.id AND o.state = 'accepted' AND (o.bundle_id = a.bundle_id OR o.bundle_id IS NULL))
		ORDER BY a.bundle_id`
	var apps []string
	if err := db.db.SelectContext(ctx, &apps, query, id); err != nil {
		return nil, fmt.Errorf("list apps that need shared secret %d: %w", id, err)
	}
	return apps, nil
}

// MarkSharedSecret notes that Apple accepted or refused a secret.
func (db *DB) MarkSharedSecret(ctx context.Context, id int64, accepted bool, at time.Time) error {
	const query = `
		UPDATE shared_secrets
		SET state = CASE WHEN $2 THEN 'accepted' ELSE 'refused' END,
		    last_accepted = CASE WHEN $2 THEN $3 ELSE last_accepted END,
		    last_refused = CASE WHEN $2 THEN last_refused ELSE $3 END
		WHERE id = $1 AND state <> 'retired'`
	if _, err := db.db.ExecContext(ctx, query, id, accepted, at); err != nil {
		return fmt.Errorf("mark shared secret %d: %w", id, err)
	}
	return nil
}

// RetireSharedSecret takes a secret out of use and keeps its row; changed is
// false where it was retired before, or is not there.
func (db *DB) RetireSharedSecret(ctx context.Context, id int64) (changed bool, err error) {
	const query = `UPDATE shared_secrets SET state = 'retired' WHERE id = $1 AND state <> 'retired'`
	return db.changed(ctx, fmt.Sprintf("retire shared secret %d", id), query, id)
}

// RemoveSharedSecret deletes a secret; changed is false where it is not there.
func (db *DB) RemoveSharedSecret(ctx context.Context, id int64) (changed bool, err error) {
	const query = `DELETE FROM shared_secrets WHERE id = $1`
	return db.changed(ctx, fmt.Sprintf("remove shared secret %d", id), query, id)
}
