package pgtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// prepare makes one table with one row.
func prepare(ctx context.Context, url string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, `CREATE TABLE notes AS SELECT 'template' AS text`)
	return err
}

// newTemplate returns a name that no other test uses, and drops the template
// after the test: the server may be a developer's own.
func newTemplate(t *testing.T) string {
	t.Helper()
	name := "pgtest_" + strings.ToLower(rand.Text()[:10])
	server := connect(t.Context(), t)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, database := range []string{"template_" + name, "template_" + name + unfinishedSuffix} {
			if err := server.exec(ctx, "DROP DATABASE IF EXISTS %s", database); err != nil {
				t.Errorf("drop the template: %v", err)
			}
		}
	})
	return name
}

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	template := newTemplate(t)
	var prepared atomic.Int32
	counting := func(ctx context.Context, url string) error {
		prepared.Add(1)
		return prepare(ctx, url)
	}
	t.Run("copies", func(t *testing.T) {
		for range 4 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				db := open(t, Database(t, template, counting))
				if _, err := db.ExecContext(t.Context(), `INSERT INTO notes VALUES ('test')`); err != nil {
					t.Fatal(err)
				}
				var rows int
				if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM notes`).Scan(&rows); err != nil {
					t.Fatal(err)
				}
				if rows != 2 {
					t.Errorf("rows: got %d, want 2, the template's and this test's", rows)
				}
			})
		}
	})
	if got := prepared.Load(); got != 1 {
		t.Errorf("preparations: got %d, want 1", got)
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	template := newTemplate(t)
	var url string
	t.Run("owner", func(owner *testing.T) {
		url = Database(owner, template, prepare)
		// A connection that is still open when the test ends is no obstacle.
		if err := open(t, url).PingContext(owner.Context()); err != nil {
			owner.Fatal(err)
		}
	})
	if err := open(t, url).PingContext(t.Context()); err == nil {
		t.Error("the database outlived its test")
	}
}

func TestTemplateOfFailedPreparation(t *testing.T) {
	t.Parallel()
	template := newTemplate(t)
	server := connect(t.Context(), t)
	broken := errors.New("broken")
	halfway := func(ctx context.Context, url string) error {
		return errors.Join(prepare(ctx, url), broken)
	}
	if _, err := server.template(t.Context(), template, halfway); !errors.Is(err, broken) {
		t.Errorf("error: got %v, want %v", err, broken)
	}
	again := false
	whole := func(ctx context.Context, url string) error {
		again = true
		return prepare(ctx, url) // It fails where the first one left its table.
	}
	if _, err := server.template(t.Context(), template, whole); err != nil {
		t.Errorf("preparation after a failed one: %v", err)
	}
	if !again {
		t.Error("the database of a failed preparation was taken for a template")
	}
}

func TestTemplateNameTooLong(t *testing.T) {
	t.Parallel()
	server := connect(t.Context(), t)
	longest := strings.Repeat("x", maxNameLength-len("template_"+unfinishedSuffix))
	if _, err := server.template(t.Context(), longest+"x", prepare); err == nil {
		t.Error("a name that Postgres cuts off was accepted")
	}
}

// templateVariable makes this test program one of those that share a template.
const templateVariable = "PGTEST_TEST_TEMPLATE"

// TestShare is no test of its own: TestProgramsShareTemplate runs it in other
// processes.
func TestShare(t *testing.T) {
	template := os.Getenv(templateVariable)
	if template == "" {
		t.Skip("only TestProgramsShareTemplate runs this")
	}
	Database(t, template, func(ctx context.Context, url string) error {
		fmt.Println("prepared here")
		return prepare(ctx, url)
	})
}

func TestProgramsShareTemplate(t *testing.T) {
	t.Parallel()
	template := newTemplate(t)
	const programs = 3
	outputs := make([]string, programs)
	var running sync.WaitGroup
	for i := range programs {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestShare$")
		cmd.Env = append(os.Environ(), templateVariable+"="+template, URLVariable+"="+serverURL(t))
		running.Go(func() {
			output, err := cmd.CombinedOutput()
			outputs[i] = string(output)
			if err != nil {
				t.Errorf("program %d: %v\n%s", i, err, output)
			}
		})
	}
	running.Wait()
	if got := strings.Count(strings.Join(outputs, ""), "prepared here"); got != 1 {
		t.Errorf("preparations in %d programs: got %d, want 1", programs, got)
	}
}
