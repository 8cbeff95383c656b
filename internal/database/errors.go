// Package database names the failures of the database that change what a caller does,
// so that workers and the scheduler can tell them apart without knowing Postgres.
// Which SQLSTATE is which, repository decides.
package database

import "errors"

// Errors that change what a caller does, whichever package meets them.
var (
	// ErrNotFound is a row that is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict is a row that is there already.
	ErrConflict = errors.New("exists already")
	// ErrUnavailable is a database that cannot do now what it could do at
	// another time: it is away, full, read-only, or undoes what it was told.
	ErrUnavailable = errors.New("database unavailable")
	// ErrNotWritable is a database that answers and may not be written: a standby,
	// sessions that are read-only, or a role without the right. Other errors stand
	// next to it.
	ErrNotWritable = errors.New("database may not be written")
	// ErrRefused is data that the database will never take as it is: too long,
	// too large a number, a character that it does not have, a broken rule.
	ErrRefused = errors.New("refused by the database")
	// ErrTooMuch is a batch whose receipts show more rows together than one
	// transaction should hold in memory: each of it is to be saved alone.
	ErrTooMuch = errors.New("too many rows for one transaction")
	// ErrBroken is a database that takes no data of the kind, whatever is in it: a
	// table or a right is missing, or it is itself at fault.
	ErrBroken = errors.New("database does not do what it should")
	// ErrBlocked is a statement that the database, which is there, did not do in
	// time or while something was in use: statement_timeout, lock_timeout. The data
	// may be the cause, or somebody who holds a lock.
	ErrBlocked = errors.New("statement blocked in the database")
)
