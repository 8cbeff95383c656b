package repository

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocuments(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", documentBytes)
	half := long[:documentBytes/2]
	for name, test := range map[string]struct {
		rows []string
		want []int // rows of each document
	}{
		"none":                        {nil, nil},
		"one":                         {[]string{"a"}, []int{1}},
		"as many as fit":              {make([]string, documentRows), []int{documentRows}},
		"one more":                    {make([]string, documentRows+1), []int{documentRows, 1}},
		"by bytes":                    {[]string{half, half, "a", half}, []int{1, 2, 1}},
		"larger than a document":      {[]string{"a", long + "x", "b"}, []int{1, 1, 1}},
		"several of those":            {[]string{long, long}, []int{1, 1}},
		"a quote, a tag and an emoji": {[]string{`"`, "<b>", "😀"}, []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sizes []int
			var all []string
			for document, err := range documents(test.rows) {
				var rows []string
				if err != nil || json.Unmarshal([]byte(document), &rows) != nil {
					t.Fatalf("error %v, document of %d bytes", err, len(document))
				}
				sizes, all = append(sizes, len(rows)), append(all, rows...)
			}
			if diff := cmp.Diff(test.want, sizes); diff != "" {
				t.Errorf("sizes (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.rows, all); diff != "" {
				t.Errorf("rows (-want +got)\n%s", diff)
			}
		})
	}
}

// TestDocumentsEndWithAnError gives no half of a document.
func TestDocumentsEndWithAnError(t *testing.T) {
	t.Parallel()
	n := 0
	for document, err := range documents([]float64{1, math.Inf(1), 2}) {
		if n++; err == nil || document != "" {
			t.Errorf("document %q, error %v", document, err)
		}
	}
	if n != 1 {
		t.Errorf("%d documents, want an error alone", n)
	}
	for range documents(make([]int, 3*documentRows)) {
		break // and no more than is wanted
	}
}
