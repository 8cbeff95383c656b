package devstack

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Install installs the tools that this machine lacks, where it can: on Debian
// and what descends from it, as root. It says first what it installs, and
// elsewhere what to install by hand. Its error wraps ErrNotInstalled where a
// tool is missing after all.
func Install(ctx context.Context, output io.Writer, tools ...Tool) error {
	return debian{
		output:    output,
		installed: Tool.Installed,
		allowed:   os.Geteuid() == 0 && inPath("apt-get") != "",
		policy:    policyFile,
		apt:       aptGet,
		between:   5 * time.Second,
	}.install(ctx, tools)
}

// debian is what Install needs of the machine.
type debian struct {
	output    io.Writer
	installed func(Tool) bool
	allowed   bool   // to install packages
	policy    string // policyFile
	apt       func(ctx context.Context, output io.Writer, arguments ...string) error
	between   time.Duration // two tries
}

func (d debian) install(ctx context.Context, tools []Tool) error {
	missing := slices.DeleteFunc(slices.Clone(tools), d.installed)
	if len(missing) == 0 {
		return nil
	}
	if !d.allowed {
		return fmt.Errorf("%s: %w; to install, run: %s", list(missing), ErrNotInstalled, advice(missing))
	}
	wanted := packages(missing)
	fmt.Fprintf(d.output, "Missing on this machine: %s. Installing %s with apt-get; no service is started.\n", list(missing), strings.Join(wanted, ", "))
	err := withoutServices(d.policy, func() error {
		if err := d.retry(ctx, "update"); err != nil {
			return err
		}
		return d.retry(ctx, append([]string{"install", "--yes", "--no-install-recommends"}, wanted...)...)
	})
	if err != nil {
		return fmt.Errorf("%s: %w, and could not be installed: %w", list(missing), ErrNotInstalled, err)
	}
	if missing = slices.DeleteFunc(missing, d.installed); len(missing) > 0 {
		return fmt.Errorf("%s: %w, though apt-get installed %s", list(missing), ErrNotInstalled, strings.Join(packages(missing), ", "))
	}
	return nil
}

// tries is how often apt-get is run: mirrors fail now and then, and another
// apt-get may hold the lists.
const tries = 3

func (d debian) retry(ctx context.Context, arguments ...string) error {
	for try := 1; ; try++ {
		err := d.apt(ctx, d.output, arguments...)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("apt-get %s: %w", arguments[0], err)
		if try == tries {
			return err
		}
		fmt.Fprintf(d.output, "%v; try %d of %d follows\n", err, try+1, tries)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * d.between):
		}
	}
}

// aptGet is interrupted when ctx ends, and not killed: it ends a download then,
// but lets a package be installed to its end.
func aptGet(ctx context.Context, output io.Writer, arguments ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-qq", "-o", "DPkg::Lock::Timeout=120"}, arguments...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // or Ctrl-C would reach dpkg as well
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd.Run()
}

func packages(tools []Tool) []string {
	var all []string
	for _, tool := range tools {
		all = append(all, tool.packages()...)
	}
	return all
}

func list(tools []Tool) string {
	names := make([]string, len(tools))
	for i, tool := range tools {
		names[i] = string(tool)
	}
	return strings.Join(names, ", ")
}

// advice is how a person installs the tools.
func advice(tools []Tool) string {
	if runtime.GOOS == "darwin" {
		brew := map[Tool]string{ToolPostgres: "postgresql@16", ToolRedis: "redis", ToolCompiler: "gcc", ToolChromium: "chromium", ToolMake: "make"}
		names := make([]string, len(tools))
		for i, tool := range tools {
			names[i] = brew[tool]
		}
		return "brew install " + strings.Join(names, " ")
	}
	command := "apt-get install " + strings.Join(packages(tools), " ")
	if inPath("apt-get") == "" {
		return command + " (Debian; other systems name packages in other ways)"
	}
	return "sudo " + command
}
