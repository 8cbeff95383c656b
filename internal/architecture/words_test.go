package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// banned are words that this program does not use where people read: each has a
// plain one in its place. A phrase of several words may be broken over lines.
var banned = map[string]string{
	`looks? (at|for) (a|an|one|the|its) receipts?`: "check",
	`looked at`:                          "checked, examined",
	`(next|last|no|two|each|one) looks?`: "check",
	`asks? Apple|asked Apple|(is|are|was|be) asked about`: "check, call Apple",
	`asked again`: "checked again",
	`answers? that (is|are|was|were) (of )?no use|no use`: "failed response",
	`useful answers?|usable answers?`:                     "usable response",
	`due and with nobody|with nobody|nobody`:              "not claimed; say what is missing",
	`with the workers|in hand|at work`:                    "claimed, active, enabled",
	`given? back|gives? back`:                             "released",
	`set aside|setting aside`:                             "quarantined",
	`held against`:                                        "counts against",
	`sightings?|at the first sight`:                       "facts",
	`odd(ity|ities)`:                                      "unknown field",
	`favou?rites?|forgiven?|forgives?`:                    "secret selection; accepted",
	`own wishes|wishes`:                                   "schedule, settings",
	`anew`:                                                "again",
	`beside`:                                              "next to, with, in addition",
	`mends?|mended`:                                       "fix",
	`became of|becomes? of`:                               "result of",
	`goes by`:                                             "has",
	`harms?|harmed`:                                       "failure, damage",
	`at its end`:                                          "when it ends",
	`in trouble|trouble`:                                  "failing, failure",
	`stumbl(e|es|ed)`:                                     "panic",
	`(is|are|was|were) told|tells?|told`:                  "reports, shows",
	`company`:                                             "batch",
	`no matter|is too much|, please`:                      "say what is wrong and what to do",
	`there is no %q, but|left as it is`:                   "choose from …; not changed",
	`for want of|stands? still|stood still`:               "because … is missing; paused",
}

// TestWords holds what people read to the words of the house: messages, help, log
// lines, metrics, settings and column comments, which are all string literals of the
// programs or the migration, and the documents.
func TestWords(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "internal/dev" || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || strings.HasSuffix(name, "_test.go"):
			return nil
		case strings.HasSuffix(name, ".go") && (!strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "cmd/revalidator/")):
			for line, text := range literals(t, path) {
				checkWords(t, name, line, text)
			}
		case name == "README.md", strings.HasPrefix(name, "docs/"), strings.HasPrefix(name, "repository/migrations/"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			checkWords(t, name, 1, string(text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWordsObject: the test sees what it is there to see.
func TestWordsObject(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"the next\nlook comes later", "3 receipts are set aside", `--status: there is no %q, but %s`} {
		if len(findWords(text)) == 0 {
			t.Errorf("%q has no banned word", text)
		}
	}
	for _, text := range []string{"Sandbox", "a mental note", "harmonica", "store it once"} {
		if found := findWords(text); len(found) > 0 {
			t.Errorf("%q: found %v", text, found)
		}
	}
}

var bannedWords = func() map[*regexp.Regexp]string {
	compiled := make(map[*regexp.Regexp]string, len(banned))
	for pattern, instead := range banned {
		compiled[regexp.MustCompile(`(?i)(?:^|[^\w%])(`+strings.ReplaceAll(pattern, " ", `\s+`)+`)(?:\W|$)`)] = instead
	}
	return compiled
}()

type finding struct {
	at            int
	word, instead string
}

func findWords(text string) (all []finding) {
	for pattern, instead := range bannedWords {
		for _, m := range pattern.FindAllStringSubmatchIndex(text, -1) {
			all = append(all, finding{m[2], text[m[2]:m[3]], instead})
		}
	}
	return all
}

func checkWords(t *testing.T, file string, line int, text string) {
	t.Helper()
	for _, f := range findWords(text) {
		t.Errorf("%s:%d: %q: write %s", file, line+strings.Count(text[:f.at], "\n"), f.word, f.instead)
	}
}

// literals are the string literals of a file with a space in them, which code has not
// and sentences have, by line. SQL is left out: people do not read it.
func literals(t *testing.T, path string) map[int]string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int]string)
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err == nil && strings.Contains(text, " ") && !isSQL(text) {
			found[files.Position(lit.Pos()).Line] += text
		}
		return true
	})
	return found
}

var sqlVerb = regexp.MustCompile(`\b(SELECT|FROM|INSERT|UPDATE|DELETE|JOIN|WHERE|ORDER BY|AND|local|redis\.call)\b`)

func isSQL(text string) bool { return sqlVerb.MatchString(text) }
