package faults

import (
	"net"
	"net/http"
	"time"

	"revalidator/internal/dev/applesim"
)

// appStore serves a simulated App Store on this machine.
type appStore struct {
	url    string
	server *http.Server
	ended  chan struct{}
}

func serveAppStore(sim *applesim.Server) (*appStore, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &appStore{
		url:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: time.Minute},
		ended:  make(chan struct{}),
	}
	go func() {
		defer close(a.ended)
		_ = a.server.Serve(listener)
	}()
	return a, nil
}

// clock is the address of its clock, past every proxy.
func (a *appStore) clock() string { return a.url + "/control/clock" }

func (a *appStore) close() {
	_ = a.server.Close()
	<-a.ended
}
