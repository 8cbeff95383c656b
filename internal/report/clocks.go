package report

import (
	"context"
	"fmt"
	"math"
	"time"

	"revalidator/internal/clock"
	"revalidator/internal/iap"
)

// WrongClock is an endpoint whose checks are held because our clock is wrong.
type WrongClock struct {
	Environment iap.Environment `json:"environment"`
	HeldSince   time.Time       `json:"held_since"`
	// AppleAheadSeconds is negative where Apple's time is behind the clock.
	AppleAheadSeconds float64 `json:"apple_ahead_seconds"`
}

// ClockStore is what is stored of endpoints whose replies differ from the clock.
type ClockStore interface {
	WrongClocks(ctx context.Context) ([]clock.Endpoint, error)
}

// ReadWrongClocks lists the endpoints whose checks are held.
func ReadWrongClocks(ctx context.Context, store ClockStore) ([]WrongClock, error) {
	held, err := store.WrongClocks(ctx)
	wrong := make([]WrongClock, len(held))
	for i, c := range held {
		wrong[i] = WrongClock{c.Environment, *c.HeldSince, c.Ahead.Seconds()}
	}
	return wrong, err
}

// String says by how much the clock is wrong.
func (c WrongClock) String() string {
	direction := "behind"
	if c.AppleAheadSeconds < 0 {
		direction = "ahead of"
	}
	by := time.Duration(math.Abs(c.AppleAheadSeconds) * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("the database's clock is %s Apple's by %s, as replies of %s agree", direction, by, c.Environment)
}
