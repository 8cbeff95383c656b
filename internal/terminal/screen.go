package terminal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// What terminals understand: another screen without a cursor, and back; to its
// first line; to clear the rest of a line, and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	firstLine   = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// Watch shows a text in place on a screen of its own, read again and again until
// ctx ends, which is no error, and leaves the last one on the terminal. A later
// read that fails is shown too, and the watch continues.
func (t *Terminal) Watch(ctx context.Context, every time.Duration, read func(context.Context, *Page) error) error {
	shown, err := t.frame(ctx, read)
	if err != nil {
		return err
	}
	fmt.Fprint(t.Out, enterScreen)
	defer func() { fmt.Fprint(t.Out, leaveScreen+shown) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for failure := ""; ; {
		t.draw(shown + failure + "\nEvery " + every.String() + ", until Ctrl-C.\n")
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		next, err := t.frame(ctx, read)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failure = "\n" + t.Page(nil).Paint(Red, "not refreshed since: "+err.Error()) + "\n"
		default:
			shown, failure = next, ""
		}
	}
}

func (t *Terminal) frame(ctx context.Context, read func(context.Context, *Page) error) (string, error) {
	var text bytes.Buffer
	err := read(ctx, t.Page(&text))
	return text.String(), err
}

// draw replaces what is on the screen, without a flicker and without scrolling.
func (t *Terminal) draw(text string) {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if height := screenHeight(t.Out); height > 0 && len(lines) > height {
		lines = lines[:height]
		lines[height-1] = strings.TrimSuffix(lines[height-1], "\n")
	}
	shown := strings.ReplaceAll(strings.Join(lines, ""), "\n", clearLine+"\n")
	fmt.Fprint(t.Out, firstLine+shown+clearLine+clearBelow)
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
