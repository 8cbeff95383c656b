package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"

	"revalidator/internal/secret"
)

// marker is the secret of these tests; it must never show.
const (
	marker = "0123456789abcdef-marker"
	row    = "shared_secret/42/com.example"
)

func mustGenerate(t testing.TB) secret.Value {
	t.Helper()
	text, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func mustRotate(t testing.TB, old secret.Value) secret.Value {
	t.Helper()
	text, err := Rotate(old)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func mustOpen(t testing.TB, text secret.Value) *Ring {
	t.Helper()
	ring, err := Open(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func mustSeal(t testing.TB, r *Ring, plain, row string) []byte {
	t.Helper()
	sealed, err := r.Seal(secret.New(plain), row)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealOpen(t *testing.T) {
	t.Parallel()
	ring := mustOpen(t, mustGenerate(t))
	for name, plain := range map[string]string{
		"shared secret": marker,
		"empty":         "",
		"long":          strings.Repeat(marker, 1000),
		"binary":        "\x00\xff\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealed := mustSeal(t, ring, plain, row)
			if plain != "" && bytes.Contains(sealed, []byte(plain)) {
				t.Error("ciphertext shows the secret")
			}
			got, err := ring.Open(sealed, row)
			if err != nil || got.Reveal() != plain {
				t.Errorf("opened something else, or not: %v", err)
			}
		})
	}
}

func TestSealTwiceDiffers(t *testing.T) {
	t.Parallel()
	ring := mustOpen(t, mustGenerate(t))
	if bytes.Equal(mustSeal(t, ring, marker, row), mustSeal(t, ring, marker, row)) {
		t.Error("two ciphertexts of one secret are equal")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	keys := mustGenerate(t)
	ring, other := mustOpen(t, keys), mustOpen(t, mustGenerate(t))
	sealed := mustSeal(t, ring, marker, row)
	for name, test := range map[string]struct {
		ring   *Ring
		sealed []byte
		row    string
	}{
		"another key": {other, sealed, row},
		"another row": {ring, sealed, "shared_secret/43/com.example"},
		"another app": {ring, sealed, "shared_secret/42/com.example.other"},
		"cut":         {ring, sealed[:len(sealed)-1], row},
		"longer":      {ring, append(bytes.Clone(sealed), 0), row},
		"key only":    {ring, sealed[:5], row},
		"empty":       {ring, nil, row},
		"plain text":  {ring, []byte(marker), row},
		"older keys":  {ring, mustSeal(t, mustOpen(t, mustRotate(t, keys)), marker, row), row},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.ring.Open(test.sealed, test.row)
			if !errors.Is(err, ErrUnreadable) || !got.IsZero() {
				t.Errorf("got a value: %t, error %v; want none and ErrUnreadable", !got.IsZero(), err)
			}
			checkHidden(t, err)
		})
	}
}

func TestOpenRefusesEveryTamperedByte(t *testing.T) {
	t.Parallel()
	ring := mustOpen(t, mustGenerate(t))
	sealed := mustSeal(t, ring, marker, row)
	for i := range sealed {
		tampered := bytes.Clone(sealed)
		tampered[i] ^= 1
		if _, err := ring.Open(tampered, row); !errors.Is(err, ErrUnreadable) {
			t.Errorf("byte %d: got %v, want ErrUnreadable", i, err)
		}
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	oldKeys := mustGenerate(t)
	oldRing := mustOpen(t, oldKeys)
	newRing := mustOpen(t, mustRotate(t, mustRotate(t, oldKeys)))
	if oldRing.KeyID() == newRing.KeyID() {
		t.Error("the new key has the id of the old one")
	}
	got, err := newRing.Open(mustSeal(t, oldRing, marker, row), row)
	if err != nil || got.Reveal() != marker {
		t.Errorf("the new ring does not open what the old one sealed: %v", err)
	}
	value := secret.New(marker)
	if got, want := newRing.Fingerprint(value), oldRing.Fingerprint(value); got != want {
		t.Errorf("fingerprint after the rotation %s, want %s as before", got, want)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	oldKeys := mustGenerate(t)
	newKeys := mustRotate(t, oldKeys)
	text, err := Prune(newKeys)
	if err != nil {
		t.Fatal(err)
	}
	pruned := mustOpen(t, text)
	if _, err := pruned.Open(mustSeal(t, mustOpen(t, newKeys), marker, row), row); err != nil {
		t.Errorf("what the new key sealed: %v", err)
	}
	if _, err := pruned.Open(mustSeal(t, mustOpen(t, oldKeys), marker, row), row); !errors.Is(err, ErrUnreadable) {
		t.Errorf("what the old key sealed: got %v, want ErrUnreadable", err)
	}
	if a, b := pruned.Fingerprint(secret.New(marker)), mustOpen(t, oldKeys).Fingerprint(secret.New(marker)); a != b {
		t.Errorf("the fingerprint changed from %s to %s", b, a)
	}
	if _, err := Prune(secret.New(marker)); !errors.Is(err, ErrBadKey) {
		t.Errorf("no key set: got %v, want ErrBadKey", err)
	}
}

func TestRotateRefuses(t *testing.T) {
	t.Parallel()
	if _, err := Rotate(secret.Value{}); !errors.Is(err, ErrNoKey) {
		t.Errorf("got %v, want ErrNoKey", err)
	}
	if _, err := Rotate(secret.New(marker)); !errors.Is(err, ErrBadKey) {
		t.Errorf("got %v, want ErrBadKey", err)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	ring := mustOpen(t, mustGenerate(t))
	got := ring.Fingerprint(secret.New(marker))
	if !regexp.MustCompile(`^[0-9a-f]{8}$`).MatchString(got) {
		t.Errorf("got %q, want 8 hex digits", got)
	}
	if again := ring.Fingerprint(secret.New(marker)); again != got {
		t.Errorf("got %s and then %s for one secret", got, again)
	}
	if other := ring.Fingerprint(secret.New(marker + "x")); other == got {
		t.Error("two secrets have one fingerprint")
	}
	if other := mustOpen(t, mustGenerate(t)).Fingerprint(secret.New(marker)); other == got {
		t.Error("the fingerprint does not depend on the keys")
	}
}

func TestOpenKeyset(t *testing.T) {
	t.Parallel()
	good := mustGenerate(t).Reveal()
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"as generated":         {good, nil},
		"with a final newline": {good + "\n", nil},
		"empty":                {"", ErrNoKey},
		"blank":                {" \n", ErrNoKey},
		"not JSON":             {marker, ErrBadKey},
		"cut":                  {good[:len(good)/2], ErrBadKey},
		"twice":                {good + good, ErrBadKey},
		"no keys":              {`{}`, ErrBadKey},
		"empty keyset":         {`{"encryption":{},"fingerprint_key":""}`, ErrBadKey},
		"no fingerprint key":   {strings.Replace(good, "fingerprint_key", marker, 1), ErrBadKey},
		"no encryption keys":   {strings.Replace(good, "encryption", marker, 1), ErrBadKey},
		"another kind of key":  {macKeys(t), ErrBadKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ring, err := Open(secret.New(test.text))
			if !errors.Is(err, test.want) || (ring == nil) != (test.want != nil) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			checkHidden(t, err)
		})
	}
}

// macKeys is a keyset that signs and cannot encrypt.
func macKeys(t *testing.T) string {
	t.Helper()
	handle, err := keyset.NewHandle(mac.HMACSHA256Tag256KeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	text, err := format(handle, make([]byte, fingerprintKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return text.Reveal()
}

// checkHidden fails where an error shows the marker in any form.
func checkHidden(t *testing.T, err error) {
	t.Helper()
	if shown := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(shown, marker) {
		t.Errorf("error shows what was given: %s", shown)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(mustGenerate(f).Reveal())
	f.Add(`{"encryption":{"primaryKeyId":1,"key":[{}]},"fingerprint_key":"AAAA"}`)
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := Open(secret.New(text))
		if err != nil {
			if !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrBadKey) {
				t.Errorf("got %v, want ErrNoKey or ErrBadKey", err)
			}
			return
		}
		got, err := ring.Open(mustSeal(t, ring, marker, row), row)
		if err != nil || got.Reveal() != marker {
			t.Errorf("a ring that opens does not work: %v", err)
		}
	})
}

func FuzzRingOpen(f *testing.F) {
	ring := mustOpen(f, mustGenerate(f))
	f.Add(mustSeal(f, ring, marker, row))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := ring.Open(sealed, "another row"); !errors.Is(err, ErrUnreadable) {
			t.Errorf("got %v, want ErrUnreadable", err)
		}
	})
}
