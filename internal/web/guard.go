package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"revalidator/internal/secret"
)

// guard decides who may look at the pages about the queue: whoever knows the
// password, and on this machine alone only under a name of this machine.
func guard(c Config, next http.Handler) http.Handler {
	if c.User != "" {
		next = login(c.User, c.Password, newAttempts(time.Now), next)
	}
	if host, _, err := net.SplitHostPort(c.Addr); err == nil && isLoopback(host) {
		next = knownHosts(append([]string{host}, c.Hosts...), next)
	}
	return next
}

// login asks for a user and a password (HTTP basic). Both are hashed before
// they are compared, so that the time of it does not even tell their lengths.
// Who has failed several times waits before the next try is looked at.
func login(user string, password secret.Value, failed *attempts, next http.Handler) http.Handler {
	// A user has no colon in it.
	want := sha256.Sum256([]byte(user + ":" + password.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
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
