package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/config"
	"revalidator/internal/dev/doctest"
)

func TestDocsSettings(t *testing.T) {
	t.Parallel()
	doctest.Part(t, "settings.md", "settings", config.Markdown())
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
