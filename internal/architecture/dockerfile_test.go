package architecture

import (
	"cmp"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// instructions lists the arguments of every instruction of that name in the
// Dockerfile.
func instructions(t *testing.T, name string) [][]string {
	t.Helper()
	var found [][]string
	for line := range strings.Lines(readFile(t, "Dockerfile")) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			found = append(found, fields[1:])
		}
	}
	return found
}

// copied lists what the Dockerfile takes from the repository.
func copied(t *testing.T) []string {
	t.Helper()
	var sources []string
	for _, arguments := range instructions(t, "COPY") {
		if !strings.HasPrefix(arguments[0], "--from=") {
			sources = append(sources, arguments[:len(arguments)-1]...)
		}
	}
	return sources
}

func TestDockerfileCopiesAllCode(t *testing.T) {
	t.Parallel()
	sources := copied(t)
	for _, source := range sources {
		if _, err := os.Stat(filepath.Join("../..", source)); err != nil {
			t.Errorf("the Dockerfile copies %s: %v", source, err)
		}
		if !strings.Contains(readFile(t, ".dockerignore"), "\n!"+source+"\n") {
			t.Errorf(".dockerignore keeps %s, which the Dockerfile copies, out", source)
		}
	}
	for path := range allowed {
		if top, _, _ := strings.Cut(path, "/"); !slices.Contains(sources, top) {
			t.Errorf("the Dockerfile does not copy %s", top)
		}
	}
}

func TestDockerfileGoVersion(t *testing.T) {
	t.Parallel()
	directive := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(readFile(t, "go.mod"))
	if directive == nil {
		t.Fatal("go.mod names no Go version")
	}
	// An image golang:1.26 is the newest 1.26.x, so its language version counts.
	want := version.Lang("go" + directive[1])
	for _, image := range instructions(t, "FROM") {
		tag, isGo := strings.CutPrefix(image[0], "golang:")
		if !isGo {
			continue
		}
		number, _, _ := strings.Cut(tag, "-")
		if got := "go" + number; version.Compare(got, want) < 0 {
			t.Errorf("the Dockerfile builds with %s, go.mod wants %s", got, want)
		}
		return
	}
	t.Error("no stage of the Dockerfile is from a golang image")
}

func TestDockerfileIsPinnedAndNotRoot(t *testing.T) {
	t.Parallel()
	stages := map[string]bool{}
	for _, from := range instructions(t, "FROM") {
		image, tag, _ := strings.Cut(from[0], ":")
		if !stages[image] && cmp.Or(tag, "latest") == "latest" {
			t.Errorf("image %s has no version", from[0])
		}
		if strings.Contains(image, "distroless") && !strings.HasSuffix(tag, "nonroot") {
			t.Errorf("image %s runs as root", from[0])
		}
		if len(from) == 3 {
			stages[from[2]] = true
		}
	}
}

// TestDockerfilePrograms looks for packages that need cgo, which would not run
// in an image without a C library.
func TestDockerfilePrograms(t *testing.T) {
	t.Parallel()
	var programs []string
	for _, arguments := range instructions(t, "RUN") {
		if !slices.Contains(arguments, "build") {
			continue
		}
		if arguments[0] != "CGO_ENABLED=0" {
			t.Errorf("RUN %s: want CGO_ENABLED=0 first", strings.Join(arguments, " "))
		}
		for _, argument := range arguments {
			if strings.HasPrefix(argument, "./cmd/") {
				programs = append(programs, argument)
			}
		}
	}
	if len(programs) == 0 {
		t.Fatal("the Dockerfile builds nothing")
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, programs...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = t.Output()
	if err := cmd.Run(); err != nil {
		t.Errorf("list what %v is built of without cgo: %v", programs, err)
	}
}
