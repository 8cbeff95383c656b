package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/robfig/cron/v3"
)

// databaseURL keeps the parser's error to itself, which quotes the password.
// Other forms than a URL, such as "host=… user=…", are left to lib/pq.
func databaseURL(text string) error {
	if !strings.Contains(text, "://") {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return errors.New("DATABASE_URL: want postgres://user:password@host/database, with special characters of the password as %XX")
	}
	return nil
}

// textBytes keeps the ids of a reply within what Apple sends and what an entry of
// an index of Postgres takes, 2,704 bytes, together with a bundle id.
func textBytes(n int) error {
	if n < 64 || n > 1024 {
		return errors.New("want 64 to 1024")
	}
	return nil
}

// validate keeps the parser's error to itself, which quotes the password.
func (r Redis) validate() error {
	var err error
	var read, write time.Duration
	switch text := r.URL.Reveal(); r.Topology() {
	case TopologySentinel:
		var o *redis.FailoverOptions
		if o, err = redis.ParseFailoverURL(text); err == nil {
			read, write = o.ReadTimeout, o.WriteTimeout
		}
	case TopologyCluster:
		var o *redis.ClusterOptions
		if o, err = redis.ParseClusterURL(text); err == nil {
			read, write = o.ReadTimeout, o.WriteTimeout
		}
	default:
		var o *redis.Options
		if o, err = redis.ParseURL(text); err == nil {
			read, write = o.ReadTimeout, o.WriteTimeout
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("REDIS_URL: want redis://user:password@host:port/0 or rediss://… (read as %s), with special characters of the password as %%XX", r.Topology())
	case read < 0 || write < 0:
		return errors.New("REDIS_URL: read_timeout and write_timeout cannot be switched off: a Redis that hangs would hold everything up")
	}
	return nil
}

// appleURL allows http for the simulator only: receipts and shared secrets
// travel in the request.
func appleURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return errors.New("want https://host/path without user and password")
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return errors.New("want https; http is for a simulator at a loopback address, such as http://127.0.0.1:8081")
}

// simulatedClock allows a clock in the place of the database's where nothing but
// a simulator on this machine can be asked. A name may lead anywhere.
func (a Apple) simulatedClock() error {
	if a.ClockURL == "" {
		return nil
	}
	return onlyLoopback("a simulated clock is", append(a.addresses(), appleAddress{"the clock", a.ClockURL}))
}

// simulatedRoots allows roots in the place of Apple's under the same condition.
func (a Apple) simulatedRoots() error {
	if a.Roots == "" {
		return nil
	}
	return onlyLoopback("other roots than Apple's are", a.addresses())
}

// appleAddress is an address at which Apple, or a simulator, is asked.
type appleAddress struct{ what, url string }

func (a Apple) addresses() []appleAddress {
	return []appleAddress{{"REVALIDATOR_APPLE_PRODUCTION_URL", a.ProductionURL}, {"REVALIDATOR_APPLE_SANDBOX_URL", a.SandboxURL}}
}

func onlyLoopback(what string, addresses []appleAddress) error {
	for _, address := range addresses {
		u, err := url.Parse(address.url)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !isLoopback(u.Hostname()) {
			return fmt.Errorf("%s for development: %s must be at a loopback address, such as http://127.0.0.1:8081", what, address.what)
		}
	}
	return nil
}

// isLoopback is true for an address that cannot leave this machine, written as one.
// A name may lead anywhere, and so may a number that only some resolvers take for an
// address.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}

// schedule allows what has slots of its own. "@every 8h" counts from the start
// of each process, and a time zone in the expression would contradict ours.
func schedule(expression string) error {
	if strings.HasPrefix(expression, "TZ=") || strings.HasPrefix(expression, "CRON_TZ=") {
		return errors.New("the time zone goes to REVALIDATOR_TIME_ZONE")
	}
	parsed, err := cron.ParseStandard(expression)
	if err != nil {
		return fmt.Errorf("%q is not a cron expression such as 0 2 * * *: %w", expression, err)
	}
	if _, ok := parsed.(*cron.SpecSchedule); !ok {
		return fmt.Errorf("%q has no fixed times: want a cron expression such as 0 2 * * *", expression)
	}
	if parsed.Next(time.Unix(0, 0)).IsZero() {
		return fmt.Errorf("%q never comes", expression)
	}
	return nil
}

func address(text string) error {
	if text == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%q is not host:port", text)
	}
	return nil
}

// login reports a user without a password, and the reverse. HTTP basic ends the
// user at the first colon.
func (w Web) login() error {
	if (w.User == "") != w.Password.IsZero() {
		return errors.New("REVALIDATOR_UI_USER and REVALIDATOR_UI_PASSWORD go together: set both or neither")
	}
	if strings.Contains(w.User, ":") {
		return errors.New("REVALIDATOR_UI_USER: want no colon in it")
	}
	return nil
}

// hostName is a name as it stands in the address of a page, without its port.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

func hosts(names []string) error {
	for _, name := range names {
		if !hostName.MatchString(name) {
			return fmt.Errorf("%q is not a host name such as ops.example.com, without port", name)
		}
	}
	return nil
}

func path(text string) error {
	if !strings.HasPrefix(text, "/") {
		return fmt.Errorf("%q does not begin with /", text)
	}
	return nil
}
