package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"revalidator/internal/config"
)

// settingsTopic is what 'revalidator help settings' shows.
func settingsTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("Settings are variables of the environment. What is secret can also come from a\nfile, which the variable with _FILE at its end names.\n")
	for _, s := range config.Settings() {
		name := s.Env
		if s.Secret {
			name += " (or " + s.Env + "_FILE)"
		}
		fmt.Fprintf(&text, "\n  %s\n%s", name, indented(strings.Fields(s.Meaning), 6, 80))
		if s.Default != "" {
			fmt.Fprintf(&text, "      Default: %s\n", s.Default)
		}
	}
	return &cobra.Command{Use: "settings", Short: "The settings, and what they mean", Long: text.String()}
}

// indented puts pieces of text, which stay whole, into lines of at most width
// columns, each indented.
func indented(pieces []string, indent, width int) string {
	var lines strings.Builder
	column := 0
	for _, piece := range pieces {
		switch {
		case column == 0 || column+1+len(piece) > width:
			if column > 0 {
				lines.WriteString("\n")
			}
			lines.WriteString(strings.Repeat(" ", indent) + piece)
			column = indent + len(piece)
		default:
			lines.WriteString(" " + piece)
			column += 1 + len(piece)
		}
	}
	return lines.String() + "\n"
}
