package repository

import (
	"context"
	"fmt"
	"strings"

	"github.com/lib/pq"

	"revalidator/internal/database"
)

// writtenTables are the tables that the program writes.
var writtenTables = []string{
	"apps", "shared_secrets", "receipts", "receipt_data", "subscriptions", "receipt_subscriptions", "purchases",
	"subscription_events", "runs", "run_apps", "run_items", "run_failures", "app_checks", "queue_epoch",
	"maintenance", "endpoint_clocks",
}

// Writable fails with database.ErrNotWritable, and says why, where the database answers
// and may not be written: the server is a standby, sessions are read-only, or the role
// lacks a right on a table. Tables that are not there yet are left aside.
func (db *DB) Writable(ctx context.Context) error {
	const query = `
		SELECT current_user AS role, current_database() AS name, pg_is_in_recovery() AS standby,
		       current_setting('transaction_read_only')::boolean AS read_only,
		       (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') AS source,
		       current_schema() IS NULL AS no_schema,
		       ARRAY(
			SELECT t.name || ' (' || string_agg(p.name, ', ' ORDER BY p.at) || ')'
			FROM unnest($1::text[]) WITH ORDINALITY AS t(name, at)
			CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) WITH ORDINALITY AS p(name, at)
			WHERE NOT has_table_privilege(to_regclass(t.name), p.name)
			GROUP BY t.name, t.at ORDER BY t.at) AS missing`
	var s session
	if err := db.db.GetContext(ctx, &s, query, pq.Array(writtenTables)); err != nil {
		return fmt.Errorf("ask postgres whether it may be written: %w", err)
	}
	why := s.refusal()
	if why == "" {
		return nil
	}
	// A connection that stays open leads to the old server, or has the old settings.
	db.dropIdle()
	return fmt.Errorf("%w: %s", database.ErrNotWritable, why)
}

// session is what decides whether a session may write.
type session struct {
	Role     string `db:"role"`
	Name     string `db:"name"`
	Standby  bool   `db:"standby"`
	ReadOnly bool   `db:"read_only"`
	// Source is where default_transaction_read_only was set, in the words of
	// pg_settings.
	Source   string         `db:"source"`
	NoSchema bool           `db:"no_schema"`
	Missing  pq.StringArray `db:"missing"`
}

// mostMissing is how many tables an error names.
const mostMissing = 3

// refusal says why the session may not write and what to do; it is empty where it may.
func (s session) refusal() string {
	switch {
	case s.Standby:
		return "the server is a standby (read-only replica): set DATABASE_URL to the primary, or wait for the failover to end"
	case s.ReadOnly:
		return fmt.Sprintf("sessions of role %s are read-only (default_transaction_read_only is on, set by: %s): "+
			"set it to off there, such as by ALTER DATABASE %s RESET default_transaction_read_only",
			s.Role, s.Source, pq.QuoteIdentifier(s.Name))
	case s.NoSchema:
		return fmt.Sprintf("role %s may use no schema of its search_path: grant it USAGE on the schema of the tables; deploy/postgres-role.sql does", s.Role)
	case len(s.Missing) > 0:
		missing := s.Missing
		more := ""
		if n := len(missing) - mostMissing; n > 0 {
			missing, more = missing[:mostMissing], fmt.Sprintf(" and on %d more tables", n)
		}
		return fmt.Sprintf("role %s lacks rights on %s%s: deploy/postgres-role.sql grants them", s.Role, strings.Join(missing, ", "), more)
	}
	return ""
}
