package repository_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"revalidator/internal/dev/doctest"
	"revalidator/internal/dev/repositorytest"
)

// documentedColumns are those of the tables that the migrations make, without
// goose's own table and without partitions.
const documentedColumns = `
	SELECT t.relname AS table_name,
	       COALESCE(obj_description(t.oid, 'pg_class'), '') AS about,
	       c.attname AS column_name,
	       format_type(c.atttypid, c.atttypmod) AS type,
	       NOT c.attnotnull AS nullable,
	       COALESCE(col_description(t.oid, c.attnum), '') AS comment
	FROM pg_class t
	JOIN pg_attribute c ON c.attrelid = t.oid
	WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition
	  AND t.relname <> 'goose_db_version' AND c.attnum > 0 AND NOT c.attisdropped
	ORDER BY t.relname, c.attnum`

func TestDocsTables(t *testing.T) {
	t.Parallel()
	url := repositorytest.URL(t)
	raw, err := sql.Open("postgres", url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	var columns []struct {
		Table    string `db:"table_name"`
		About    string `db:"about"`
		Column   string `db:"column_name"`
		Type     string `db:"type"`
		Nullable bool   `db:"nullable"`
		Comment  string `db:"comment"`
	}
	if err := sqlx.NewDb(raw, "postgres").SelectContext(t.Context(), &columns, documentedColumns); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	table := ""
	for _, c := range columns {
		if c.Table != table {
			if table != "" {
				text.WriteString("\n")
			}
			table = c.Table
			fmt.Fprintf(&text, "## %s\n\n", table)
			if c.About != "" {
				fmt.Fprintf(&text, "%s.\n\n", c.About)
			}
			text.WriteString(doctest.Row("Column", "Type", "Meaning") + doctest.Row("---", "---", "---"))
		}
		kind := c.Type
		if c.Nullable {
			kind += ", or `NULL`"
		}
		text.WriteString(doctest.Row("`"+c.Column+"`", kind, c.Comment))
	}
	doctest.Part(t, "tables.md", "tables", text.String())
}
