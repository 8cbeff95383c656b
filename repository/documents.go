package repository

import (
	"bytes"
	"encoding/json"
	"iter"
)

// What Postgres takes of memory for a statement over rows that are given as one
// document is many times the document, and follows from nothing else; so a document
// has so many rows at most, and so many bytes, unless one row alone has more.
const (
	documentRows  = 500
	documentBytes = 1 << 20
)

// documents cuts rows into JSON arrays for one statement after the other, in their
// order. An error is the last.
func documents[T any](rows []T) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		for first := 0; first < len(rows); {
			b.Reset()
			next := first
			for ; next < len(rows) && next-first < documentRows && b.Len() < documentBytes; next++ {
				before := b.Len()
				b.WriteByte(separator(next - first))
				if err := encoder.Encode(rows[next]); err != nil {
					yield("", err)
					return
				}
				if next > first && b.Len() > documentBytes {
					b.Truncate(before)
					break
				}
			}
			b.WriteByte(']')
			if !yield(b.String(), nil) {
				return
			}
			first = next
		}
	}
}

// separator is what comes before the element with a number.
func separator(i int) byte {
	if i == 0 {
		return '['
	}
	return ','
}
