package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// AskHidden asks on the terminal for a line that is not shown. When ctx ends it
// returns at once and the terminal shows again what is typed.
func (t *Terminal) AskHidden(ctx context.Context, question string) (string, error) {
	file, ok := t.In.(*os.File)
	if !ok || !IsTerminal(file) {
		return "", Usage(errors.New("standard input is no terminal to ask on: use --file FILE, or --file - to read the secret from standard input"))
	}
	fd := int(file.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	fmt.Fprint(t.Err, question)
	defer fmt.Fprintln(t.Err)
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	// Nothing can end a read from a terminal, so after an interruption this
	// goroutine stays until the process ends.
	go func() {
		text, err := term.ReadPassword(fd)
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return string(a.text), a.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}

// Confirm asks a person on the terminal, and is an error for everything but a clear
// yes. Where nobody can be asked, --yes must have been given. act and acted say in
// the error what was not done.
func (t *Terminal) Confirm(ctx context.Context, question, act, acted string) error {
	if !IsTerminal(t.In) {
		return Usage(fmt.Errorf("standard input is no terminal to ask on: say --yes to %s without being asked", act))
	}
	fmt.Fprintf(t.Err, "%s [y/N] ", question)
	answers := make(chan string, 1)
	// Nothing can end a read from a terminal, so after an interruption this
	// goroutine stays until the process ends.
	go func() {
		line, _ := bufio.NewReader(t.In).ReadString('\n') // an end is a no
		answers <- line
	}()
	select {
	case line := <-answers:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return fmt.Errorf("nothing was %s", acted)
	case <-ctx.Done():
		return ctx.Err()
	}
}
