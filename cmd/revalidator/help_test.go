package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"revalidator/internal/config"
)

// commands lists the program's own commands, without those that cobra adds.
func commands() []*cobra.Command {
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&program{}).root())
	return all
}

func TestHelp(t *testing.T) {
	t.Parallel()
	s := &session{}
	for _, c := range commands() {
		if c.Name() == "settings" {
			continue // it changes with each setting, and has a test of its own
		}
		path := strings.Fields(c.CommandPath())[1:]
		o := s.must(t, append(path, "--help")...)
		if o.stderr != "" {
			t.Errorf("%s --help: got %q on standard error, want nothing", c.CommandPath(), o.stderr)
		}
		if c.HasParent() && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
	}
	checkWidth(t, s.transcript.String())
	golden(t, "help.txt", s.transcript.String())
}

// tableRow is one of three columns or more, which is cut on a terminal only: see
// TestTablesOnTerminals.
var tableRow = regexp.MustCompile(`\S {2,}\S.*\S {2,}\S`)

// longWord is one after a label, which no line has room for.
var longWord = regexp.MustCompile(`^ *\S+ {2,}\S{46,}$`)

// checkWidth holds a text to the columns of a terminal, but for tables and for
// single words that are longer, which are whole where there is no terminal.
func checkWidth(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > 80 && !tableRow.MatchString(line) && !longWord.MatchString(line) && len(strings.Fields(line)) > 1 {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}
}

func TestHelpSettings(t *testing.T) {
	t.Parallel()
	text := (&session{}).must(t, "help", "settings").stdout
	checkWidth(t, text)
	rest := text
	for _, setting := range config.Settings() {
		at := strings.Index(rest, "\n  "+setting.Env)
		if at < 0 {
			t.Fatalf("%s is missing, or not in the order of the settings", setting.Env)
		}
		rest = rest[at:]
		if setting.Default != "" && !strings.Contains(rest, "Default: "+setting.Default+"\n") {
			t.Errorf("%s: the default %s is missing", setting.Env, setting.Default)
		}
		if setting.Secret && !strings.Contains(rest, setting.Env+"_FILE") {
			t.Errorf("%s: that it may come from a file is missing", setting.Env)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			o := (&session{}).must(t, "completion", shell)
			if !strings.Contains(o.stdout, "revalidator") || o.stderr != "" {
				t.Errorf("got %d bytes on standard output and %q on standard error", len(o.stdout), o.stderr)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	o := (&session{}).must(t, "version")
	if !strings.HasPrefix(o.stdout, "revalidator ") || !strings.Contains(o.stdout, "go1.") || o.stderr != "" {
		t.Errorf("got %q and %q on standard error", o.stdout, o.stderr)
	}
}

// TestWithoutSettings holds the commands that need no settings to needing none,
// not even right ones.
func TestWithoutSettings(t *testing.T) {
	t.Parallel()
	s := &session{env: []string{"REVALIDATOR_NONSENSE=1", "DATABASE_URL=nonsense://"}}
	for _, args := range [][]string{{"version"}, {"help", "settings"}, {"keys", "generate"}, {"completion", "bash"}, {}} {
		s.must(t, args...)
	}
}

func TestKeysGenerate(t *testing.T) {
	t.Parallel()
	s := &session{}
	first, second := s.must(t, "keys", "generate"), s.must(t, "keys", "generate")
	if first.stdout == second.stdout {
		t.Error("the same keys came twice")
	}
	if strings.Count(first.stdout, "\n") != 1 || first.stderr != "" {
		t.Errorf("got %d lines and %q on standard error, want one line that fits into a variable",
			strings.Count(first.stdout, "\n"), first.stderr)
	}
	if !bytes.HasPrefix([]byte(first.stdout), []byte("{")) {
		t.Error("standard output is no key set")
	}
}
