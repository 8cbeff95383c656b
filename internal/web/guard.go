package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// guard decides who may look at the pages about the queue: whoever knows the
// password, and on this machine alone only under a name of this machine.
func guard(c Config, next http.Handler) http.Handler {
	if c.User != "" {
		next = login(c, newAttempts(time.Now), next)
	}
	if host, _, err := net.SplitHostPort(c.Addr); err == nil && isLoopback(host) {
		next = knownHosts(append([]string{host}, c.Hosts...), next)
	}
	return next
}

// login asks for a user and a password (HTTP basic). Both are hashed before
// they are compared, so that the time of it does not even tell their lengths.
// Who has failed several times waits before the next try is looked at.
func login(c Config, failed *attempts, next http.Handler) http.Handler {
	// A user has no colon in it.
	want := sha256.Sum256([]byte(c.User + ":" + c.Password.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := asker(r, c.Proxies)
		givenUser, givenPassword, tried := r.BasicAuth()
		if wait := failed.wait(from); tried && wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
			http.Error(w, "too many failed log-ins: try again later", http.StatusTooManyRequests)
			return
		}
		given := sha256.Sum256([]byte(givenUser + ":" + givenPassword))
		if subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
			if tried {
				failed.note(from)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="revalidator", charset="UTF-8"`)
			http.Error(w, "a user name and password are required", http.StatusUnauthorized)
			return
		}
		if tried {
			failed.forget(from)
		}
		next.ServeHTTP(w, r)
	})
}

// asker is the address that a request comes from: the last one that is no proxy's. What
// stands before it in X-Forwarded-For, anybody may have written.
func asker(r *http.Request, proxies []netip.Prefix) string {
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	said := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, before := range slices.Backward(said) {
		address, err := netip.ParseAddr(from)
		if err != nil || !slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(address.Unmap()) }) {
			return from
		}
		if before, err := netip.ParseAddr(strings.TrimSpace(before)); err == nil {
			from = before.String()
		}
	}
	return from
}

// knownHosts refuses requests for another name than this machine's. A web site
// can give its own name the address 127.0.0.1 after it was opened, and then
// read what answers there; but it cannot change the name that is asked for.
func knownHosts(names []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOf(r.Host)
		known := isLoopback(host) || slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
		if !known {
			http.Error(w, "not known here by this name: add it to REVALIDATOR_UI_HOSTS", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf is the name in a Host header, without port, brackets and case.
func hostOf(header string) string {
	if host, _, err := net.SplitHostPort(header); err == nil {
		header = host
	}
	return strings.ToLower(strings.Trim(header, "[]"))
}
