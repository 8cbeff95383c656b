package repository

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"revalidator/internal/database"
)

// remedy is what helps against an error of a transaction.
type remedy int

const (
	// remedyUnknown is an error that nothing is known of, such as a caller who left.
	remedyUnknown remedy = iota
	// remedyNow is to run the transaction again: Postgres undid it to keep it
	// apart from others.
	remedyNow
	// remedyLater is to wait: the database cannot do now what it could do at
	// another time.
	remedyLater
	// remedyNever is not to try again: the data will never be taken as it is.
	remedyNever
	// remedyPerson is to have somebody repair it: a table or a right is missing,
	// the program or Postgres is at fault.
	remedyPerson
	// remedyApart is to do what the transaction holds in smaller ones: some of it
	// takes too long, or needs what somebody else has locked.
	remedyApart
)

// serializationTries is how often a transaction is run that Postgres undoes to
// keep others apart.
const serializationTries = 5

// retried runs a transaction, or a statement that is one, again where that helps
// at once, and marks its error with what helps otherwise: database.ErrUnavailable is
// to try later, database.ErrRefused is to give up, database.ErrBroken is a fault of ours,
// database.ErrBlocked may be either. It decides for every transaction.
func retried(do func() error) error {
	var err error
	for range serializationTries {
		if err = do(); remedyFor(err) != remedyNow {
			break
		}
	}
	return marked(err)
}

// statements runs statements, each of which is a transaction, as retried does.
type statements struct{ *sqlx.DB }

// ExecContext runs a statement that returns no rows.
func (s statements) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	err = retried(func() error {
		result, err = s.DB.ExecContext(ctx, query, args...)
		return err
	})
	return result, err
}

// GetContext reads one row into what dest points to.
func (s statements) GetContext(ctx context.Context, dest any, query string, args ...any) error {
	return retried(func() error { return s.DB.GetContext(ctx, dest, query, args...) })
}

// SelectContext reads rows into the slice that dest points to.
func (s statements) SelectContext(ctx context.Context, dest any, query string, args ...any) error {
	return retried(func() error { return s.DB.SelectContext(ctx, dest, query, args...) })
}

// marked adds to an error what helps against it, and whether the database may be
// written at all.
func marked(err error) error {
	remedy := remedyFor(err)
	if pq.As(err, pqerror.ReadOnlySQLTransaction, pqerror.InsufficientPrivilege) != nil {
		err = fmt.Errorf("%w: %w", database.ErrNotWritable, err)
	}
	switch remedy {
	case remedyNow, remedyLater:
		return fmt.Errorf("%w: %w", database.ErrUnavailable, err)
	case remedyNever:
		return fmt.Errorf("%w: %w", database.ErrRefused, err)
	case remedyPerson:
		return fmt.Errorf("%w: %w", database.ErrBroken, err)
	case remedyApart:
		return fmt.Errorf("%w: %w", database.ErrBlocked, err)
	}
	return err
}

func remedyFor(err error) remedy {
	var network net.Error
	var unwritable *json.MarshalerError
	var value *json.UnsupportedValueError
	switch e := pq.As(err); {
	case err == nil:
		return remedyUnknown
	case e != nil:
		return remedyForCode(e.Code)
	case errors.As(err, &unwritable), errors.As(err, &value):
		return remedyNever // such as a time beyond the year 9999
	case errors.As(err, &network), errors.Is(err, driver.ErrBadConn), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, sql.ErrTxDone), errors.Is(err, context.DeadlineExceeded):
		return remedyLater
	}
	return remedyUnknown
}

// The classes of SQLSTATE by what helps. What is in none needs a person.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var (
	laterClasses = map[pqerror.Class]bool{
		pqerror.ClassConnectionException:               true, // 08
		pqerror.ClassInvalidAuthorizationSpecification: true, // 28, of a new connection
		pqerror.ClassTransactionRollback:               true, // 40, where again at once did not help
		pqerror.ClassInsufficientResources:             true, // 53
		pqerror.ClassSystemError:                       true, // 58, such as a failing disk
	}
	neverClasses = map[pqerror.Class]bool{
		pqerror.ClassDataException:                true, // 22
		pqerror.ClassIntegrityConstraintViolation: true, // 23
		pqerror.ClassProgramLimitExceeded:         true, // 54
	}
	apartClasses = map[pqerror.Class]bool{
		pqerror.ClassObjectNotInPrerequisiteState: true, // 55, such as lock_timeout
		pqerror.ClassOperatorIntervention:         true, // 57, such as statement_timeout
	}
)

func remedyForCode(code pqerror.Code) remedy {
	switch code {
	case "40001", "40P01": // serialization failure, deadlock
		return remedyNow
	case "25006", "25P03", "25P04": // read-only after a failover, and transactions that took too long
		return remedyLater
	}
	if strings.HasPrefix(string(code), "57P0") { // shutting down, crashed, starting up
		return remedyLater
	}
	switch class := code.Class(); {
	case laterClasses[class]:
		return remedyLater
	case neverClasses[class]:
		return remedyNever
	case apartClasses[class]:
		return remedyApart
	}
	return remedyPerson
}
