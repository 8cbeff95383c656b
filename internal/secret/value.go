// Package secret holds text and bytes that must never show: shared secrets,
// passwords of databases, receipts on their way to Apple. It leaves encryption
// at rest to internal/keyring.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// redacted is what stands in place of a secret wherever one is printed.
const redacted = "[redacted]"

// Value is a text that prints as [redacted] in every format verb, in JSON, in
// slog and in errors. The zero value is the empty text. Only Reveal gives the
// text away, so that each use of it can be found by name. Values are compared
// with Equal; == does not compile.
type Value struct {
	// reveal is a function because fmt calls no method of a value in an
	// unexported field or behind a wrong verb, and a debugging library calls
	// none at all: they print what they find, and here that is an address.
	reveal func() string
}

// New wraps a text.
func New(text string) Value { return Value{reveal: func() string { return text }} }

// Reveal returns the text itself, for the one place that must send it.
func (v Value) Reveal() string {
	if v.reveal == nil {
		return ""
	}
	return v.reveal()
}

// IsZero reports whether there is no text.
func (v Value) IsZero() bool { return v.Reveal() == "" }

// Equal reports whether both hold the same text, in a time that tells no more
// than their lengths.
func (v Value) Equal(other Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(other.Reveal())) == 1
}

// Format implements fmt.Formatter, so that no verb and no flag shows the text.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String implements fmt.Stringer.
func (v Value) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (v Value) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, and with it JSON.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler, so that settings can be
// read straight into a Value.
func (v *Value) UnmarshalText(text []byte) error {
	*v = New(string(text))
	return nil
}
