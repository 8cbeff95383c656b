package receipt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestDecodeBase64(t *testing.T) {
	t.Parallel()
	const want = "\xfb\xff\xbe 0123456789 \x00" // has + and / in base64, and padding
	std := base64.StdEncoding.EncodeToString([]byte(want))
	if !strings.ContainsAny(std, "+") || !strings.ContainsAny(std, "/") || !strings.HasSuffix(std, "==") {
		t.Fatalf("the text %q tests too little", std)
	}
	tests := map[string]string{
		"canonical":           std,
		"no padding":          strings.TrimRight(std, "="),
		"half the padding":    strings.TrimSuffix(std, "="),
		"doubled padding":     std + "==",
		"URL alphabet":        base64.URLEncoding.EncodeToString([]byte(want)),
		"raw URL alphabet":    base64.RawURLEncoding.EncodeToString([]byte(want)),
		"lines":               std[:4] + "\r\n" + std[4:9] + "\n" + std[9:] + "\n",
		"spaces and tabs":     "  " + std[:3] + " \t" + std[3:],
		"line inside padding": std[:len(std)-1] + "\n=",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := strings.Clone(text)
			got, err := decodeBase64([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if text != before {
				t.Error("the text was changed")
			}
		})
	}
}

func TestDecodeBase64Errors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want error
		says string
	}{
		"nothing":              {"", ErrEmpty, ""},
		"blank":                {" \r\n", ErrEmpty, ""},
		"padding alone":        {"==", ErrEmpty, ""},
		"cut inside a byte":    {"AAAAA", ErrTruncated, "inside a byte"},
		"punctuation":          {"AAAA!AAA", ErrNotBase64, "byte 4 is '!' (U+0021)"},
		"a letter":             {"AAAAÄAAA", ErrNotBase64, "byte 4 is 'Ä' (U+00C4)"},
		"no character":         {strings.Repeat("A", 20) + "\xc4AA", ErrNotBase64, "byte 20 is 0xC4"},
		"invisible":            {"AAAA\u200bAAA", ErrNotBase64, "(U+200B)"},
		"shortened":            {"AAAA...AAA", ErrNotBase64, "shortened"},
		"shortened by a sign":  {"AAAA…AAA", ErrNotBase64, "shortened"},
		"digits after padding": {"AA==AAAA", ErrNotBase64, "byte 4 is 'A' after the padding"},
		"a picture":            {"\xff\xd8\xff\xe0", ErrNotAReceipt, "neither"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeBase64([]byte(test.text))
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %q does not say %q", err, test.says)
			}
		})
	}
}

func FuzzDecodeBase64(f *testing.F) {
	for _, text := range []string{"", "AAAA", "AA==\n", "-_-_", "a.b", "AAAAA", "A A A", "\xff"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		data, err := decodeBase64(text)
		if !bytes.Equal(text, before) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			for _, named := range []error{ErrEmpty, ErrNotBase64, ErrNotAReceipt, ErrTruncated} {
				if errors.Is(err, named) {
					return
				}
			}
			t.Fatalf("unnamed error %v", err)
		}
		again, err := decodeBase64([]byte(base64.StdEncoding.EncodeToString(data)))
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("the canonical form decodes to %q, %v; want %q", again, err, data)
		}
	})
}
