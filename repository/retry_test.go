package repository

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"revalidator/internal/database"
)

// TestWhatHelps has one line for each kind of error: how often a transaction is
// tried, and what its error is in the end.
func TestWhatHelps(t *testing.T) {
	t.Parallel()
	said := func(code pqerror.Code) error { return fmt.Errorf("save: %w", &pq.Error{Code: code}) }
	_, unwritable := json.Marshal(time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC))
	for name, test := range map[string]struct {
		err   error
		tries int
		want  error
	}{
		"serialization failure": {said("40001"), serializationTries, database.ErrUnavailable},
		"deadlock":              {said("40P01"), serializationTries, database.ErrUnavailable},

		"connection exception":    {said("08006"), 1, database.ErrUnavailable},
		"proxy without a server":  {said("08P01"), 1, database.ErrUnavailable},
		"shutting down":           {said("57P01"), 1, database.ErrUnavailable},
		"crashed":                 {said("57P02"), 1, database.ErrUnavailable},
		"starting up":             {said("57P03"), 1, database.ErrUnavailable},
		"too many connections":    {said("53300"), 1, database.ErrUnavailable},
		"disk full":               {said("53100"), 1, database.ErrUnavailable},
		"out of memory":           {said("53200"), 1, database.ErrUnavailable},
		"read-only after failing": {said("25006"), 1, database.ErrUnavailable},
		"idle for too long":       {said("25P03"), 1, database.ErrUnavailable},
		"password is changed":     {said("28P01"), 1, database.ErrUnavailable},
		"disk fails":              {said("58030"), 1, database.ErrUnavailable},
		"connection refused":      {fmt.Errorf("save: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), 1, database.ErrUnavailable},
		"connection ended":        {fmt.Errorf("save: %w", io.EOF), 1, database.ErrUnavailable},
		"connection is bad":       {driver.ErrBadConn, 1, database.ErrUnavailable},
		"no answer in time":       {context.DeadlineExceeded, 1, database.ErrUnavailable},

		"too large a number":       {said("22003"), 1, database.ErrRefused},
		"no such character":        {said("22P05"), 1, database.ErrRefused},
		"a zero character":         {said("22021"), 1, database.ErrRefused},
		"a broken constraint":      {said("23505"), 1, database.ErrRefused},
		"a broken check":           {said("23514"), 1, database.ErrRefused},
		"too long for an index":    {said("54000"), 1, database.ErrRefused},
		"a date that is not to be": {fmt.Errorf("save: %w", unwritable), 1, database.ErrRefused},

		"lock not to be had":       {said("55P03"), 1, database.ErrBlocked},
		"statement takes too long": {said("57014"), 1, database.ErrBlocked},
		"operator intervenes":      {said("57000"), 1, database.ErrBlocked},
		"object is in use":         {said("55006"), 1, database.ErrBlocked},

		"no such feature":    {said("0A000"), 1, database.ErrBroken},
		"a bug":              {said("42601"), 1, database.ErrBroken},
		"no such table":      {said("42P01"), 1, database.ErrBroken},
		"no right to it":     {said("42501"), 1, database.ErrBroken},
		"failed transaction": {said("25P02"), 1, database.ErrBroken},
		"fault of Postgres":  {said("XX000"), 1, database.ErrBroken},
		"told to stop":       {context.Canceled, 1, nil},
		"something else":     {errors.New("what is this"), 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tries := 0
			err := retried(func() error { tries++; return test.err })
			if tries != test.tries {
				t.Errorf("%d tries, want %d", tries, test.tries)
			}
			for _, known := range []error{database.ErrUnavailable, database.ErrRefused, database.ErrBroken, database.ErrBlocked} {
				if errors.Is(err, known) != (known == test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			}
			var said *pq.Error
			if errors.As(err, &said) {
				if want := said.Code == "25006" || said.Code == "42501"; errors.Is(err, database.ErrNotWritable) != want {
					t.Errorf("not writable: got %v, want %v", !want, want)
				}
			}
			if !errors.Is(err, test.err) {
				t.Errorf("%v does not wrap its cause any more", err)
			}
		})
	}
	if unwritable == nil {
		t.Error("the year 10000 can be written")
	}
}

func TestRetriedUntilItWorks(t *testing.T) {
	t.Parallel()
	tries := 0
	err := retried(func() error {
		if tries++; tries < 3 {
			return &pq.Error{Code: "40P01"}
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("got %v after %d tries, want success after 3", err, tries)
	}
}
