package e2e

import (
	"database/sql"

	"revalidator/internal/dev/judge"
)

// judge is who compares the installation with the App Store.
func (n *night) judge() *judge.Judge { return judge.New(n.plainDB(), n.sim) }

// plainDB is a connection of its own, so that no fault of the repository's hides
// another.
func (n *night) plainDB() *sql.DB {
	n.t.Helper()
	db, err := sql.Open("postgres", n.url.Reveal())
	must(n.t, err)
	n.t.Cleanup(func() { _ = db.Close() })
	return db
}

// mustMatchTruth compares every subscription and purchase in Postgres with the
// simulator's truth.
func (n *night) mustMatchTruth() {
	n.t.Helper()
	differences, err := n.judge().Differences(n.t.Context())
	must(n.t, err)
	for i, difference := range differences {
		if i == 10 {
			n.t.Errorf("and %d more", len(differences)-i)
			break
		}
		n.t.Error(difference)
	}
}

// query runs a statement that returns one JSON document per row.
func (n *night) query(statement string) [][]byte {
	n.t.Helper()
	rows, err := n.plainDB().QueryContext(n.t.Context(), statement)
	must(n.t, err)
	defer func() { _ = rows.Close() }()
	var documents [][]byte
	for rows.Next() {
		var document []byte
		must(n.t, rows.Scan(&document))
		documents = append(documents, document)
	}
	must(n.t, rows.Err())
	return documents
}

// count runs a statement that returns one number.
func (n *night) count(statement string) int {
	n.t.Helper()
	var number int
	db, err := sql.Open("postgres", n.url.Reveal())
	must(n.t, err)
	defer func() { _ = db.Close() }()
	must(n.t, db.QueryRowContext(n.t.Context(), statement).Scan(&number))
	return number
}
