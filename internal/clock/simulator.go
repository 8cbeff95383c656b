package clock

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Simulator reads the clock of a simulated App Store at its address, such as
// http://127.0.0.1:8081/control/clock. One that stands still is taken to go on
// from the moment at which it was set: else no wait would ever end.
func Simulator(url string) func(context.Context) (Reading, error) {
	return func(ctx context.Context) (Reading, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return Reading{}, fmt.Errorf("read the clock of the simulated App Store: %w", err)
		}
		request.Close = true // it is asked now and then, and leaves nothing behind
		reply, err := http.DefaultClient.Do(request)
		if err != nil {
			return Reading{}, fmt.Errorf("read the clock of the simulated App Store: %w", err)
		}
		defer func() { _ = reply.Body.Close() }()
		return parseSimulated(reply)
	}
}

// simulated is what the simulator says of its clock.
type simulated struct {
	Now   time.Time `json:"now"`
	Speed float64   `json:"speed"`
	// SinceSet is for how many seconds it has not been set.
	SinceSet float64 `json:"seconds_since_set"`
}

func parseSimulated(reply *http.Response) (Reading, error) {
	const longest = 64 << 10
	var s simulated
	if err := json.NewDecoder(io.LimitReader(reply.Body, longest)).Decode(&s); err != nil || reply.StatusCode != http.StatusOK || s.Now.IsZero() {
		return Reading{}, fmt.Errorf("read the clock of the simulated App Store: HTTP %d without a time", reply.StatusCode)
	}
	if s.Speed == 0 {
		return Reading{At: s.Now.Add(time.Duration(s.SinceSet * float64(time.Second))), Speed: 1}, nil
	}
	return Reading{At: s.Now, Speed: s.Speed}, nil
}
