package devstack

import (
	"os/exec"
	"strings"
)

// Tool is a part of the machine that development needs, or does better with.
type Tool string

// The tools, by the names that messages give them.
const (
	ToolPostgres Tool = "Postgres"
	ToolRedis    Tool = "Redis"
	// ToolCompiler is for the race detector.
	ToolCompiler Tool = "C compiler"
	// ToolChromium is for the tests of the web pages.
	ToolChromium Tool = "Chromium"
	ToolMake     Tool = "make"
)

// packages are those of Debian that hold the tool.
func (t Tool) packages() []string {
	switch t {
	case ToolPostgres:
		return []string{"postgresql"}
	case ToolRedis:
		return []string{"redis-server"}
	case ToolCompiler:
		return []string{"gcc", "libc6-dev"}
	case ToolChromium:
		return []string{"chromium"}
	}
	return []string{string(t)}
}

// Installed reports whether this machine has the tool.
func (t Tool) Installed() bool {
	switch t {
	case ToolPostgres:
		_, err := installedPostgres()
		return err == nil
	case ToolRedis:
		_, err := findRedis(Config{})
		return err == nil
	case ToolCompiler:
		return compiles()
	case ToolChromium:
		return Chromium() != ""
	}
	return inPath(string(t)) != ""
}

// Chromium is the path of Chromium or of Chrome; empty where there is none.
func Chromium() string { return inPath("chromium", "chromium-browser", "google-chrome") }

// inPath is the path of the first of the programs that PATH has.
func inPath(programs ...string) string {
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	return ""
}

// compiles has Go's C compiler read a header: a compiler alone, without those of
// the C library, cannot build the race detector.
func compiles() bool {
	compiler, err := exec.Command("go", "env", "CC").Output()
	words := strings.Fields(string(compiler))
	if err != nil || len(words) == 0 {
		return false
	}
	probe := exec.Command(words[0], append(words[1:], "-E", "-")...)
	probe.Stdin = strings.NewReader("#include <stdlib.h>\n")
	return probe.Run() == nil
}
