package config_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/config"
)

var update = flag.Bool("update", false, "rewrite the table of settings in README.md")

const (
	readme = "../../README.md"
	begin  = "<!-- settings:begin -->\n"
	end    = "<!-- settings:end -->"
)

func TestReadmeListsTheSettings(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	got, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("README.md has no lines %q and %q for the table of settings", begin, end)
	}
	want := "\n" + config.Markdown() + "\n"
	if *update {
		if err := os.WriteFile(readme, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table of settings; go test ./internal/config -run Readme -update rewrites it (-want +got):\n%s", diff)
	}
}

func TestSettingsAreComplete(t *testing.T) {
	t.Parallel()
	settings := config.Settings()
	if len(settings) < 30 {
		t.Fatalf("%d settings, want all of Config", len(settings))
	}
	seen := make(map[string]bool)
	for _, setting := range settings {
		if seen[setting.Env] {
			t.Errorf("%s appears twice", setting.Env)
		}
		seen[setting.Env] = true
		if !strings.HasSuffix(setting.Meaning, ".") || strings.ContainsAny(setting.Meaning, "|`\n") {
			t.Errorf("%s: meaning %q does not fit into a table as a sentence", setting.Env, setting.Meaning)
		}
	}
}

func TestSecretsAreMarked(t *testing.T) {
	t.Parallel()
	var got []string
	for _, setting := range config.Settings() {
		if setting.Secret {
			got = append(got, setting.Env)
		}
	}
	if diff := cmp.Diff([]string{"DATABASE_URL", "REDIS_URL", "REVALIDATOR_KEYS", "REVALIDATOR_UI_PASSWORD"}, got); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}
