package ledger

import (
	"time"
)

// Installation is a database of this program, and the server that it is on.
type Installation struct {
	// ID is another for each copy of the database that Postgres restored or copied. A
	// copy of a whole server, such as a standby, shares it.
	ID string
	// Database is its name and where it was reached, for people.
	Database string
	// Address and StartedAt are of the server: a copy of it has others.
	Address   string
	StartedAt time.Time
}
