package main

import (
	"context"
	"time"

	"revalidator/internal/terminal"
)

// refreshEvery is how often --watch looks.
const refreshEvery = 2 * time.Second

// watchScreen shows looks in place until ctx ends, and leaves the last of them on the
// terminal.
func (p *program) watchScreen(ctx context.Context, look lookFunc) error {
	known := newPaces()
	return p.Watch(ctx, refreshEvery, func(ctx context.Context, out *terminal.Page) error {
		ctx, cancel := context.WithTimeout(ctx, reachTimeout) // clients may be slow to give up
		defer cancel()
		r, err := look(ctx, known)
		if err == nil {
			r.text(out)
		}
		return err
	})
}
