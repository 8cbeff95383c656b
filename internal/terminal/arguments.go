package terminal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Finish completes a root command with all its subcommands: help that fits a
// terminal, and errors that say what was wrong with the command line.
func Finish(root *cobra.Command) {
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return Usage(fmt.Errorf("%w\nSee '%s --help'", flagError(err), c.CommandPath()))
	})
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	addHelp(root)
	finish(root)
}

// usageTemplate is cobra's template with three changes: a command that only holds
// others is not shown as if it could be run by itself, flags are broken into
// lines of a terminal, and the last line fits into one.
func usageTemplate(template string) string {
	return strings.NewReplacer(
		"{{if .Runnable}}", "{{if and .Runnable (not .Annotations.group)}}",
		".FlagUsages |", ".FlagUsagesWrapped 80 |",
		"for more information about a command", "for more about a command",
	).Replace(template)
}

// finish makes wrong arguments an error of usage, and a command that only holds
// others say which ones it holds.
func finish(c *cobra.Command) {
	// Use names the flags where there are any.
	c.DisableFlagsInUseLine = true
	if c.HasSubCommands() && !c.Runnable() {
		c.Annotations = map[string]string{"group": "yes"} // for usageTemplate
		c.Args = knownCommand
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return Usage(fmt.Errorf("%w\nSee '%s --help'", err, c.CommandPath()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		finish(sub)
	}
}

// addHelp adds cobra's help command, and has it refuse what is no command, of
// which it would show the help of another one.
func addHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Short = "Show the help of a command, or what the settings mean"
			c.Long = ""
			c.Example = "  revalidator help backfill resume\n  revalidator help settings"
			c.Args = func(_ *cobra.Command, args []string) error {
				known, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				return knownCommand(known, rest)
			}
		}
	}
}

// flagError is what is wrong with the value of a flag, without the words of Go's
// parsers.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag := invalid.GetFlag()
	reason := fmt.Sprint(invalid.Unwrap())
	switch flag.Value.Type() {
	case "int", "int64":
		reason = "want a whole number"
	case "float64":
		reason = "want a number"
	case "bool":
		reason = "want true or false"
	}
	return fmt.Errorf("--%s %q: %s", flag.Name, invalid.GetValue(), reason)
}

// suggestionDistance is how many typing mistakes a suggestion may be away.
const suggestionDistance = 2

// knownCommand refuses a mistyped subcommand, and suggests what was meant.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = suggestionDistance
	err := fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
	}
	return err
}

// NoArguments refuses arguments where a command takes none.
func NoArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: this command takes flags only", args[0])
	}
	return nil
}

// OneArgument asks for the one argument that a command takes.
func OneArgument(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 || args[0] == "":
			return errors.New(what + " is missing")
		case len(args) > 1:
			return fmt.Errorf("unexpected argument %q: give one %s", args[1], what)
		}
		return nil
	}
}
