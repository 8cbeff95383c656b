package report

import (
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/keyring"
)

// Secret is what is told of a secret.
type Secret struct {
	ID   int64  `json:"id"`
	Kind string `json:"kind"` // app_specific or primary
	// App is null for a primary secret.
	App          *string          `json:"bundle_id"`
	State        apps.SecretState `json:"state"`
	Fingerprint  string           `json:"fingerprint"`
	KeyID        string           `json:"key_id"`
	CreatedAt    time.Time        `json:"created_at"`
	LastAccepted *time.Time       `json:"last_accepted"`
	LastRefused  *time.Time       `json:"last_refused"`
	// Readable is whether the keys open it, null where no keys are set.
	Readable *bool `json:"readable"`
}

// NewSecret tells of a secret; without keys it is not known whether they open it.
func NewSecret(s apps.SharedSecret, keys *keyring.Ring) Secret {
	r := Secret{
		ID: s.ID, Kind: secretKind(s), State: s.State, Fingerprint: s.Fingerprint, KeyID: s.KeyID,
		CreatedAt: s.CreatedAt.UTC(), LastAccepted: inUTC(s.LastAccepted), LastRefused: inUTC(s.LastRefused),
	}
	if s.BundleID != "" {
		r.App = &s.BundleID
	}
	if keys != nil {
		_, err := keys.Open(s.Ciphertext, s.Row())
		readable := err == nil
		r.Readable = &readable
	}
	return r
}

func secretKind(s apps.SharedSecret) string {
	if s.BundleID == "" {
		return "primary"
	}
	return "app_specific"
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}
