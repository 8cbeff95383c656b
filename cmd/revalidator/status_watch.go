package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"revalidator/internal/clock"
)

// refreshEvery is how often --watch looks.
const refreshEvery = 2 * time.Second

// What terminals understand: another screen without a cursor, and back; to its
// first line; to clear the rest of a line, and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	firstLine   = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// watchScreen shows looks in place on a screen of its own until ctx ends, which
// is no error, and leaves the last of them on the terminal. What goes wrong
// after the first look is shown too, and the watch goes on.
func (p *program) watchScreen(ctx context.Context, look lookFunc) error {
	known, o := newPaces(), p.printer()
	shown, err := frame(ctx, look, known, o)
	if err != nil {
		return err
	}
	fmt.Fprint(p.stdout, enterScreen)
	defer func() { fmt.Fprint(p.stdout, leaveScreen+shown) }()
	for trouble := ""; ; {
		p.draw(shown + trouble + "\nEvery " + refreshEvery.String() + ", until Ctrl-C.\n")
		if clock.Sleep(ctx, refreshEvery) != nil {
			return nil
		}
		next, err := frame(ctx, look, known, o)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			trouble = "\n" + o.paint(red, "not refreshed since: "+err.Error()) + "\n"
		default:
			shown, trouble = next, ""
		}
	}
}

// frame is one look as text. Its clients may be slow to give up.
func frame(ctx context.Context, look lookFunc, known *paces, o printer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	r, err := look(ctx, known)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	err = r.text(&text, o)
	return text.String(), err
}

// draw replaces what is on the screen, without a flicker and without scrolling.
func (p *program) draw(text string) {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if height := screenHeight(p.stdout); height > 0 && len(lines) > height {
		lines = lines[:height]
		lines[height-1] = strings.TrimSuffix(lines[height-1], "\n")
	}
	shown := strings.ReplaceAll(strings.Join(lines, ""), "\n", clearLine+"\n")
	fmt.Fprint(p.stdout, firstLine+shown+clearLine+clearBelow)
}

// screenHeight is how many lines a terminal has, 0 where that is not known.
func screenHeight(stream io.Writer) int {
	file, ok := stream.(*os.File)
	if !ok {
		return 0
	}
	_, height, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return height
}
