package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"revalidator/internal/config"
	"revalidator/internal/terminal"
)

// settingsTopic is what 'revalidator help settings' shows.
func settingsTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("Settings are variables of the environment. What is secret can also come from a\nfile, which the variable whose name ends with _FILE names.\n")
	for _, s := range config.Settings() {
		name := s.Env
		if s.Secret {
			name += " (or " + s.Env + "_FILE)"
		}
		fmt.Fprintf(&text, "\n  %s\n%s", name, terminal.Wrap(6, strings.Fields(s.Meaning)...))
		if s.Default != "" {
			fmt.Fprintf(&text, "      Default: %s\n", s.Default)
		}
	}
	return &cobra.Command{Use: "settings", Short: "The settings, and what they mean", Long: text.String()}
}
