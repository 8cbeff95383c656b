package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Link is the way from one kind of program to one server.
type Link struct {
	Name  string
	proxy *toxiproxy.Proxy
}

// newLink opens a way to an upstream address on a free port of this machine.
func newLink(name, upstream string) (*Link, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxics know no other logger
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)
	if err := proxy.Start(); err != nil {
		return nil, fmt.Errorf("open the way %s: %w", name, err)
	}
	return &Link{name, proxy}, nil
}

// through is a URL with the way in place of its address.
func (l *Link) through(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // the upstream of the way was read from it
	}
	u.Host = l.proxy.Listen
	return u.String()
}

// Cut refuses connections and ends those that there are.
func (l *Link) Cut() { l.proxy.Stop() }

// Mend takes connections again, with nothing in their way.
func (l *Link) Mend(ctx context.Context) error {
	l.proxy.Toxics.ResetToxics(ctx)
	if l.proxy.Enabled {
		return nil
	}
	if err := l.proxy.Start(); err != nil {
		return fmt.Errorf("mend %s: %w", l.Name, err)
	}
	return nil
}

// Trouble is something in the way, as toxiproxy knows it.
type Trouble struct {
	// Words say it in the table.
	Words      string         `json:"-"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"` // upstream is to the server
	Attributes map[string]any `json:"attributes"`
}

// swallow takes everything in and lets nothing through, as a broken firewall.
func swallow(stream string) Trouble {
	return Trouble{"swallowed", "timeout", stream, map[string]any{"timeout": 0}}
}

func delay(d, jitter time.Duration) Trouble {
	return Trouble{"delayed", "latency", "downstream", map[string]any{"latency": d.Milliseconds(), "jitter": jitter.Milliseconds()}}
}

func resetting() Trouble {
	return Trouble{"reset", "reset_peer", "downstream", map[string]any{"timeout": 50}}
}

func throttle(kilobytes int) Trouble {
	return Trouble{"throttled", "bandwidth", "downstream", map[string]any{"rate": kilobytes}}
}

// cutAfter ends each connection after so many bytes from the server.
func cutAfter(size int) Trouble {
	return Trouble{"cut", "limit_data", "downstream", map[string]any{"bytes": size}}
}

// Add puts trouble in the way, for connections that there are too.
func (l *Link) Add(t Trouble) error {
	document, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if _, err := l.proxy.Toxics.AddToxicJson(bytes.NewReader(document)); err != nil {
		return fmt.Errorf("put %s in the way of %s: %w", t.Type, l.Name, err)
	}
	return nil
}

// Suffer has trouble in the way for a while.
func (l *Link) Suffer(ctx context.Context, t Trouble, d time.Duration) error {
	if err := l.Add(t); err != nil {
		return err
	}
	err := hold(ctx, d)
	if mended := l.Mend(ctx); err == nil {
		err = mended
	}
	return err
}
