package iap

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"time"
)

// sightings holds transactions as the lists show them, in 48 bytes each and
// without pointers: a reply of megabytes shows thousands of them, many replies
// are read at once, and a Transaction takes six times as much.
type sightings struct {
	chunks  [][]packed
	n       int
	ordered []place // of all of them, once somebody asked
	origins numbered[origin]
	kinds   numbered[kind]
	// ids are those that are no numbers.
	ids numbered[string]
	// filled are the kinds that two of them, of the two lists, amount to.
	filled map[[2]uint32]uint32
}

// packed is one record of one list, or what the lists say together. Its zero
// value is none.
type packed struct {
	id, webOrderLineItemID                  idNumber
	purchaseDate, expiresDate, cancellation microseconds
	origin, kind                            uint32
}

// origin is what the periods of one subscription share.
type origin struct {
	id           idNumber
	purchaseDate microseconds
}

// kind is what most periods of a subscription share, and the list that shows
// them.
type kind struct {
	productID, group, reason, promotion, offer, token string
	ownership                                         OwnershipType
	quantity                                          int
	trial, intro, upgraded                            bool
	// unreadableExpiry and unreadableCancellation are those of Transaction.
	unreadableExpiry, unreadableCancellation bool
	list                                     List
}

// place is where a record lies: its chunk, and in the lowest bits where in that.
type place uint32

// Chunks grow from the first size to the last, so that a receipt with a handful
// of purchases takes no more than it needs.
const (
	firstChunk = 8
	lastChunk  = 1 << placeBits
	placeBits  = 8
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

func (s *sightings) at(p place) *packed { return &s.chunks[p>>placeBits][p&(lastChunk-1)] }

// records yields every transaction once, ordered by id, as the lists show it
// together.
func (s *sightings) records() iter.Seq[packed] {
	return func(yield func(packed) bool) {
		for left := s.inOrder(); len(left) > 0; {
			var p packed
			if p, left = s.first(left); !yield(p) {
				return
			}
		}
	}
}

// find is the transaction with an id, as the lists show it together, or none.
func (s *sightings) find(id string) packed {
	n := s.lookup(id)
	ordered := s.inOrder()
	i, found := slices.BinarySearchFunc(ordered, n, func(p place, id idNumber) int { return s.compare(s.at(p).id, id) })
	if n == 0 || !found {
		return packed{}
	}
	p, _ := s.first(ordered[i:])
	return p
}

// findPeriod is a period of a subscription by its web order line item id, or none.
func (s *sightings) findPeriod(subscription idNumber, webOrderLineItemID string) packed {
	if id := s.lookup(webOrderLineItemID); id != 0 {
		for p := range s.records() {
			if p.webOrderLineItemID == id && s.originalID(p) == subscription {
				return p
			}
		}
	}
	return packed{}
}

// first merges the records of the first transaction, and returns those of the
// others.
func (s *sightings) first(ordered []place) (packed, []place) {
	var seen [ListLatest + 1]packed
	id := s.at(ordered[0]).id
	for len(ordered) > 0 && s.at(ordered[0]).id == id {
		p := *s.at(ordered[0])
		if known := &seen[s.kindOf(p).list]; known.id == 0 {
			*known = p
		} else {
			*known = s.combine(*known, p)
		}
		ordered = ordered[1:]
	}
	return s.fill(seen[ListLatest], seen[ListReceipt]), ordered
}

// inOrder is where every record lies, ordered by id.
func (s *sightings) inOrder() []place {
	if len(s.ordered) == s.n {
		return s.ordered
	}
	s.ordered = make([]place, 0, s.n)
	for i, chunk := range s.chunks {
		for j := range chunk {
			s.ordered = append(s.ordered, place(i<<placeBits|j))
		}
	}
	slices.SortFunc(s.ordered, func(a, b place) int { return s.compare(s.at(a).id, s.at(b).id) })
	return s.ordered
}

func (s *sightings) pack(t Transaction, from List) packed {
	return packed{
		id: s.number(t.TransactionID), webOrderLineItemID: s.number(t.WebOrderLineItemID),
		purchaseDate: micros(t.PurchaseDate), expiresDate: micros(t.ExpiresDate), cancellation: micros(t.CancellationDate),
		origin: s.origins.number(origin{s.number(t.OriginalTransactionID), micros(t.OriginalPurchaseDate)}),
		kind: s.kinds.number(kind{
			productID: t.ProductID, group: t.SubscriptionGroupIdentifier, reason: t.CancellationReason,
			promotion: t.PromotionalOfferID, offer: t.OfferCodeRefName, token: t.AppAccountToken,
			ownership: t.InAppOwnershipType, quantity: t.Quantity,
			trial: t.IsTrialPeriod, intro: t.IsInIntroOfferPeriod, upgraded: t.IsUpgraded,
			unreadableExpiry: t.IsExpiryUnreadable, unreadableCancellation: t.IsCancellationUnreadable,
			list: from,
		}),
	}
}

// unpack is the transaction of a record, the zero one where that is none.
func (s *sightings) unpack(p packed) Transaction {
	if p.id == 0 {
		return Transaction{}
	}
	k := s.kindOf(p)
	return Transaction{
		TransactionID: s.id(p.id), OriginalTransactionID: s.id(s.originalID(p)), WebOrderLineItemID: s.id(p.webOrderLineItemID),
		ProductID: k.productID, SubscriptionGroupIdentifier: k.group, Quantity: k.quantity,
		PurchaseDate: p.purchaseDate.time(), OriginalPurchaseDate: s.origins.values[p.origin].purchaseDate.time(),
		ExpiresDate: p.expiresDate.time(), CancellationDate: p.cancellation.time(),
		CancellationReason: k.reason, IsExpiryUnreadable: k.unreadableExpiry, IsCancellationUnreadable: k.unreadableCancellation,
		IsTrialPeriod: k.trial, IsInIntroOfferPeriod: k.intro, IsUpgraded: k.upgraded,
		InAppOwnershipType: k.ownership, PromotionalOfferID: k.promotion, OfferCodeRefName: k.offer, AppAccountToken: k.token,
	}
}

func (s *sightings) kindOf(p packed) *kind { return &s.kinds.values[p.kind] }

// originalID names the subscription of a record. One that names no original
// transaction is one.
func (s *sightings) originalID(p packed) idNumber { return cmp.Or(s.origins.values[p.origin].id, p.id) }

// isCurrent reports whether the transaction is shown as it is now, and not only
// as it was when the receipt was signed.
func (s *sightings) isCurrent(p packed) bool { return s.kindOf(p).list == ListLatest }

func (p packed) isDated() bool { return p.expiresDate != noTime }

// isSubscription reports whether a record by itself is a period of a subscription:
// one that expires, is in a group, was ordered on the web by a line item, or is a
// trial or an introductory period. Every record carries is_trial_period, so that
// false says nothing.
func (s *sightings) isSubscription(p packed) bool {
	k := s.kindOf(p)
	return p.isDated() || k.unreadableExpiry || k.group != "" || p.webOrderLineItemID != 0 || k.trial || k.intro
}

// isUndated reports whether the lists together leave a date open that a record
// should have.
func (s *sightings) isUndated(p packed) bool {
	k := s.kindOf(p)
	return k.unreadableExpiry && !p.isDated() || k.unreadableCancellation && !p.isRevoked()
}

func (p packed) isRevoked() bool { return p.cancellation != noTime }

// numbered holds values that many records have in common, each once, and numbers
// them in the order in which they came.
type numbered[T comparable] struct {
	values []T
	last   uint32 // what was asked for last, as most records are like the one before
	rest   map[T]uint32
}

// fewValues is how many are looked through before a map is worth its memory.
const fewValues = 8

func (n *numbered[T]) number(v T) uint32 {
	i, known := n.find(v)
	if !known {
		i = uint32(len(n.values))
		n.values = append(n.values, v)
		if i >= fewValues {
			if n.rest == nil {
				n.rest = make(map[T]uint32)
			}
			n.rest[v] = i
		}
	}
	n.last = i
	return i
}

func (n *numbered[T]) find(v T) (uint32, bool) {
	if len(n.values) > 0 && n.values[n.last] == v {
		return n.last, true
	}
	if i := slices.Index(n.values[:min(len(n.values), fewValues)], v); i >= 0 {
		return uint32(i), true
	}
	i, known := n.rest[v]
	return i, known
}

// idNumber is an id that is a number as it is written in decimal, or, from
// firstText on, the number of a text. 0 is no id: Apple's begin elsewhere, and
// one that is "0" is a text.
type idNumber uint64

const firstText idNumber = 1 << 63

func (s *sightings) number(id string) idNumber {
	if n := numeric(id); n > 0 || id == "" {
		return n
	}
	return firstText + idNumber(s.ids.number(id))
}

// lookup is the number of an id, 0 where no record has it.
func (s *sightings) lookup(id string) idNumber {
	if n := numeric(id); n > 0 || id == "" {
		return n
	}
	if i, known := s.ids.find(id); known {
		return firstText + idNumber(i)
	}
	return 0
}

// numeric is an id as the number that it is, else 0.
func numeric(id string) idNumber {
	n, err := strconv.ParseUint(id, 10, 63)
	if err != nil || id[0] < '1' || id[0] > '9' {
		return 0
	}
	return idNumber(n)
}

func (s *sightings) id(n idNumber) string {
	switch {
	case n == 0:
		return ""
	case n >= firstText:
		return s.ids.values[n-firstText]
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

// microseconds is UNIX time, noTime the zero time, which is before all others.
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

// or is m, or other where that is no time.
func (m microseconds) or(other microseconds) microseconds {
	if m == noTime {
		return other
	}
	return m
}

// earlier is the earlier of two times, either of which may be none.
func (m microseconds) earlier(other microseconds) microseconds {
	return min(m.or(other), other.or(m))
}

// second is the whole second of a time.
func (m microseconds) second() microseconds {
	const second = microseconds(time.Second / time.Microsecond)
	if m < 0 && m != noTime {
		m -= second - 1
	}
	return m / second
}
