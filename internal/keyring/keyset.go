package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"revalidator/internal/secret"
)

// document is the text of a keyset. The fingerprint key stands next to the
// encryption keys, not among them, so that it outlives each of those.
type document struct {
	// Encryption is a Tink keyset in JSON, in clear.
	Encryption json.RawMessage `json:"encryption"`
	// FingerprintKey is fingerprintKeySize random bytes in base64.
	FingerprintKey []byte `json:"fingerprint_key"`
}

const fingerprintKeySize = 32

// Generate makes a new keyset with one AES256-GCM key, as JSON text. Whoever
// has the text can read every secret that is sealed with it; whoever loses it
// cannot read them any more.
func Generate() (secret.Value, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return secret.Value{}, fmt.Errorf("generate encryption key: %w", err)
	}
	fingerprintKey := make([]byte, fingerprintKeySize)
	_, _ = rand.Read(fingerprintKey) // never fails: crypto/rand ends the program instead
	return format(handle, fingerprintKey)
}

// Rotate adds a new key to a keyset, with which everything is sealed from then
// on. The old ones stay, to open what they sealed. Its errors are those of Open.
func Rotate(old secret.Value) (secret.Value, error) {
	handle, fingerprintKey, err := parse(old)
	if err != nil {
		return secret.Value{}, err
	}
	manager := keyset.NewManagerFromHandle(handle)
	id, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return secret.Value{}, fmt.Errorf("add encryption key: %w", err)
	}
	if err := manager.SetPrimary(id); err != nil {
		return secret.Value{}, fmt.Errorf("add encryption key: %w", err)
	}
	rotated, err := manager.Handle()
	if err != nil {
		return secret.Value{}, fmt.Errorf("add encryption key: %w", err)
	}
	return format(rotated, fingerprintKey)
}

// Prune leaves only the key of a keyset with which everything is sealed. What
// older keys sealed does not open any more. Its errors are those of Open.
func Prune(old secret.Value) (secret.Value, error) {
	handle, fingerprintKey, err := parse(old)
	if err != nil {
		return secret.Value{}, err
	}
	info := handle.KeysetInfo()
	manager := keyset.NewManagerFromHandle(handle)
	for _, key := range info.GetKeyInfo() {
		if key.GetKeyId() == info.GetPrimaryKeyId() {
			continue
		}
		if err := manager.Delete(key.GetKeyId()); err != nil {
			return secret.Value{}, fmt.Errorf("drop encryption key: %w", err)
		}
	}
	pruned, err := manager.Handle()
	if err != nil {
		return secret.Value{}, fmt.Errorf("drop encryption key: %w", err)
	}
	return format(pruned, fingerprintKey)
}

// Open reads the text of a keyset. It returns ErrNoKey for an empty text and
// ErrBadKey for one that is no keyset.
func Open(text secret.Value) (*Ring, error) {
	handle, fingerprintKey, err := parse(text)
	if err != nil {
		return nil, err
	}
	// Keys of another kind are found only here.
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, ErrBadKey
	}
	id := handle.KeysetInfo().GetPrimaryKeyId()
	return &Ring{aead: primitive, keyID: strconv.FormatUint(uint64(id), 10), fingerprintKey: fingerprintKey}, nil
}

func parse(text secret.Value) (*keyset.Handle, []byte, error) {
	if strings.TrimSpace(text.Reveal()) == "" {
		return nil, nil, ErrNoKey
	}
	var doc document
	// The errors of both parsers may quote their input, so neither is kept.
	if err := json.Unmarshal([]byte(text.Reveal()), &doc); err != nil {
		return nil, nil, ErrBadKey
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(doc.Encryption)))
	if err != nil || len(doc.FingerprintKey) != fingerprintKeySize {
		return nil, nil, ErrBadKey
	}
	return handle, doc.FingerprintKey, nil
}

func format(handle *keyset.Handle, fingerprintKey []byte) (secret.Value, error) {
	var keys bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&keys)); err != nil {
		return secret.Value{}, fmt.Errorf("write encryption keys: %w", err)
	}
	// In one line, so that the text fits into a variable as well as a file.
	text, err := json.Marshal(document{Encryption: keys.Bytes(), FingerprintKey: fingerprintKey})
	if err != nil {
		return secret.Value{}, fmt.Errorf("write encryption keys: %w", err)
	}
	return secret.New(string(text)), nil
}
