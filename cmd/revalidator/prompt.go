package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"
)

// askHidden asks on the terminal for a line that is not shown. When ctx ends it
// returns at once and the terminal shows again what is typed.
func (p *program) askHidden(ctx context.Context, question string) (string, error) {
	terminal, ok := p.stdin.(*os.File)
	if !ok || !isTerminal(terminal) {
		return "", usage(errors.New("standard input is no terminal to ask on: use --file FILE, or --file - to read the secret from standard input"))
	}
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	fmt.Fprint(p.stderr, question)
	defer fmt.Fprintln(p.stderr)
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
