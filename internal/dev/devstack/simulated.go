package devstack

import (
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// startSimulated runs miniredis, whose keys only expire when it is told that
// time has passed; a ticker tells it.
func startSimulated() (*Redis, error) {
	server, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("start the stand-in for redis: %w", err)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		passTime(server, done)
	}()
	stop := func() error {
		close(done)
		<-ended
		server.Close()
		return nil
	}
	return &Redis{URL: "redis://" + server.Addr() + "/0", Simulated: true, stop: stop}, nil
}

func passTime(server *miniredis.Miniredis, done <-chan struct{}) {
	const step = time.Second
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			server.FastForward(step)
		case <-done:
			return
		}
	}
}
