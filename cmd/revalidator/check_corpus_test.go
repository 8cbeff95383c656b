package main

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/check"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/corpustest"
	"revalidator/internal/iap"
	"revalidator/internal/terminal"
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
	corpustest.Entry
	want expectation
}

func corpusFiles(t *testing.T, kinds ...corpustest.Kind) []corpusFile {
	t.Helper()
	var files []corpusFile
	for _, e := range corpustest.Entries(t, kinds...) {
		f := corpusFile{Entry: e}
		e.Expect(t, &f.want)
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
	w := replyView{Environment: f.want.Environment}
	if f.want.Status == nil {
		return w
	}
	w.Code = *f.want.Status
	if w.Code != 0 && w.Code != 21006 || f.want.BundleID == "" {
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
func viewOf(r check.Report) replyView {
	a := r.Answer
	v := replyView{Environment: string(a.Environment), BundleID: a.BundleID, Purchases: len(a.Purchases)}
	if a.Code != nil {
		v.Code = *a.Code
	}
	if a.AsOf != nil {
		v.RequestDateMS = a.AsOf.UnixMilli()
	}
	if a.Accepted {
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

// compareReply compares what check says of a reply with what it should say.
func (f corpusFile) compareReply(t *testing.T, want, got replyView) {
	t.Helper()
	if len(corpustest.TextDates(f.Data)) > 0 {
		// The script reads the text of the date; here the subscription is undated.
		want.Active, want.Subscriptions, want.Purchases = nil, nil, 0
		got.Active, got.Subscriptions, got.Purchases = nil, nil, 0
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), corpustest.InAnyOrder()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", f.File, diff)
	}
}

// TestCheckCorpusReplies reads every published reply.
func TestCheckCorpusReplies(t *testing.T) {
	t.Parallel()
	s, people := &session{}, &session{}
	for _, f := range corpusFiles(t, corpustest.KindResponse) {
		people.run(t, "check", "--reply", f.Path)
		f.compareReply(t, f.wanted(), viewOf(s.checked(t, "--reply", f.Path)))
	}
	checkWidth(t, results(people.transcript.String()))
}

// checked is the report of a check.
func (s *session) checked(t *testing.T, args ...string) check.Report {
	t.Helper()
	o := s.run(t, append([]string{"check", "--json"}, args...)...)
	var report check.Report
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		t.Fatalf("%q: exit code %d, %v\n%s%s", args, o.code, err, o.stdout, o.stderr)
	}
	return report
}

// TestCheckCorpusReceipts reads every published receipt, and asks about those
// to which Apple's reply was published too.
func TestCheckCorpusReceipts(t *testing.T) {
	t.Parallel()
	files := corpusFiles(t, corpustest.KindReceipt, corpustest.KindResponse)
	s := &session{}
	sim := s.storyStore(t)
	people := &session{env: s.env}
	replies := playBack(t, sim, files)
	secret := writeFile(t, "secret", someSecret)
	for _, f := range files {
		if f.Kind != corpustest.KindReceipt {
			continue
		}
		o := people.run(t, "check", f.Path, "--secret-file", secret, "--app", f.want.BundleID)
		if f.want.Malformed {
			if o.code != terminal.ExitFailure || o.stdout != "" {
				t.Errorf("%s: got exit code %d, want %d for a broken receipt", f.File, o.code, terminal.ExitFailure)
			}
			continue
		}
		report := s.checked(t, f.Path, "--secret-file", secret, "--app", f.want.BundleID)
		f.compareLocal(t, *report.Receipt)
		reply, ok := replies[f.File]
		switch {
		case ok && report.Answer == nil:
			t.Errorf("%s: not asked (%s), want the reply of %s", f.File, *report.NotAsked, reply.File)
		case ok:
			reply.compareReply(t, reply.wantedFor(f, report), viewOf(report))
		}
	}
	checkWidth(t, results(people.transcript.String()))
}

// wantedFor is what check should say where Apple answers a receipt with the
// reply.
func (f corpusFile) wantedFor(receipt corpusFile, r check.Report) replyView {
	w := f.wanted()
	switch {
	case f.want.BundleID != receipt.want.BundleID:
		// Its authors changed the app in the reply only, so it is refused.
		return replyView{Code: w.Code, Environment: w.Environment}
	case w.Environment == "":
		// Of the style of iOS 6: where it was asked and when HTTP says it came.
		w.Environment = string(r.Receipt.Environment)
		if r.Answer.AsOf != nil {
			w.RequestDateMS = r.Answer.AsOf.UnixMilli()
		}
	}
	return w
}

// playBack has the simulated App Store answer receipts with the replies that
// belong to them. It returns those replies by the receipt's file.
func playBack(t *testing.T, sim *applesim.Server, files []corpusFile) map[string]corpusFile {
	t.Helper()
	receipts, replies := make(map[string]corpusFile), make(map[string]corpusFile)
	for _, f := range files {
		receipts[f.File] = f
	}
	for _, f := range files {
		receipt, ok := receipts[f.want.LatestReceiptFile]
		if !ok || receipt.want.Malformed {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(receipt.Data)))
		if err != nil {
			t.Fatalf("%s: %v", receipt.File, err)
		}
		sim.Replay(sha(data), applesim.Recorded{Body: f.Data})
		replies[receipt.File] = f
	}
	return replies
}

// compareLocal compares what a receipt says of itself.
func (f corpusFile) compareLocal(t *testing.T, r check.Receipt) {
	t.Helper()
	environment := f.want.Environment
	if environment == "Xcode" {
		environment = ""
	}
	if r.BundleID != f.want.BundleID || string(r.Environment) != environment {
		t.Errorf("%s: got app %q and environment %q, want %q and %q", f.File, r.BundleID, r.Environment, f.want.BundleID, environment)
	}
	if r.InApp != f.want.InApp && r.Kind == iap.KindAppReceipt {
		t.Errorf("%s: got %d purchases, want %d", f.File, r.InApp, f.want.InApp)
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
		t.Errorf("%s: latest expiry by product (-want +got):\n%s", f.File, diff)
	}
}
