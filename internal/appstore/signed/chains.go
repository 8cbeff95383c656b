package signed

import (
	"strings"
	"sync"

	"revalidator/internal/appstore/pki"
)

// chains remembers verified chains by the protected header that carried them.
// It is safe for concurrent use.
type chains struct {
	most int

	mu    sync.RWMutex
	known map[string]*pki.Chain
	order []string // the oldest first
}

// get is nil for a header that is not known.
func (c *chains) get(header string) *pki.Chain {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.known[header]
}

func (c *chains) add(header string, chain *pki.Chain) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[string]*pki.Chain)
	}
	if _, ok := c.known[header]; ok {
		return
	}
	if len(c.order) >= c.most {
		delete(c.known, c.order[0])
		c.order = append(c.order[:0], c.order[1:]...)
	}
	header = strings.Clone(header) // and not the whole JWS around it
	c.known[header] = chain
	c.order = append(c.order, header)
}
