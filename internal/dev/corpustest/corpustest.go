// Package corpustest reads a folder of recorded App Store data for tests: the
// files that its INDEX.csv names, each with what an independent script expects
// of it. The folder is no part of the repository, and any one of the layout
// will do; a test learns from the entries how many files there are. It is
// imported by tests only.
package corpustest

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FolderVariable names the environment variable with the path of the folder.
const FolderVariable = "REVALIDATOR_CORPUS"

// Kind is what a file holds: the column kind of INDEX.csv up to its first
// hyphen, as in receipt-xcode. Files of other kinds are not read.
type Kind string

// The kinds that tests read.
const (
	KindReceipt      Kind = "receipt"      // in base64
	KindResponse     Kind = "response"     // a reply of verifyReceipt
	KindFragment     Kind = "fragment"     // a part of a reply
	KindNotification Kind = "notification" // of version 1
	KindJWS          Kind = "jws"          // in compact form, or a body around one
	KindCertificate  Kind = "cert"         // in DER or PEM
)

// Entry is one file with its row of INDEX.csv.
type Entry struct {
	File   string // as INDEX.csv names it, below the folder
	Path   string // where it is
	Kind   Kind
	Data   []byte
	expect string // JSON
}

// Name is the name of the file without its folder.
func (e Entry) Name() string { return path.Base(e.File) }

// Expect decodes what the script expects of the file into v, a pointer to the
// fields that the test compares.
func (e Entry) Expect(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(e.expect), v); err != nil {
		t.Fatalf("INDEX.csv expects of %s: %v", e.File, err)
	}
	if c, ok := corrections[e.File]; ok {
		if err := json.Unmarshal([]byte(c.expect), v); err != nil {
			t.Fatalf("correct what is expected of %s: %v", e.File, err)
		}
	}
}

// Entries returns the entries of some kinds, sorted by file. The test is
// skipped where no folder is set and where its INDEX.csv names no such file,
// and it fails where the folder has no INDEX.csv. A file that INDEX.csv names
// and the folder lacks is left out; the test fails where all of them are.
func Entries(t testing.TB, kinds ...Kind) []Entry {
	t.Helper()
	folder := os.Getenv(FolderVariable)
	if folder == "" {
		t.Skipf("%s is not set: it names a folder of recorded App Store data, which is no part of the repository", FolderVariable)
	}
	entries, absent, err := read(folder, kinds)
	switch {
	case err != nil:
		t.Fatalf("read the folder that %s names: %v", FolderVariable, err)
	case len(entries)+len(absent) == 0:
		t.Skipf("%s names no files of kind %s", filepath.Join(folder, "INDEX.csv"), kinds)
	case len(entries) == 0:
		t.Fatalf("%s has none of the %d files of kind %s that its INDEX.csv names", folder, len(absent), kinds)
	case len(absent) > 0:
		t.Logf("%s lacks %d files that its INDEX.csv names: %s", folder, len(absent), strings.Join(absent, ", "))
	}
	return entries
}

// read returns the files of a folder and those that it lacks.
func read(folder string, kinds []Kind) (entries []Entry, absent []string, err error) {
	rows, err := index(folder)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range rows {
		if !slices.Contains(kinds, e.Kind) {
			continue
		}
		e.Path = filepath.Join(folder, filepath.FromSlash(e.File))
		e.Data, err = os.ReadFile(e.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			absent = append(absent, e.File)
		case err != nil:
			return nil, nil, err
		default:
			entries = append(entries, e)
		}
	}
	return entries, absent, nil
}

// index reads INDEX.csv, whose rows and columns may stand in any order.
func index(folder string) ([]Entry, error) {
	name := filepath.Join(folder, "INDEX.csv")
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	var columns [3]int
	for i, column := range []string{"file", "kind", "expect"} {
		if columns[i] = slices.Index(rows[0], column); columns[i] < 0 {
			return nil, fmt.Errorf("%s has no column %s", name, column)
		}
	}
	entries := make([]Entry, 0, len(rows)-1)
	for _, row := range rows[1:] {
		kind, _, _ := strings.Cut(row[columns[1]], "-")
		entries = append(entries, Entry{File: row[columns[0]], Kind: Kind(kind), expect: row[columns[2]]})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.File, b.File) })
	return entries, nil
}
