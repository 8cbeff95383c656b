package applesim

import (
	"strconv"
	"time"
	// Apple's dates name Los Angeles, whatever the machine knows of time zones.
	_ "time/tzdata"
)

// writer appends Apple's JSON in UTF-8. It leaves nothing to be escaped: what it
// is given is ours.
type writer struct {
	b       []byte
	pacific *time.Location
	more    bool // the object already has a field
}

func (s *Server) newWriter(size int) *writer {
	return &writer{b: make([]byte, 0, size), pacific: s.pacific}
}

func (w *writer) raw(text string) { w.b = append(w.b, text...) }

func (w *writer) open(text string) {
	w.raw(text)
	w.more = false
}

func (w *writer) key(name string) {
	if w.more {
		w.raw(", ")
	}
	w.more = true
	w.b = append(w.b, '"')
	w.raw(name)
	w.raw(`":`)
}

// text writes a field whose value is a string.
func (w *writer) text(name, value string) {
	w.key(name)
	w.b = append(w.b, '"')
	w.raw(value)
	w.b = append(w.b, '"')
}

// null writes fields without a value.
func (w *writer) null(names ...string) {
	for _, name := range names {
		w.key(name)
		w.raw("null")
	}
}

// number writes a field whose value is a number, as a few of Apple's are.
func (w *writer) number(name string, value int64) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, value, 10)
}

// digits writes a field whose value is a number as a string, as most are.
func (w *writer) digits(name string, value int64) {
	w.key(name)
	w.b = append(w.b, '"')
	w.b = strconv.AppendInt(w.b, value, 10)
	w.b = append(w.b, '"')
}

func (w *writer) truth(name string, value bool) { w.text(name, strconv.FormatBool(value)) }

const (
	dateLayout   = "2006-01-02 15:04:05"
	utcName      = " Etc/GMT"
	pacificName  = " America/Los_Angeles"
	bytesPerItem = 2200 // of one transaction in a reply, in all its lists
)

// date writes a date in Apple's three formats; none at all for no date.
func (w *writer) date(name string, m millis) {
	if m == 0 {
		return
	}
	w.formatted(name, m)
	w.digits(name+"_ms", int64(m))
	w.formattedPacific(name+"_pst", m)
}

func (w *writer) formatted(name string, m millis) {
	w.key(name)
	w.b = append(w.b, '"')
	w.b = m.time().AppendFormat(w.b, dateLayout)
	w.raw(utcName + `"`)
}

func (w *writer) formattedPacific(name string, m millis) {
	w.key(name)
	w.b = append(w.b, '"')
	w.b = m.time().In(w.pacific).AppendFormat(w.b, dateLayout)
	w.raw(pacificName + `"`)
}
