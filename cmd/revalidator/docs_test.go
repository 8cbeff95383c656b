package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"revalidator/internal/dev/doctest"
	"revalidator/internal/report"
	"revalidator/internal/terminal"
)

func TestDocsMetrics(t *testing.T) {
	t.Parallel()
	var shown doctest.Metrics
	shown.MustRegister(report.NewOperations(report.OperationsConfig{}))
	doctest.Part(t, "metrics.md", "installation", shown.Markdown(t))
}

func TestDocsCommands(t *testing.T) {
	t.Parallel()
	root := (&program{Terminal: terminal.Terminal{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}}).root()
	var text strings.Builder
	writeHelp(t, &text, root)
	doctest.Part(t, "commands.md", "commands", text.String())
}

// writeHelp writes what --help shows of a command and of those below it.
func writeHelp(t *testing.T, out *strings.Builder, c *cobra.Command) {
	t.Helper()
	var help strings.Builder
	c.SetOut(&help)
	c.InitDefaultHelpFlag()
	if err := c.Help(); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		out.WriteString("\n")
	}
	fmt.Fprintf(out, "## %s\n\n```\n%s```\n", c.CommandPath(), strings.TrimLeft(help.String(), "\n"))
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" {
			writeHelp(t, out, sub)
		}
	}
}
