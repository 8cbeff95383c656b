package main

import (
	"log/slog"
	"time"

	"revalidator/internal/intake"
)

// importLogEvery is how often an import that nobody watches says how far it is.
const importLogEvery = 10 * time.Second

// importProgress shows how far an import is: on a terminal as a bar, elsewhere as
// a line of the log now and then. end removes the bar.
func (p *program) importProgress(log *slog.Logger, size int64, now func() time.Time) (show func(intake.Counts), end func()) {
	if p.ShowsProgress() || p.Quiet {
		bar := p.ByteBar("import", size)
		return func(c intake.Counts) { _ = bar.Set64(c.Bytes) }, func() { _ = bar.Clear() }
	}
	last := now()
	show = func(c intake.Counts) {
		if now().Sub(last) < importLogEvery {
			return
		}
		last = now()
		attrs := []any{"lines", c.Lines, "added", c.Added, "known", c.Known, "rejected", c.Rejected, "bytes", c.Bytes}
		if size > 0 {
			attrs = append(attrs, "percent", c.Bytes*100/size)
		}
		log.Info("import progress", attrs...)
	}
	return show, func() {}
}
