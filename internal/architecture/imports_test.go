package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "revalidator"

// allowed is the map of the house: what each package may import of ours, tests
// left aside. Arrows point to the ground, internal/iap; scheduler, worker and
// repository are siblings that do not know each other.
//
// A new package gets a line here, and an arrow is added only where it points
// down.
var allowed = map[string][]string{
	// The programs put everything together.
	"cmd/revalidator": {
		"scheduler", "worker", "repository", "jobs", "internal/iap", "internal/apps", "internal/claim", "internal/database", "internal/quarantine", "internal/runs",
		"internal/appstore", "internal/check", "internal/clock", "internal/config", "internal/forecast", "internal/intake", "internal/keyring",
		"internal/phrase", "internal/pulse", "internal/ratelimit", "internal/receipt", "internal/report", "internal/secret", "internal/stores", "internal/terminal", "internal/web",
	},
	"cmd/applesim": {"internal/dev/applesim"},
	"cmd/devstack": {"internal/dev/devstack", "internal/dev/devstack/pgtest"},
	"cmd/demo":     {"internal/dev/devstack"},
	"cmd/simulate": {"internal/dev/simulation", "internal/iap"},
	"cmd/bench": {
		"repository", "jobs", "internal/claim", "internal/runs", "internal/secret", "internal/appstore/signed", "internal/receipt",
		"internal/dev/applesign", "internal/dev/applesim", "internal/dev/devstack", "internal/dev/interop",
	},
	"cmd/faults": {"internal/dev/faults"},

	// The spine.
	"scheduler":  {"jobs", "internal/apps", "internal/claim", "internal/clock", "internal/database", "internal/iap", "internal/pulse", "internal/runs"},
	"worker":     {"jobs", "internal/iap", "internal/apps", "internal/claim", "internal/database", "internal/quarantine", "internal/appstore", "internal/clock", "internal/pulse", "internal/ratelimit", "internal/secret"},
	"repository": {"internal/apps", "internal/claim", "internal/clock", "internal/database", "internal/iap", "internal/quarantine", "internal/runs", "internal/secret"},
	"jobs":       {"internal/claim"},

	// What the spine stands on.
	"internal/appstore":        {"internal/iap", "internal/secret"},
	"internal/appstore/pki":    {},
	"internal/appstore/signed": {"internal/appstore/pki", "internal/iap"},
	"internal/claim":           {"internal/apps", "internal/iap", "internal/quarantine"},
	"internal/clock":           {"internal/iap"},
	"internal/config":          {"internal/secret"},
	"internal/forecast":        {"internal/iap"},
	"internal/intake":          {"internal/database", "internal/iap", "internal/receipt"},
	"internal/keyring":         {"internal/secret"},
	"internal/apps":            {"internal/iap"},
	"internal/runs":            {"internal/iap"},
	"internal/quarantine":      {"internal/iap"},
	"internal/database":        {},
	"internal/phrase":          {},
	"internal/pulse":           {},
	"internal/ratelimit":       {"internal/clock"},
	"internal/receipt":         {"internal/appstore/pki", "internal/iap"},
	"internal/stores":          {"internal/clock", "internal/config"},
	"internal/terminal":        {"internal/phrase"},
	"internal/web":             {"internal/secret"},
	"internal/secret":          {},
	"internal/iap":             {},

	// One receipt by itself, which nothing is stored of.
	"internal/check": {
		"internal/appstore", "internal/apps", "internal/iap", "internal/ratelimit", "internal/receipt", "internal/report", "internal/secret", "worker",
	},
	// Read models for people. What is stored reaches them through interfaces.
	"internal/report": {
		"jobs", "repository", "internal/appstore", "internal/apps", "internal/claim", "internal/clock", "internal/database", "internal/forecast", "internal/iap", "internal/keyring", "internal/quarantine", "internal/runs", "internal/phrase", "internal/ratelimit",
	},

	// Development and tests. The simulator shares nothing with its client, so
	// that a wrong field name cannot cancel itself out.
	"internal/dev/applesim":           {},
	"internal/dev/applesign":          {},
	"internal/dev/corpustest":         {},
	"internal/dev/simulation":         {"internal/iap"},
	"internal/architecture":           {},
	"internal/dev/devstack":           {},
	"internal/dev/doctest":            {},
	"internal/dev/e2e":                {},
	"internal/dev/faults":             {"internal/dev/applesim", "internal/claim", "internal/clock", "internal/dev/devstack", "internal/dev/judge", "jobs"},
	"internal/dev/interop":            {},
	"internal/dev/judge":              {"internal/dev/applesim"},
	"internal/dev/model":              {"internal/claim"},
	"internal/dev/devstack/pgtest":    {"internal/dev/devstack"},
	"internal/dev/devstack/redistest": {"internal/dev/devstack"},
	"internal/dev/devstack/tlstest":   {},
	"internal/dev/repositorytest":     {"repository", "internal/secret", "internal/dev/devstack/pgtest"},
}

// development is where everything lies that is never part of the production binary.
const development = "internal/dev/"

// goPackage is what go list tells of a package.
type goPackage struct {
	ImportPath string
	Doc        string   // the first sentence of the package comment
	Imports    []string // by the code, without the tests
	Deps       []string // Imports, and theirs in turn
}

func (p goPackage) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Doc,Imports,Deps", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = t.Output()
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("list the packages: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var next goPackage
		err := decoder.Decode(&next)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("read the list of packages: %v", err)
		}
		packages = append(packages, next)
	}
}

// ours keeps this module's packages, without its name.
func ours(imports []string) []string {
	var kept []string
	for _, path := range imports {
		if inside, ok := strings.CutPrefix(path, module+"/"); ok {
			kept = append(kept, inside)
		}
	}
	return kept
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		targets, known := allowed[p.path()]
		if !known {
			t.Errorf("%s is not on the map: add it to the table in internal/architecture/imports_test.go with the packages that it may import", p.path())
			continue
		}
		for _, target := range ours(p.Imports) {
			if !slices.Contains(targets, target) {
				t.Errorf("%s imports %s: declare the interface that it needs in %[1]s instead, or add the arrow to the table if it points to the ground", p.path(), target)
			}
		}
	}
}

func TestGroundImportsOnlyStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		if p.path() != "internal/iap" {
			continue
		}
		for _, path := range p.Imports {
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") || first == module {
				t.Errorf("internal/iap imports %s, want the standard library only", path)
			}
		}
		return
	}
	t.Error("there is no internal/iap")
}

func TestMapHasNoCycle(t *testing.T) {
	t.Parallel()
	var reaches func(from, to string, seen map[string]bool) bool
	reaches = func(from, to string, seen map[string]bool) bool {
		if seen[from] {
			return false
		}
		seen[from] = true
		return slices.ContainsFunc(allowed[from], func(next string) bool {
			return next == to || reaches(next, to, seen)
		})
	}
	for path := range allowed {
		if reaches(path, path, map[string]bool{}) {
			t.Errorf("the arrows from %s lead back to it", path)
		}
	}
}

func TestProductionBinary(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		if p.path() != "cmd/revalidator" {
			continue
		}
		linked := ours(p.Deps)
		for _, path := range linked {
			if strings.HasPrefix(path, development) {
				t.Errorf("%s is linked into cmd/revalidator", path)
			}
		}
		if slices.Contains(p.Deps, "testing") {
			t.Error("the package testing is linked into cmd/revalidator")
		}
		return
	}
	t.Error("there is no cmd/revalidator")
}

func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment: say what it holds and what it leaves to others", p.path())
		}
	}
}

func TestTopLevel(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		// bin is built and not kept; docs is there or not.
		if name := entry.Name(); entry.IsDir() && !strings.HasPrefix(name, ".") && name != "bin" && name != "docs" {
			got = append(got, name)
		}
	}
	want := []string{"cmd", "deploy", "internal", "jobs", "repository", "scheduler", "worker"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("folders at the top (-want +got):\n%s", diff)
	}
}
