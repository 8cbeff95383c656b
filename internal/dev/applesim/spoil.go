package applesim

import (
	"cmp"
	"strconv"
	"strings"
)

// Form is how an expiry is none.
type Form string

// The forms of an expiry that is none.
const (
	FormEmpty   Form = "empty"
	FormNull    Form = "null"
	FormMissing Form = "missing"
	// FormImpossible is no date of any calendar, and a number beyond any date.
	FormImpossible Form = "impossible"
	// FormFar is a date after the year 9999.
	FormFar Form = "far"
)

var forms = []Form{FormEmpty, FormNull, FormMissing, FormImpossible, FormFar}

const (
	// far is added to a date that is far: ten thousand years.
	far           = 10_000 * year
	impossible    = "0000-00-00 00:00:00 Etc/GMT"
	impossibleMS  = "9223372036854775807"
	longIDs       = 3000
	sandboxSecond = 1000
)

// spoil is what goes wrong within the records of a reply. The zero spoil is
// nothing.
type spoil struct {
	rule *Rule
	draw uint64
}

// hits reports whether the fault is the reply's and spoils the record.
func (s spoil) hits(f Fault, t *transaction) bool {
	return s.rule != nil && s.rule.Fault == f && t.expires != 0 &&
		chance(s.draw, uint64(t.id)) < cmp.Or(s.rule.Records, 1)
}

func (s spoil) id(t *transaction) string {
	id := digits(t.id)
	if s.hits(FaultLongIDs, t) {
		id += strings.Repeat("0", max(cmp.Or(s.rule.Bytes, longIDs)-len(id), 0))
	}
	return id
}

func (s spoil) originallyBought(t *transaction) millis {
	if s.rule != nil && s.rule.Fault == FaultFirstDates && t.expires != 0 {
		return t.bought + sandboxSecond
	}
	return t.originallyBought
}

// form is that of the record's expiry; empty where it is in order.
func (s spoil) form(t *transaction) Form {
	if !s.hits(FaultUndated, t) {
		return ""
	}
	return cmp.Or(s.rule.Form, forms[mixBits(s.draw^uint64(t.id))%uint64(len(forms))])
}

// expiry writes an expiry in the form.
func (w *writer) expiry(form Form, m millis) {
	const name = "expires_date"
	switch form {
	case FormMissing:
	case FormNull:
		w.null(name, name+"_ms", name+"_pst")
	case FormEmpty:
		w.text(name, "")
		w.text(name+"_ms", "")
		w.text(name+"_pst", "")
	case FormImpossible:
		w.text(name, impossible)
		w.text(name+"_ms", impossibleMS)
	case FormFar:
		w.date(name, m+far)
	default:
		w.date(name, m)
	}
}

// ios6Expiry writes the one field of a transaction receipt that has a spoiled
// expiry; without a form it is the right one.
func (w *writer) ios6Expiry(form Form, right string) {
	const name = "expires_date"
	switch form {
	case FormMissing:
	case FormNull:
		w.null(name)
	case FormEmpty:
		w.text(name, "")
	case FormImpossible:
		w.text(name, impossibleMS)
	case FormFar:
		w.text(name, strconv.FormatInt(int64(far), 10))
	default:
		w.text(name, right)
	}
}
