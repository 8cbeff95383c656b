package worker

import "context"

// stopKey is where the context of a task holds the one that ends as soon as the worker
// is told to stop, while its task may still be finished: what only waits for the
// limiter is released then, instead of holding the shutdown up.
type stopKey struct{}

func withStop(ctx, stop context.Context) context.Context {
	return context.WithValue(ctx, stopKey{}, stop)
}

// isStopping reports whether the worker that executes a task was told to stop.
func isStopping(ctx context.Context) bool {
	stop, ok := ctx.Value(stopKey{}).(context.Context)
	return ok && stop.Err() != nil
}

// untilStopped is a context that ends when the worker is told to stop, too.
func untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	stop, ok := ctx.Value(stopKey{}).(context.Context)
	ctx, cancel := context.WithCancel(ctx)
	if !ok {
		return ctx, cancel
	}
	release := context.AfterFunc(stop, cancel)
	return ctx, func() { release(); cancel() }
}
