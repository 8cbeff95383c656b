package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/corpustest"
	"revalidator/internal/iap"
	"revalidator/internal/terminal"
)

// corpusReceipt is one published receipt and what an independent script read
// in it.
type corpusReceipt struct {
	file string
	text []byte // base64

	Format      string
	Malformed   bool
	Error       string // of a malformed one
	Environment string
	BundleID    string `json:"bundle_id"`
}

// namelessApp is the app of receipts that do not say theirs.
const namelessApp = "com.example.nameless"

// corpus lists the published receipts, each of them once.
func corpus(t *testing.T) []corpusReceipt {
	t.Helper()
	seen := make(map[string]bool)
	var all []corpusReceipt
	for _, e := range corpustest.Entries(t, corpustest.KindReceipt) {
		if seen[string(e.Data)] {
			continue
		}
		seen[string(e.Data)] = true
		r := corpusReceipt{file: e.Name(), text: e.Data}
		e.Expect(t, &r)
		r.BundleID = cmp.Or(r.BundleID, namelessApp)
		all = append(all, r)
	}
	return all
}

// storedReceipt is what the database should have of a receipt.
type storedReceipt struct {
	BundleID, Kind, Environment, SHA256, DataSHA256 string
	ByteSize                                        int
}

// stored is what should become of the receipt, worked out without the program.
func (r corpusReceipt) stored(t *testing.T) storedReceipt {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(r.text)))
	if err != nil {
		t.Fatalf("%s: %v", r.file, err)
	}
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	want := storedReceipt{
		BundleID: r.BundleID, Kind: string(iap.KindAppReceipt), Environment: r.Environment,
		SHA256: hash, DataSHA256: hash, ByteSize: len(data),
	}
	switch {
	case r.Format == "ios6-plist":
		want.Kind = string(iap.KindTransactionReceipt)
	case r.Environment == "Xcode":
		want.Kind, want.Environment = string(iap.KindXcode), ""
	}
	return want
}

// importCorpus adds the apps and imports every receipt, under its file's name
// as the customer. It returns the rejects by customer, with their reasons.
func importCorpus(t *testing.T, s *session, receipts []corpusReceipt) map[string]string {
	t.Helper()
	var lines bytes.Buffer
	apps := make(map[string]bool)
	for _, r := range receipts {
		if !apps[r.BundleID] {
			s.must(t, "apps", "add", r.BundleID)
			apps[r.BundleID] = true
		}
		line := map[string]string{"bundle_id": r.BundleID, "customer_ref": r.file, "receipt": string(r.text)}
		if err := json.NewEncoder(&lines).Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	input := writeFile(t, "corpus.ndjson", lines.String())
	wantCode := terminal.ExitOK
	if slices.ContainsFunc(receipts, func(r corpusReceipt) bool { return r.Malformed }) {
		wantCode = terminal.ExitFailures
	}
	if o := s.run(t, "import", input); o.code != wantCode {
		t.Fatalf("exit code: got %d, want %d\n%s%s", o.code, wantCode, o.stdout, o.stderr)
	}
	text, err := os.ReadFile(input + ".rejects.ndjson")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // nothing was rejected
		t.Fatal(err)
	}
	rejects := make(map[string]string)
	for line := range bytes.Lines(text) {
		var reject struct {
			CustomerRef string `json:"customer_ref"`
			Reason      string `json:"reason"`
		}
		if err := json.Unmarshal(line, &reject); err != nil {
			t.Fatal(err)
		}
		rejects[reject.CustomerRef] = reject.Reason
	}
	return rejects
}

// receiptsByCustomer reads the receipts from the database.
func (s *session) receiptsByCustomer(t *testing.T) map[string]storedReceipt {
	t.Helper()
	db, err := sql.Open("postgres", s.get("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), `
		SELECT r.customer_ref, r.bundle_id, r.kind, coalesce(r.environment, ''), encode(r.sha256, 'hex'),
		       encode(sha256(d.data), 'hex'), r.byte_size
		FROM receipts r LEFT JOIN receipt_data d ON d.receipt_id = r.id`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	stored := make(map[string]storedReceipt)
	for rows.Next() {
		var customer string
		var r storedReceipt
		if err := rows.Scan(&customer, &r.BundleID, &r.Kind, &r.Environment, &r.SHA256, &r.DataSHA256, &r.ByteSize); err != nil {
			t.Fatal(err)
		}
		stored[customer] = r
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return stored
}

// TestImportCorpus imports every published receipt.
func TestImportCorpus(t *testing.T) {
	t.Parallel()
	receipts := corpus(t)
	s := newSession(t)
	rejects := importCorpus(t, s, receipts)
	want, wantRejects := make(map[string]storedReceipt), make(map[string]string)
	for _, r := range receipts {
		switch {
		case r.Malformed && strings.Contains(r.Error, "past end"):
			wantRejects[r.file] = "truncated"
		case r.Malformed: // the script's reason is not one of ours
			wantRejects[r.file] = rejects[r.file]
		default:
			want[r.file] = r.stored(t)
		}
	}
	if diff := gocmp.Diff(wantRejects, rejects); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(want, s.receiptsByCustomer(t)); diff != "" {
		t.Errorf("receipts (-want +got):\n%s", diff)
	}
}
