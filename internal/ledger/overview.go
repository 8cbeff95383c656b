package ledger

import (
	"fmt"
	"time"
)

// Due is what is due and with nobody.
type Due struct {
	// Receipts is how many they are, up to 100,000; More says that there are
	// more than these.
	Receipts int64 `db:"receipts"`
	More     bool  `db:"-"`
	// Oldest is since when the oldest of all of them is due, nil where there is
	// none.
	Oldest *time.Time `db:"oldest"`
}

// AppSecret is how old the shared secrets of an app are.
type AppSecret struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	// Newest is when the newest secret that is good for the app was added, nil
	// where there is none.
	Newest *time.Time `db:"newest" json:"newest_added_at"`
	// Refused says that Apple refused all of them last. Unproven says that Apple has
	// accepted none of them, and did accept one that is retired.
	Refused  bool `db:"refused" json:"-"`
	Unproven bool `db:"unproven" json:"-"`
}

// Server is what Postgres says of itself.
type Server struct {
	// Version is a number such as 170002, and Name a text such as 17.2.
	Version int    `db:"version"`
	Name    string `db:"name"`
	// Now is the time by its clock.
	Now time.Time `db:"now"`
	// Database is the name of the database, and Encoding how it keeps texts.
	Database string `db:"database"`
	Encoding string `db:"encoding"`
}

// CheckEncoding fails unless the database takes texts of every language, which
// receipts and customer references are: any other would refuse some of them, each
// time again.
func (s Server) CheckEncoding() error {
	if s.Encoding == "UTF8" {
		return nil
	}
	return fmt.Errorf("database %s has the encoding %s, which does not have every character that Apple and customers use: "+
		"create one with 'createdb --template=template0 --encoding=UTF8 --locale=C NAME' and name it in DATABASE_URL", s.Database, s.Encoding)
}

// Tally is how many rows have each value of a column. Up to 100,000 rows are
// counted; for more of them it is what Postgres estimates from the sample that
// ANALYZE draws, which leaves out values that hardly any row has.
type Tally struct {
	Counts    map[string]int64 `json:"counts"`
	Estimated bool             `json:"estimated"`
	// EstimatedAt is when the sample was drawn, nil where Postgres does not
	// remember.
	EstimatedAt *time.Time `json:"estimated_at"`
}
