package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"revalidator/internal/check"
	"revalidator/internal/phrase"
	"revalidator/internal/terminal"
)

// payload prints what a JWS says, and whether Apple says it.
func (s sheet) payload(p check.Payload) {
	s.Sentence("Payload", "%s (JWS), %s bytes", p.Kind.Text(), humanize.Comma(int64(p.ByteSize)))
	s.Sentence("App", "%s", orNotNamed(p.BundleID))
	s.Sentence("Environment", "%s", orNotNamed(string(p.Environment)))
	s.DateIf("Signed", p.Signature.SignedAt)
	s.signature(p.Signature)
	s.Print("\n")
	fields := sheet{terminal.Sheet{Page: s.Page, Now: s.Now, Label: 31}}
	fields.content(p.Content)
}

func orNotNamed(text string) string {
	if text == "" {
		return "not named"
	}
	return text
}

// signature says who signed, since when, or why that is not known.
func (s sheet) signature(g check.Signature) {
	switch g.Verdict {
	case check.Verified:
		s.Sentence("Signature", "%s by %s, with a certificate valid from %s to %s, under %s", s.Paint(terminal.Green, "verified:"),
			g.Signer.Name, g.Signer.NotBefore.Format(time.DateOnly), g.Signer.NotAfter.Format(time.DateOnly), g.Signer.Root)
	case check.Disproved:
		s.Sentence("Signature", "%s %s", s.Paint(terminal.Red, "disproved:"), g.Error)
		s.Sentence("", "It is not what it claims to be: believe nothing of it.")
	default:
		s.Sentence("Signature", "%s %s", s.Paint(terminal.Yellow, "undetermined:"), g.Error)
		s.Sentence("", "It may be genuine: this proves nothing.")
	}
}

// content prints fields in Apple's words, and objects in them after the others.
func (s sheet) content(fields map[string]any) {
	var objects []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if _, ok := fields[name].(map[string]any); ok {
			objects = append(objects, name)
			continue
		}
		s.Sentence(name, "%s", valueText(name, fields[name]))
	}
	for _, name := range objects {
		s.Print("\n")
		s.Print(name + ":\n")
		s.content(fields[name].(map[string]any))
	}
}

// valueText is a value of JSON; Apple's dates are in milliseconds.
func valueText(name string, value any) string {
	if n, ok := value.(json.Number); ok && strings.HasSuffix(name, "Date") {
		if millis, err := n.Float64(); err == nil && millis > 0 && millis < 1e13 {
			return phrase.Time(time.UnixMilli(int64(millis)))
		}
	}
	if text, ok := value.(string); ok {
		return text
	}
	text, _ := json.Marshal(value) // it came from JSON
	return string(text)
}
