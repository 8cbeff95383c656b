// Package keyring encrypts shared secrets for their rest in the database and
// names them by a fingerprint. Where the keys come from it leaves to
// internal/config, and where the ciphertext is kept to repository.
package keyring

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"

	"revalidator/internal/secret"
)

var (
	// ErrNoKey says that no keyset was given.
	ErrNoKey = errors.New("no encryption keys: run `revalidator keys generate > keys.json`" +
		" and set REVALIDATOR_KEYS_FILE=keys.json (or REVALIDATOR_KEYS to the text)")
	// ErrBadKey says that the keyset is not one that Generate made. Nothing of
	// what was given is quoted.
	ErrBadKey = errors.New("REVALIDATOR_KEYS does not hold encryption keys: give the whole output" +
		" of `revalidator keys generate`, unchanged")
	// ErrUnreadable says that a ciphertext cannot be opened: another key, another
	// row and altered bytes look the same, and are meant to.
	ErrUnreadable = errors.New("stored secret is unreadable with these encryption keys:" +
		" give the REVALIDATOR_KEYS that it was stored with, or store the secret again")
)

// Ring seals and opens secrets. It is safe for concurrent use; make one with
// Open.
type Ring struct {
	// aead is a local keyset today. A key management service fits in here too:
	// Tink's clients for them are a tink.AEAD as well.
	aead           tink.AEAD
	keyID          string
	fingerprintKey []byte
}

// KeyID names the key that Seal uses, in decimal digits. It is no secret.
func (r *Ring) KeyID() string { return r.keyID }

// Seal encrypts a secret for one row, such as "shared_secret/42/com.example".
// The ciphertext opens with the same row only, so that nobody who can write to
// the database can make one app use another's secret.
func (r *Ring) Seal(plain secret.Value, row string) ([]byte, error) {
	sealed, err := r.aead.Encrypt([]byte(plain.Reveal()), []byte(row))
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", row, err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same row, with any key of the ring. It
// returns ErrUnreadable where that is not possible.
func (r *Ring) Open(ciphertext []byte, row string) (secret.Value, error) {
	plain, err := r.aead.Decrypt(ciphertext, []byte(row))
	if err != nil {
		// Tink's own error adds nothing: it does not tell the causes apart.
		return secret.Value{}, fmt.Errorf("open %s: %w", row, ErrUnreadable)
	}
	return secret.New(string(plain)), nil
}

// Fingerprint is 8 hex digits that tell two secrets apart without giving them
// away: without the ring's key nobody can try out secrets against it. It stays
// the same over Rotate, and differs between rings of different origin.
func (r *Ring) Fingerprint(plain secret.Value) string {
	mac := hmac.New(sha256.New, r.fingerprintKey)
	mac.Write([]byte(plain.Reveal()))
	return hex.EncodeToString(mac.Sum(nil)[:4])
}
