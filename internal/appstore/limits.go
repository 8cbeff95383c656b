package appstore

import "cmp"

// Limits bounds what reading one reply may cost. A zero field means its
// default.
type Limits struct {
	// MaxReplyBytes counts the body as it is read, after decompression.
	// Default 64 MiB: a receipt at the limit of a request, with 5,500
	// purchases, comes back in about 11 MB.
	MaxReplyBytes int64
	// MaxDepth is how deep objects and arrays may nest; Apple's own go 4 deep.
	// Default 32.
	MaxDepth int
	// MaxRecords counts transactions and renewals together, each as often as
	// it comes. They are what a reply leaves in memory; see Request.Grow.
	// Default 50,000.
	MaxRecords int
	// MaxTextBytes is the longest id or other text that is kept. A longer one
	// makes the reply unusable: it may not fit into an index, and cut short an
	// id would name something else. Default 256: Apple's ids have at most 20
	// digits, product ids 100 characters, names of offer codes 64.
	MaxTextBytes int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		MaxReplyBytes: cmp.Or(l.MaxReplyBytes, 64<<20),
		MaxDepth:      cmp.Or(l.MaxDepth, 32),
		MaxRecords:    cmp.Or(l.MaxRecords, 50_000),
		MaxTextBytes:  cmp.Or(l.MaxTextBytes, 256),
	}
}
