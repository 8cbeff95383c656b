package devstack

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// postgresFolders are the folders in which to look for Postgres's programs, in
// order: PATH first, so that a developer's choice wins, then the newest of
// each installer. Debian keeps initdb out of PATH.
func postgresFolders() []string {
	folders := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/local/pgsql/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
	} {
		folders = append(folders, newestFirst(pattern)...)
	}
	return folders
}

// newestFirst lists what matches pattern, the highest number in it first.
func newestFirst(pattern string) []string {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil // The patterns are constants, and good ones.
	}
	slices.SortStableFunc(found, func(a, b string) int {
		return cmp.Compare(firstNumber(b), firstNumber(a))
	})
	return found
}

func firstNumber(path string) int {
	start := 0
	for start < len(path) && (path[start] < '0' || path[start] > '9') {
		start++
	}
	end := start
	for end < len(path) && path[end] >= '0' && path[end] <= '9' {
		end++
	}
	number, err := strconv.Atoi(path[start:end])
	if err != nil {
		return 0
	}
	return number
}

// folderWith returns the first folder that holds every one of the programs,
// with symbolic links followed: initdb looks for postgres next to itself.
func folderWith(folders []string, programs ...string) (string, error) {
	for _, folder := range folders {
		real, err := filepath.EvalSymlinks(filepath.Join(folder, programs[0]))
		if err != nil {
			continue
		}
		candidate := filepath.Dir(real)
		if hasAll(candidate, programs) {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("no folder with %v: %w", programs, ErrNotInstalled)
}

func hasAll(folder string, programs []string) bool {
	return !slices.ContainsFunc(programs, func(program string) bool {
		_, err := exec.LookPath(filepath.Join(folder, program))
		return err != nil
	})
}
