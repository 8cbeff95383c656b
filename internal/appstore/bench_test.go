package appstore_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"revalidator/internal/appstore"
)

func BenchmarkDecodeSmall(b *testing.B) { benchmarkDecode(b, 20) }

func BenchmarkDecodeLarge(b *testing.B) { benchmarkDecode(b, 5500) }

func benchmarkDecode(b *testing.B, records int) {
	b.Helper()
	body, err := io.ReadAll(newGenerated(records))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := appstore.DecodeReply(bytes.NewReader(body), appstore.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// discard is a transport that reads the request and answers without a network.
type discard struct{}

func (discard) RoundTrip(r *http.Request) (*http.Response, error) {
	_, err := io.Copy(io.Discard, r.Body)
	body := io.NopCloser(bytes.NewReader([]byte(`{"status":21006}`)))
	return &http.Response{StatusCode: http.StatusOK, Body: body}, err
}

func BenchmarkEncode(b *testing.B) {
	r := request()
	r.Receipt = receipt(make([]byte, 2<<20))
	c, err := appstore.New(appstore.Config{HTTPClient: &http.Client{Transport: discard{}}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(2 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.VerifyReceipt(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
