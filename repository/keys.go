package repository

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/apps"
)

// ResealSharedSecret encrypts one secret anew under the key keyID, with what
// reseal makes of its row; changed is false where it is under that key already
// or was removed. The row is locked meanwhile, so that workers, which only read
// it and note what Apple said, see the old ciphertext or the new one.
func (db *DB) ResealSharedSecret(ctx context.Context, id int64, keyID string, reseal func(apps.SharedSecret) ([]byte, error)) (changed bool, err error) {
	const lock = `SELECT ` + secretColumns + ` FROM shared_secrets WHERE id = $1 AND key_id <> $2 FOR UPDATE`
	const store = `UPDATE shared_secrets SET ciphertext = $2, key_id = $3 WHERE id = $1`
	err = db.inTx(ctx, func(tx *sqlx.Tx) error {
		changed = false
		var rows []apps.SharedSecret
		if err := tx.SelectContext(ctx, &rows, lock, id, keyID); err != nil {
			return err
		}
		for _, row := range rows {
			ciphertext, err := reseal(row)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, store, id, ciphertext, keyID); err != nil {
				return err
			}
			changed = true
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("encrypt shared secret %d again: %w", id, err)
	}
	return changed, nil
}
