package intake

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"revalidator/internal/iap"
)

// memory is a Store that keeps receipts as Postgres does: once for each
// customer.
type memory struct {
	mu    sync.Mutex
	seen  map[string]bool
	rows  []iap.Receipt
	calls int
	dates []time.Time

	// before, if set, is called with the customer of the first receipt of each
	// batch; its error fails the batch.
	before func(first string) error
}

func (m *memory) AddReceipts(ctx context.Context, batch []iap.Receipt, now time.Time) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	m.dates = append(m.dates, now)
	if m.before != nil {
		if err := m.before(batch[0].CustomerRef); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.seen == nil {
		m.seen = make(map[string]bool)
	}
	added := make([]bool, len(batch))
	for i, r := range batch {
		sum := r.SHA256()
		key := r.BundleID + "\x00" + r.CustomerRef + "\x00" + hex.EncodeToString(sum[:])
		if added[i] = !m.seen[key]; added[i] {
			m.seen[key] = true
			m.rows = append(m.rows, r)
		}
	}
	return added, nil
}

// customers lists whose receipts were stored.
func (m *memory) customers() []string {
	var refs []string
	for _, r := range m.rows {
		refs = append(refs, r.CustomerRef)
	}
	return refs
}

// anyOrder is for the order of what is stored, which nobody promises.
var anyOrder = cmpopts.SortSlices(strings.Compare)

const app = "com.example.app"

var now = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func hasApp(bundleID string) bool { return bundleID == app }

// config is the setting of most tests: batches of three lines.
func config(store Store, rejects *strings.Builder) Config {
	return Config{
		Store: store, HasApp: hasApp, Rejects: rejects,
		BatchRows: 3, Workers: 2, Now: func() time.Time { return now },
	}
}

// run imports input and fails the test if that ends with an error.
func run(t *testing.T, input string, format Format, cfg Config) Result {
	t.Helper()
	result, err := Run(t.Context(), strings.NewReader(input), format, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// receiptDER is a made-up app receipt: right in its structure, without
// certificates and signature. salt makes it differ from others.
func receiptDER(bundleID, receiptType, salt string) []byte {
	explicit := asn1.Tag(0).Constructed().ContextSpecific()
	var payload, b cryptobyte.Builder
	payload.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
		for kind, value := range []string{0: receiptType, 2: bundleID, 4: salt} {
			if value != "" {
				addAttribute(b, int64(kind), value)
			}
		}
	})
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 2})
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {})
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 1})
					b.AddASN1(explicit, func(b *cryptobyte.Builder) { b.AddASN1OctetString(payload.BytesOrPanic()) })
				})
			})
		})
	})
	return b.BytesOrPanic()
}

func addAttribute(b *cryptobyte.Builder, kind int64, value string) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(kind)
		b.AddASN1Int64(1)
		b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
		})
	})
}

// receiptOf is the base64 of a made-up production receipt of the app.
func receiptOf(salt string) string {
	return base64.StdEncoding.EncodeToString(receiptDER(app, "Production", salt))
}

// line is one line of NDJSON, without its end.
func line(bundleID, customerRef, receipt string) string {
	text, err := json.Marshal(map[string]string{"bundle_id": bundleID, "customer_ref": customerRef, "receipt": receipt})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// goodLines are n lines of NDJSON with receipts of the customers c1 to cn.
func goodLines(n int) string {
	var b strings.Builder
	for i := range n {
		ref := fmt.Sprintf("c%d", i+1)
		fmt.Fprintln(&b, line(app, ref, receiptOf(ref)))
	}
	return b.String()
}

// discard is a Store that takes everything for new and keeps nothing.
type discard struct{}

func (discard) AddReceipts(_ context.Context, batch []iap.Receipt, _ time.Time) ([]bool, error) {
	added := make([]bool, len(batch))
	for i := range added {
		added[i] = true
	}
	return added, nil
}
