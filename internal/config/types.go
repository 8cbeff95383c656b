package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// LogFormat is the form of the log.
type LogFormat string

// The forms of the log.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Validate reports a form that does not exist.
func (f LogFormat) Validate() error {
	if f == LogText || f == LogJSON {
		return nil
	}
	return fmt.Errorf("want %s or %s", LogText, LogJSON)
}

// TimeZone is a time zone by its name in the tz database. Its Location is nil
// in the zero value only.
type TimeZone struct{ *time.Location }

// UnmarshalText implements encoding.TextUnmarshaler.
func (z *TimeZone) UnmarshalText(text []byte) error {
	location, err := time.LoadLocation(string(text))
	if err != nil {
		return fmt.Errorf("time zone %q: %w", text, err)
	}
	z.Location = location
	return nil
}

// Prefix is a network, of a single address too.
type Prefix struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Prefix) UnmarshalText(text []byte) error {
	network, err := netip.ParsePrefix(string(text))
	if address, addressErr := netip.ParseAddr(string(text)); addressErr == nil {
		network, err = address.Prefix(address.BitLen())
	}
	if err != nil {
		return fmt.Errorf("network %q: %w", text, err)
	}
	p.Prefix = network.Masked()
	return nil
}

// Prefixes are networks as others take them.
func Prefixes(networks []Prefix) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(networks))
	for i, n := range networks {
		prefixes[i] = n.Prefix
	}
	return prefixes
}

// Topology is what stands behind a Redis URL.
type Topology string

// The topologies, each with the function of go-redis that reads its URL.
const (
	// TopologySingle is one server: redis.ParseURL.
	TopologySingle Topology = "single"
	// TopologySentinel is a group of servers behind Sentinels, to which the
	// URL leads: redis.ParseFailoverURL, known by its master_name parameter.
	TopologySentinel Topology = "sentinel"
	// TopologyCluster is a Redis Cluster: redis.ParseClusterURL, known by its
	// addr parameters, which name further nodes.
	TopologyCluster Topology = "cluster"
)

// Topology tells which form the URL has. It does not say that the URL is right.
func (r Redis) Topology() Topology {
	_, query, _ := strings.Cut(r.URL.Reveal(), "?")
	for parameter := range strings.SplitSeq(query, "&") {
		if strings.HasPrefix(parameter, "master_name=") {
			return TopologySentinel
		}
	}
	if strings.HasPrefix(query, "addr=") || strings.Contains(query, "&addr=") {
		return TopologyCluster
	}
	return TopologySingle
}
