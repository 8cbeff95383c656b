package apps

import (
	"fmt"
	"time"
)

// SharedSecret is one secret of the ring, encrypted. BundleID is empty for a
// primary secret, which is good for every app of the team.
type SharedSecret struct {
	ID           int64       `db:"id"`
	BundleID     string      `db:"bundle_id"`
	Ciphertext   []byte      `db:"ciphertext"`
	KeyID        string      `db:"key_id"`
	Fingerprint  string      `db:"fingerprint"`
	State        SecretState `db:"state"`
	CreatedAt    time.Time   `db:"created_at"`
	LastAccepted *time.Time  `db:"last_accepted"`
	LastRefused  *time.Time  `db:"last_refused"`
}

// SecretState is what is known of a shared secret.
type SecretState string

// The states of a shared secret.
const (
	// SecretNew is one that Apple has not been asked with, or has said nothing
	// about.
	SecretNew SecretState = "new"
	// SecretAccepted and SecretRefused are what Apple said last.
	SecretAccepted SecretState = "accepted"
	SecretRefused  SecretState = "refused"
	// SecretRetired is one that a person has taken out of use.
	SecretRetired SecretState = "retired"
)

// Validate reports a value that is none of the states.
func (s SecretState) Validate() error {
	switch s {
	case SecretNew, SecretAccepted, SecretRefused, SecretRetired:
		return nil
	}
	return fmt.Errorf("state of a shared secret %q: want new, accepted, refused or retired", string(s))
}

// Row names the row and the app that a ciphertext is bound to, so that one that
// was moved elsewhere does not open.
func (s SharedSecret) Row() string { return fmt.Sprintf("shared_secrets/%d/%s", s.ID, s.BundleID) }
