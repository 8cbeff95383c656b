package main

import (
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/applesim"
	"revalidator/internal/iap"
)

// expectation is what an independent script found in a receipt or a reply.
type expectation struct {
	Status            *int
	Environment       string
	BundleID          string `json:"bundle_id"`
	RequestDateMS     int64  `json:"request_date_ms"`
	Malformed         bool
	InApp             int `json:"n_in_app"`
	WithoutExpiry     int `json:"n_without_expiry"`
	Subscriptions     map[string]expectedChain
	Active            []string `json:"active_at_request_date"`
	LatestReceiptFile string   `json:"latest_receipt_file"`
}

type expectedChain struct {
	MaxExpiresMS int64  `json:"max_expires_ms"`
	ProductID    string `json:"product_id"`
}

// corpusFile is one file of the corpus with what is expected of it.
type corpusFile struct {
	name, path string
	want       expectation
}

// corpusFiles lists the files of a folder of the corpus.
func corpusFiles(t *testing.T, folders ...string) []corpusFile {
	t.Helper()
	dir := os.Getenv("REVALIDATOR_CORPUS")
	if dir == "" {
		t.Skip("REVALIDATOR_CORPUS is not set: it names the folder of recorded App Store data")
	}
	index, err := os.Open(filepath.Join(dir, "INDEX.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = index.Close() }()
	rows, err := csv.NewReader(index).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	file, expect := slices.Index(rows[0], "file"), slices.Index(rows[0], "expect")
	var files []corpusFile
	for _, row := range rows[1:] {
		if !slices.Contains(folders, filepath.Dir(row[file])) {
			continue
		}
		f := corpusFile{name: row[file], path: filepath.Join(dir, row[file])}
		if err := json.Unmarshal([]byte(row[expect]), &f.want); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		files = append(files, f)
	}
	return files
}

// replyView is the part of an answer that the corpus has an opinion of.
type replyView struct {
	Code          int
	Environment   string
	BundleID      string
	RequestDateMS int64
	Active        []string
	Subscriptions map[string]chainView
	Purchases     int
}

type chainView struct {
	ExpiresMS int64
	ProductID string
}

// wanted is what check should say of a reply. A reply that is no success, or
// about no app that it names, is told by its code.
func (f corpusFile) wanted() replyView {
	w := replyView{Code: *f.want.Status, Environment: f.want.Environment}
	if w.Code != 0 && w.Code != 21006 {
		return w
	}
	w.BundleID, w.RequestDateMS, w.Purchases = f.want.BundleID, f.want.RequestDateMS, f.want.WithoutExpiry
	w.Active = f.want.Active
	w.Subscriptions = make(map[string]chainView)
	for id, c := range f.want.Subscriptions {
		w.Subscriptions[id] = chainView{c.MaxExpiresMS, c.ProductID}
	}
	return w
}

// view is what check said of a reply.
func (r checkReport) view() replyView {
	a := r.Answer
	v := replyView{Environment: string(a.Environment), BundleID: a.BundleID, Purchases: len(a.Purchases)}
	if a.Code != nil {
		v.Code = *a.Code
	}
	if a.AsOf != nil {
		v.RequestDateMS = a.AsOf.UnixMilli()
	}
	if a.Accepted || len(a.Subscriptions)+len(a.Purchases) > 0 || a.BundleID == "" && a.Code != nil && *a.Code == 0 {
		v.Subscriptions = make(map[string]chainView)
	}
	for _, s := range a.Subscriptions {
		v.Subscriptions[s.OriginalTransactionID] = chainView{s.ExpiresDate.UnixMilli(), s.ProductID}
		if s.Status == "active" && a.AsOf != nil {
			v.Active = append(v.Active, s.OriginalTransactionID)
		}
	}
	return v
}

// replyDifferences is where check says something else than the script found,
// and why.
var replyDifferences = map[string]struct {
	why   string
	apply func(*replyView)
}{
	"responses/nomad-receipt-not-expired-cancelled-f6389d.json": {
		"its authors dropped the milliseconds of a date, and the script reads the text",
		func(v *replyView) { v.Active, v.Subscriptions, v.Purchases = nil, nil, 1 },
	},
}

// TestCheckCorpusReplies reads every published reply.
func TestCheckCorpusReplies(t *testing.T) {
	t.Parallel()
	s, people := &session{}, &session{}
	files := corpusFiles(t, "responses")
	if len(files) < 50 {
		t.Errorf("got %d replies, want the whole corpus", len(files))
	}
	for _, f := range files {
		want := f.wanted()
		if d, ok := replyDifferences[f.name]; ok {
			d.apply(&want)
		}
		people.run(t, "check", "--reply", f.path)
		got := s.checked(t, "--reply", f.path)
		if diff := cmp.Diff(want, got.view(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.name, diff)
		}
	}
	checkWidth(t, results(people.transcript.String()))
}

// checked is the report of a check.
func (s *session) checked(t *testing.T, args ...string) checkReport {
	t.Helper()
	o := s.run(t, append([]string{"check", "--json"}, args...)...)
	var report checkReport
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		t.Fatalf("%q: exit code %d, %v\n%s%s", args, o.code, err, o.stdout, o.stderr)
	}
	return report
}

// TestCheckCorpusReceipts reads every published receipt, and asks about those
// to which Apple's reply was published too.
func TestCheckCorpusReceipts(t *testing.T) {
	t.Parallel()
	s := &session{}
	sim := s.storyStore(t)
	people := &session{env: s.env}
	replies := playBack(t, sim)
	secret := writeFile(t, "secret", someSecret)
	answered := 0
	for _, f := range corpusFiles(t, "receipts") {
		o := people.run(t, "check", f.path, "--secret-file", secret, "--app", f.want.BundleID)
		if f.want.Malformed {
			if o.code != exitFailure || o.stdout != "" {
				t.Errorf("%s: got exit code %d, want %d for a broken receipt", f.name, o.code, exitFailure)
			}
			continue
		}
		report := s.checked(t, f.path, "--secret-file", secret, "--app", f.want.BundleID)
		f.compareLocal(t, *report.Receipt)
		if reply, ok := replies[f.name]; ok && report.Answer != nil {
			answered++
			want := reply.wantedFor(f, report)
			if diff := cmp.Diff(want, report.view(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s, with the reply of %s (-want +got):\n%s", f.name, reply.name, diff)
			}
		}
	}
	if answered < 10 {
		t.Errorf("%d receipts were answered, want those that have a reply", answered)
	}
	checkWidth(t, results(people.transcript.String()))
}

// wantedFor is what check should say where Apple answers a receipt with the
// reply.
func (f corpusFile) wantedFor(receipt corpusFile, r checkReport) replyView {
	w := f.wanted()
	switch {
	case f.want.BundleID != receipt.want.BundleID:
		// Its authors changed the app in the reply only, so it is refused.
		return replyView{Code: w.Code, Environment: w.Environment}
	case w.Environment == "":
		// Of the style of iOS 6: where it was asked and when HTTP says it came.
		w.Environment, w.RequestDateMS = string(r.Receipt.Environment), r.Answer.AsOf.UnixMilli()
	}
	return w
}

// playBack has the simulated App Store answer receipts with the replies that
// belong to them. It returns those replies by the receipt's file.
func playBack(t *testing.T, sim *applesim.Server) map[string]corpusFile {
	t.Helper()
	replies := make(map[string]corpusFile)
	for _, f := range corpusFiles(t, "responses") {
		if f.want.LatestReceiptFile == "" {
			continue
		}
		body, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		text := readText(t, filepath.Join(os.Getenv("REVALIDATOR_CORPUS"), f.want.LatestReceiptFile))
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		sim.Replay(sha(data), applesim.Recorded{Body: body})
		replies[f.want.LatestReceiptFile] = f
	}
	return replies
}

// compareLocal compares what a receipt says of itself.
func (f corpusFile) compareLocal(t *testing.T, r receiptReport) {
	t.Helper()
	if filepath.Base(f.name) == "emindeniz99-receipt-double-wrapped-75ad2a.b64" {
		// The script does not open the second OCTET STRING around the attributes.
		f.want.BundleID, f.want.Environment, f.want.InApp = "com.example.app", "Sandbox", 2
	}
	environment := f.want.Environment
	if environment == "Xcode" {
		environment = ""
	}
	if r.BundleID != f.want.BundleID || string(r.Environment) != environment {
		t.Errorf("%s: got app %q and environment %q, want %q and %q", f.name, r.BundleID, r.Environment, f.want.BundleID, environment)
	}
	if r.InApp != f.want.InApp && r.Kind == iap.KindAppReceipt {
		t.Errorf("%s: got %d purchases, want %d", f.name, r.InApp, f.want.InApp)
	}
	got, want := make(map[string]int64), make(map[string]int64)
	for _, p := range r.Products {
		if p.ExpiresDate != nil {
			got[p.ProductID] = p.ExpiresDate.UnixMilli()
		}
	}
	for _, c := range f.want.Subscriptions {
		want[c.ProductID] = max(want[c.ProductID], c.MaxExpiresMS)
	}
	if f.want.Subscriptions == nil {
		return
	}
	// The script names the product of the last period only.
	maps.DeleteFunc(got, func(product string, _ int64) bool { _, known := want[product]; return !known })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: latest expiry by product (-want +got):\n%s", f.name, diff)
	}
}
