package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/secret"
)

const marker = "marker-of-a-secret"

// hidden has a value where fmt cannot call its methods.
type hidden struct{ value secret.Value }

// shown has one where every encoder finds it.
type shown struct{ Value secret.Value }

func TestValueNeverShows(t *testing.T) {
	t.Parallel()
	value := secret.New(marker)
	for name, text := range map[string]string{
		"text log":    logged(value, func(w *bytes.Buffer) slog.Handler { return slog.NewTextHandler(w, nil) }),
		"JSON log":    logged(value, func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) }),
		"JSON":        encoded(t, json.Marshal, shown{value}),
		"JSON of map": encoded(t, json.Marshal, map[string]any{"value": value}),
		"XML":         encoded(t, xml.Marshal, shown{value}),
		"error":       errors.Join(fmt.Errorf("open: %v", value)).Error(),
		"Stringer":    value.String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(text, marker) {
				t.Errorf("shows the secret: %s", text)
			}
			if !strings.Contains(text, "[redacted]") {
				t.Errorf("does not say that something is left out: %s", text)
			}
		})
	}
}

func TestValueNeverShowsByAnyVerb(t *testing.T) {
	t.Parallel()
	value := secret.New(marker)
	hexMarker := fmt.Sprintf("%x", marker)
	for _, verb := range strings.Split("v +v #v s q x X d t p T U c o b e g z 10s -5v # x 08d", " ") {
		for _, arg := range []any{value, &value, []secret.Value{value}, map[string]secret.Value{"k": value},
			shown{value}, &shown{value}, hidden{value}, &hidden{value}, []hidden{{value}}} {
			text := fmt.Sprintf("%"+verb, arg)
			if strings.Contains(text, marker) || strings.Contains(strings.ToLower(text), hexMarker) {
				t.Errorf("%%%s of %T shows the secret: %s", verb, arg, text)
			}
		}
	}
}

func TestValueNeverShowsInADifference(t *testing.T) {
	t.Parallel()
	diff := cmp.Diff(shown{secret.New(marker)}, shown{secret.New("other")})
	if diff == "" || strings.Contains(diff, marker) {
		t.Errorf("want a difference that does not show the secret:\n%s", diff)
	}
	if diff := cmp.Diff(shown{secret.New(marker)}, shown{secret.New(marker)}); diff != "" {
		t.Errorf("equal values differ (-want +got):\n%s", diff)
	}
}

func logged(value secret.Value, handler func(*bytes.Buffer) slog.Handler) string {
	var out bytes.Buffer
	slog.New(handler(&out)).Info("value", "value", value, "in_struct", shown{value}, slog.Group("group", "value", value))
	return out.String()
}

func encoded(t *testing.T, marshal func(any) ([]byte, error), v any) string {
	t.Helper()
	text, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReveal(t *testing.T) {
	t.Parallel()
	var unmarshalled secret.Value
	if err := json.Unmarshal([]byte(`"`+marker+`"`), &unmarshalled); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		value secret.Value
		want  string
	}{
		"new":          {secret.New(marker), marker},
		"unmarshalled": {unmarshalled, marker},
		"empty":        {secret.New(""), ""},
		"zero":         {secret.Value{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.value.Reveal(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got, want := test.value.IsZero(), test.want == ""; got != want {
				t.Errorf("IsZero: got %t, want %t", got, want)
			}
		})
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		a, b secret.Value
		want bool
	}{
		"same text":      {secret.New(marker), secret.New(marker), true},
		"another text":   {secret.New(marker), secret.New(marker + "x"), false},
		"empty and zero": {secret.New(""), secret.Value{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.a.Equal(test.b); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}
