package repository_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/dev/devstack/pgtest"
	"revalidator/internal/dev/repositorytest"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/internal/secret"
	"revalidator/repository"
)

// in opens a database with one app.
func in(t *testing.T, url secret.Value) fixture {
	t.Helper()
	db, err := repository.Open(repository.Config{URL: url, ApplicationName: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	f := fixture{db, t}
	f.addApp(app, 1000)
	return f
}

// TestMigrateWantsUTF8 says what to do, and leaves the database alone.
func TestMigrateWantsUTF8(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		db, err := repository.Open(repository.Config{URL: secret.New(pgtest.Encoded(t, encoding))})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		_, err = db.Migrate(t.Context())
		if err == nil || !strings.Contains(err.Error(), encoding) || !strings.Contains(err.Error(), "createdb --template=template0 --encoding=UTF8") {
			t.Errorf("%s: got %v, want what to do", encoding, err)
		}
		if current, _, err := db.SchemaVersion(t.Context()); err != nil || current != 0 {
			t.Errorf("%s: the schema is at version %d, error %v", encoding, current, err)
		}
	}
}

// TestClientEncodingIsTheDrivers whatever the role or the URL says of it: texts
// arrive as they were sent.
func TestClientEncodingIsTheDrivers(t *testing.T) {
	t.Parallel()
	url := repositorytest.URL(t).Reveal()
	f := in(t, secret.New(url+"&options=-c%20client_encoding%3DLATIN1"))
	_, err := f.AddReceipts(t.Context(), []iap.Receipt{{BundleID: app, CustomerRef: "顧客😀", Kind: iap.KindAppReceipt, Data: []byte("a receipt")}}, noon)
	f.must(err)
	stored, err := f.StoredReceipt(t.Context(), 1)
	f.must(err)
	if stored.CustomerRef != "顧客😀" {
		t.Errorf("got customer %q", stored.CustomerRef)
	}
}

// TestWhatPostgresWillNeverAccept is refused for good, and the same without it
// is stored: values that no reply can have any more, and texts in a database that
// does not have their characters.
func TestWhatPostgresWillNeverAccept(t *testing.T) {
	t.Parallel()
	utf8, latin1 := in(t, repositorytest.URL(t)), in(t, repositorytest.Latin1URL(t))
	for name, test := range map[string]struct {
		fixture
		spoil func(*claim.Outcome)
	}{
		"a status of 2147483648":       {utf8, func(o *claim.Outcome) { *o.Code = 1 << 31 }},
		"a next check in 10000":        {utf8, func(o *claim.Outcome) { o.Conclusion, o.NextCheck.At = nil, noon.AddDate(8000, 0, 0) }},
		"a transaction of 3,000 bytes": {utf8, func(o *claim.Outcome) { o.Conclusion.Subscriptions[0].OriginalTransactionID = random(3000) }},
		"an expiry in 10000":           {utf8, func(o *claim.Outcome) { o.Conclusion.Subscriptions[0].ExpiresDate = noon.AddDate(8000, 0, 0) }},
		"a zero character":             {utf8, func(o *claim.Outcome) { o.Conclusion.Subscriptions[0].OfferID = "a\x00b" }},
		"Japanese in LATIN1":           {latin1, func(o *claim.Outcome) { o.Conclusion.Subscriptions[0].OfferID = "春の割引" }},
	} {
		bad := test.oneMore(name)
		test.spoil(&bad)
		if _, err := test.SaveOutcomes(t.Context(), []claim.Outcome{bad}); !errors.Is(err, database.ErrRefused) || errors.Is(err, database.ErrUnavailable) {
			t.Errorf("%s: got %v, want %v", name, err, database.ErrRefused)
		}
		bad.Conclusion, bad.Code, bad.NextCheck = nil, nil, iap.Check{At: noon, Rule: iap.RuleRetry}
		if saved := test.save(bad); !saved[0] {
			t.Errorf("%s: not stored without it", name)
		}
	}
}

// oneMore is the outcome of one more receipt, in a run of its own.
func (f fixture) oneMore(name string) claim.Outcome {
	f.t.Helper()
	_, err := f.AddReceipts(f.t.Context(), []iap.Receipt{{BundleID: app, CustomerRef: name, Kind: iap.KindAppReceipt, Data: []byte(name)}}, noon)
	f.must(err)
	run, err := f.OpenRun(f.t.Context(), runs.Run{Kind: runs.Manual, ScheduledFor: time.Now(), Cutoff: noon, Deadline: noon.Add(time.Hour)},
		runs.Lease{Owner: "test", Until: noon.Add(time.Minute)}, noon)
	f.must(err)
	return success(f.claim(run, 1)[0], run, noon)
}

// random is a text that does not compress, which would fit into an index.
func random(n int) string {
	var b strings.Builder
	for state := uint32(1); b.Len() < n; {
		state = state*1664525 + 1013904223
		b.WriteByte('a' + byte(state>>24)%26)
	}
	return b.String()
}
