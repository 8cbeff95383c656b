package iap

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"time"
)

// sightings holds transactions as the lists show them, in 64 bytes each and
// without pointers: a reply of megabytes shows thousands of them, many replies
// are read at once, and a Transaction takes five times as much.
type sightings struct {
	chunks  [][]packed
	n       int
	ordered []*packed // all of them, once somebody asked
	// kinds are what many transactions have in common, each held once; ids are
	// those that are no numbers.
	kinds   []kind
	kindOf  map[kind]uint32
	ids     []string
	indexOf map[string]idNumber
}

// packed is one record of one list.
type packed struct {
	id, originalID, lineItemID                                    idNumber
	purchaseDate, originalPurchaseDate, expiresDate, cancellation microseconds
	kind                                                          uint32
	list                                                          uint8
}

// kind is what the periods of a subscription share.
type kind struct {
	productID, group, reason, promotion, offer, token string
	ownership                                         OwnershipType
	quantity                                          int
	trial, intro, upgraded                            bool
}

// Chunks grow from the first size to the last, so that a receipt with a handful
// of purchases takes no more than it needs.
const (
	firstChunk = 8
	lastChunk  = 256
)

func (s *sightings) add(t Transaction, from List) {
	last := len(s.chunks) - 1
	if last < 0 || len(s.chunks[last]) == cap(s.chunks[last]) {
		s.chunks = append(s.chunks, make([]packed, 0, min(max(firstChunk, s.n), lastChunk)))
		last++
	}
	s.chunks[last] = append(s.chunks[last], s.pack(t, from))
	s.n++
}

// all yields every transaction once, ordered by id, and whether it is shown as it
// is now.
func (s *sightings) all() iter.Seq2[Transaction, bool] {
	return func(yield func(Transaction, bool) bool) {
		records := s.inOrder()
		for len(records) > 0 {
			var seen sighting
			id := records[0].id
			for len(records) > 0 && records[0].id == id {
				t := s.unpack(records[0])
				if known := &seen[records[0].list]; known.TransactionID == "" {
					*known = t
				} else {
					*known = combine(*known, t)
				}
				records = records[1:]
			}
			if !yield(seen.merged(), seen.isCurrent()) {
				return
			}
		}
	}
}

// inOrder is every record, ordered by id.
func (s *sightings) inOrder() []*packed {
	if len(s.ordered) == s.n {
		return s.ordered
	}
	s.ordered = make([]*packed, 0, s.n)
	for _, chunk := range s.chunks {
		for i := range chunk {
			s.ordered = append(s.ordered, &chunk[i])
		}
	}
	slices.SortFunc(s.ordered, func(a, b *packed) int { return s.compare(a.id, b.id) })
	return s.ordered
}

func (s *sightings) pack(t Transaction, from List) packed {
	return packed{
		id: s.number(t.TransactionID), originalID: s.number(t.OriginalTransactionID), lineItemID: s.number(t.WebOrderLineItemID),
		purchaseDate: micros(t.PurchaseDate), originalPurchaseDate: micros(t.OriginalPurchaseDate),
		expiresDate: micros(t.ExpiresDate), cancellation: micros(t.CancellationDate),
		kind: s.kind(kind{
			productID: t.ProductID, group: t.SubscriptionGroupIdentifier, reason: t.CancellationReason,
			promotion: t.PromotionalOfferID, offer: t.OfferCodeRefName, token: t.AppAccountToken,
			ownership: t.InAppOwnershipType, quantity: t.Quantity,
			trial: t.IsTrialPeriod, intro: t.IsInIntroOfferPeriod, upgraded: t.IsUpgraded,
		}),
		list: uint8(from),
	}
}

func (s *sightings) unpack(p *packed) Transaction {
	k := &s.kinds[p.kind]
	return Transaction{
		TransactionID: s.id(p.id), OriginalTransactionID: s.id(p.originalID), WebOrderLineItemID: s.id(p.lineItemID),
		ProductID: k.productID, SubscriptionGroupIdentifier: k.group, Quantity: k.quantity,
		PurchaseDate: p.purchaseDate.time(), OriginalPurchaseDate: p.originalPurchaseDate.time(),
		ExpiresDate: p.expiresDate.time(), CancellationDate: p.cancellation.time(),
		CancellationReason: k.reason, IsTrialPeriod: k.trial, IsInIntroOfferPeriod: k.intro, IsUpgraded: k.upgraded,
		InAppOwnershipType: k.ownership, PromotionalOfferID: k.promotion, OfferCodeRefName: k.offer, AppAccountToken: k.token,
	}
}

// kind is the number of a kind. Most records are of that of the one before.
func (s *sightings) kind(k kind) uint32 {
	if last := len(s.kinds) - 1; last >= 0 && s.kinds[last] == k {
		return uint32(last)
	}
	n, known := s.kindOf[k]
	if !known {
		if s.kindOf == nil {
			s.kindOf = make(map[kind]uint32)
		}
		n = uint32(len(s.kinds))
		s.kindOf[k], s.kinds = n, append(s.kinds, k)
	}
	return n
}

// idNumber is an id that is a number as it is written in decimal, or, from
// firstText on, the number of a text. 0 is no id: Apple's begin elsewhere, and
// one that is "0" is a text.
type idNumber uint64

const firstText idNumber = 1 << 63

func (s *sightings) number(id string) idNumber {
	if id == "" {
		return 0
	}
	n, err := strconv.ParseUint(id, 10, 63)
	if err != nil || id[0] < '1' || id[0] > '9' {
		return s.index(id)
	}
	return idNumber(n)
}

func (s *sightings) index(id string) idNumber {
	n, known := s.indexOf[id]
	if !known {
		if s.indexOf == nil {
			s.indexOf = make(map[string]idNumber)
		}
		n = firstText + idNumber(len(s.ids))
		s.indexOf[id], s.ids = n, append(s.ids, id)
	}
	return n
}

func (s *sightings) id(n idNumber) string {
	switch {
	case n == 0:
		return ""
	case n >= firstText:
		return s.ids[n-firstText]
	}
	return strconv.FormatUint(uint64(n), 10)
}

// compare orders ids as texts.
func (s *sightings) compare(a, b idNumber) int {
	if a < firstText && b < firstText && digits(a) == digits(b) {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(s.id(a), s.id(b))
}

// digits is how many of them n has in decimal.
func digits(n idNumber) int {
	least := bits.Len64(uint64(n)) * 1233 >> 12 // times log10(2)
	if n < powers[least] {
		return least
	}
	return least + 1
}

// powers are those of 10 below 2^63.
var powers = func() (p [19]idNumber) {
	p[0] = 1
	for i := range p[1:] {
		p[i+1] = 10 * p[i]
	}
	return p
}()

// microseconds is UNIX time, noTime the zero time.
type microseconds int64

const noTime microseconds = -1 << 63

func micros(t time.Time) microseconds {
	if t.IsZero() {
		return noTime
	}
	return microseconds(t.UnixMicro())
}

func (m microseconds) time() time.Time {
	if m == noTime {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}
