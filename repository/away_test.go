package repository

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"revalidator/internal/ledger"
)

func TestWhatSaysNothingAboutTheStatement(t *testing.T) {
	t.Parallel()
	said := func(code pqerror.Code) error { return fmt.Errorf("save: %w", &pq.Error{Code: code}) }
	for name, test := range map[string]struct {
		err  error
		away bool
	}{
		"shutting down":           {said("57P01"), true},
		"starting up":             {said("57P03"), true},
		"too many connections":    {said("53300"), true},
		"disk full":               {said("53100"), true},
		"read-only after failing": {said("25006"), true},
		"serialization failure":   {said("40001"), true},
		"deadlock":                {said("40P01"), true},
		"connection refused":      {fmt.Errorf("save: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), true},
		"connection ended":        {fmt.Errorf("save: %w", io.EOF), true},
		"connection is bad":       {driver.ErrBadConn, true},
		"no answer in time":       {context.DeadlineExceeded, true},
		"a broken constraint":     {said("23505"), false},
		"bad data":                {said("22P02"), false},
		"a bug":                   {said("42601"), false},
		"told to stop":            {context.Canceled, false},
		"something else":          {errors.New("what is this"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := whenAway(test.err)
			if got := errors.Is(err, ledger.ErrUnavailable); got != test.away {
				t.Errorf("%v: unavailable: got %t, want %t", err, got, test.away)
			}
			if !errors.Is(err, test.err) {
				t.Errorf("%v does not wrap its cause any more", err)
			}
		})
	}
	if err := whenAway(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}
