package terminal

import (
	"fmt"

	"github.com/schollz/progressbar/v3"
)

// ShowsProgress reports whether a person looks and wants to see bars.
func (t *Terminal) ShowsProgress() bool { return !t.Quiet && IsTerminal(t.Err) }

// barWidth leaves room in 80 columns for the counts of a run of a million
// receipts.
const barWidth = 10

// Bar is a progress bar over things that are counted. It is drawn on a terminal
// only, and not before there is something to do.
type Bar struct {
	terminal     *Terminal
	name, things string
	bar          *progressbar.ProgressBar
	all          int64 // that the bar is over
	standing     bool
}

// Bar is a bar with a name, over things.
func (t *Terminal) Bar(name, things string) *Bar {
	return &Bar{terminal: t, name: name, things: things}
}

// Show draws the bar at done of all, which may have become more.
func (b *Bar) Show(done, all int64) {
	if !b.terminal.ShowsProgress() || all == 0 {
		return
	}
	if b.bar == nil {
		b.all = all
		b.bar = progressbar.NewOptions64(all,
			progressbar.OptionSetWriter(b.terminal.Err),
			progressbar.OptionSetDescription(b.name),
			progressbar.OptionSetItsString(b.things),
			progressbar.OptionShowIts(),
			progressbar.OptionShowCount(),
			progressbar.OptionSetWidth(barWidth),
			progressbar.OptionSetPredictTime(true),
		)
	}
	if b.all != all {
		b.bar.ChangeMax64(all)
		b.all = all
	}
	_ = b.bar.Set64(done)
}

// Stand says why nothing moves, in place of a pace and a time left, which would be
// made up; Move takes it back.
func (b *Bar) Stand(why string) {
	if b.bar != nil {
		b.standing = true
		b.predict(false)
		name := b.name
		if why != "" {
			name += ": " + why
		}
		b.bar.Describe(name)
	}
}

// Move shows the pace and the time left again.
func (b *Bar) Move() {
	if b.standing {
		b.standing = false
		b.predict(true)
		b.bar.Describe(b.name)
	}
}

func (b *Bar) predict(on bool) {
	progressbar.OptionSetPredictTime(on)(b.bar)
	progressbar.OptionSetElapsedTime(on)(b.bar)
}

// Clear makes room for a line of text.
func (b *Bar) Clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

// End leaves the bar as it is, and what follows to the next line.
func (b *Bar) End() {
	if b.bar != nil {
		_ = b.bar.Exit()
		fmt.Fprintln(b.terminal.Err)
	}
}

// ByteBar is a progress bar over bytes of a file, which leaves nothing behind and
// is silent where nobody looks. A negative size is one that is not known.
func (t *Terminal) ByteBar(name string, size int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetVisibility(t.ShowsProgress()),
		progressbar.OptionSetWriter(t.Err),
		progressbar.OptionSetDescription(name),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(2*barWidth),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
		// Else a bar of unknown length draws itself in a goroutine of its own,
		// which Clear does not wait for.
		progressbar.OptionSetSpinnerChangeInterval(0),
	)
}
