package main

import (
	"fmt"
	"runtime/debug"

	"revalidator/internal/terminal"

	"github.com/spf13/cobra"
)

func (p *program) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "version [--json]",
		Short:   "Print the version",
		Example: "  revalidator version",
		Args:    terminal.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			v := version()
			return p.PrintLine(v, "%s", v)
		},
	}
	p.AddJSON(c)
	return c
}

// build is what the program was built from.
type build struct {
	Version string `json:"version"`
	// Commit is empty where the program was not built from a checkout.
	Commit string `json:"commit"`
	Go     string `json:"go"`
}

// version comes from the module or the commit that the program was built from.
func version() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{}
	}
	v := build{Version: info.Main.Version, Go: info.GoVersion}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	return v
}

func (v build) String() string {
	switch {
	case v.Go == "":
		return "revalidator, built without module information"
	case v.Commit == "":
		return fmt.Sprintf("revalidator %s, %s", v.Version, v.Go)
	}
	return fmt.Sprintf("revalidator %s, commit %s, %s", v.Version, v.Commit, v.Go)
}
