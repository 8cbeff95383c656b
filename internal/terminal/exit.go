package terminal

import "errors"

// Exit codes, for scripts.
const (
	ExitOK       = 0
	ExitFailure  = 1 // it could not be done, or was interrupted
	ExitUsage    = 2 // the command line or a setting is wrong
	ExitFailures = 3 // it was done, and some receipts failed
)

// exitError is an error that asks for another exit code than ExitFailure.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// Usage marks an error of the command line or the settings.
func Usage(err error) error { return &exitError{ExitUsage, err} }

// Failures marks an error that says that receipts failed.
func Failures(err error) error { return &exitError{ExitFailures, err} }

// ExitCode is the exit code for an error, nil included.
func ExitCode(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return exit.code
	}
	return ExitFailure
}
