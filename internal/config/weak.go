package config

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lib/pq"
)

// Weakness is a setting that works, and lets others read what they should not.
type Weakness struct {
	// Setting is the variable.
	Setting string
	Problem string
	Fix     string
}

// Weaknesses are those of the settings, and of the files that they name.
func (c Config) Weaknesses() []Weakness {
	var found []Weakness
	for _, setting := range slices.Sorted(maps.Keys(c.Files.Secrets)) {
		file := c.Files.Secrets[setting]
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
			found = append(found, Weakness{setting + fileSuffix, fmt.Sprintf("every user of this machine can read %s", file),
				fmt.Sprintf("chmod o-rwx %s", file)})
		}
	}
	private := func(host string) bool { return slices.Contains(c.Network.PrivateHosts, host) }
	if host, plain := c.Database.plain(); plain && !private(host) {
		found = append(found, Weakness{"DATABASE_URL", fmt.Sprintf("the connection to %s is not encrypted", host),
			"set sslmode=verify-full there, or require where its certificate cannot be checked; where no one else can listen, name the host in REVALIDATOR_PRIVATE_HOSTS"})
	}
	if host, plain := c.Redis.plain(); plain && !private(host) {
		found = append(found, Weakness{"REDIS_URL", fmt.Sprintf("the connection to %s is not encrypted", host),
			"use rediss:// there; where no one else can listen, name the host in REVALIDATOR_PRIVATE_HOSTS"})
	}
	return found
}

// plain reports whether the connection leaves this machine and need not be encrypted.
func (d Database) plain() (host string, plain bool) {
	if d.URL.IsZero() {
		return "", false
	}
	cfg, err := pq.NewConfig(d.URL.Reveal())
	if err != nil {
		return "", false // which is told where it is opened
	}
	switch cfg.SSLMode {
	case pq.SSLModeDisable, pq.SSLModeAllow, pq.SSLModePrefer:
		return cfg.Host, !stays(cfg.Host)
	}
	return cfg.Host, false
}

func (r Redis) plain() (host string, plain bool) {
	u, err := url.Parse(r.URL.Reveal())
	if err != nil || u.Scheme != "redis" {
		return "", false
	}
	return u.Hostname(), !stays(u.Hostname())
}

// stays is a host whose connections do not leave this machine: a socket, or a loopback
// address under its usual name, too.
func stays(host string) bool {
	return host == "" || filepath.IsAbs(host) || strings.HasPrefix(host, "@") || host == "localhost" || isLoopback(host)
}
