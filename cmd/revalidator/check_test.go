package main

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/check"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/terminal"
)

// stories are customers in as many states as a subscription has.
func stories() []applesim.Story {
	// Each act plays in the middle of one month, and a payment fails at its end.
	life := func(months, days int, acts ...applesim.Act) applesim.Story {
		bought := appStart.AddDate(0, -months, -days)
		return applesim.Story{BundleID: readerApp, Bought: bought, Period: applesim.Monthly, Acts: acts}
	}
	trial, family := life(0, 2), life(0, 20, applesim.ActFamilyLoss)
	trial.Offer, family.Family = applesim.OfferTrial, true
	sandbox, old := life(0, 0), life(2, 0, applesim.ActTurnOff)
	sandbox.Environment, sandbox.Bought = applesim.Sandbox, appStart.Add(-time.Minute)
	old.Style = applesim.StyleTransaction
	return []applesim.Story{
		trial,
		life(2, 0, applesim.ActTurnOff),
		life(0, 20, applesim.ActRefund),
		life(1, 3, applesim.ActBillingLapse), // still in the grace period
		life(1, 28, applesim.ActBillingLapse),
		life(0, 20, applesim.ActDowngrade),
		life(0, 20, applesim.ActPriceAccepted),
		family,
		sandbox,
		old,
		{BundleID: readerApp, Bought: appStart.AddDate(0, -1, 0), RefundedAt: appStart.AddDate(0, 0, -3)},
		{BundleID: fitnessApp, ReceiptCreated: appStart.AddDate(0, -1, 0)},
	}
}

// storyStore is a simulated App Store with these customers.
func (s *session) storyStore(t *testing.T, stories ...applesim.Story) *applesim.Server {
	t.Helper()
	sim, err := applesim.New(applesim.Config{Seed: 1, Stories: stories, Start: appStart})
	if err != nil {
		t.Fatal(err)
	}
	s.pointTo(t, sim)
	return sim
}

// receiptFile is the receipt of a customer, in base64.
func receiptFile(t *testing.T, sim *applesim.Server, customer int) string {
	t.Helper()
	r, err := sim.Receipt(customer)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "receipt.txt", base64.StdEncoding.EncodeToString(r.Data)+"\n")
}

// TestCheck looks at one receipt of each kind, without a database.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := &session{}
	sim := s.storyStore(t, stories()...)
	for i, story := range stories() {
		secret := writeFile(t, "secret", sim.Secrets(story.BundleID)[0])
		s.must(t, "check", receiptFile(t, sim, i), "--secret-file", secret)
	}
	checkWidth(t, results(s.transcript.String()))
	checkSilence(t, s, sim.Secrets(readerApp)[0])
	golden(t, "check.txt", s.transcript.String())
}

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	s := &session{}
	sim := s.storyStore(t, stories()...)
	secret := writeFile(t, "secret", sim.Secrets(readerApp)[0])
	s.must(t, "check", receiptFile(t, sim, 2), "--secret-file", secret, "--json")
	s.run(t, "check", receiptFile(t, sim, 10), "--json")
	golden(t, "check-json.txt", s.transcript.String())
}

// TestCheckForms reads the forms in which receipts are kept, and a saved reply.
func TestCheckForms(t *testing.T) {
	t.Parallel()
	s := &session{}
	sim := s.storyStore(t, stories()...)
	secret := writeFile(t, "secret", sim.Secrets(readerApp)[0])
	for _, customer := range []int{0, 9} { // an app receipt and one of iOS 6
		r, err := sim.Receipt(customer)
		if err != nil {
			t.Fatal(err)
		}
		text := base64.StdEncoding.EncodeToString(r.Data)
		want := s.must(t, "check", "--json", "--secret-file", secret, writeFile(t, "receipt", text)).stdout
		for name, form := range map[string]string{
			"bytes": string(r.Data), "broken lines": text[:40] + "\r\n" + text[40:], "quoted": `"` + text + `"`,
			"URL alphabet":   strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "="),
			"twice":          base64.StdEncoding.EncodeToString([]byte(text)),
			"plus as spaces": strings.ReplaceAll(text, "+", " "), "a body": `{"receipt-data":"` + text + `"}`,
			"a newline after": string(r.Data) + "\n", "bytea": `\x` + hex.EncodeToString(r.Data),
		} {
			got := s.must(t, "check", "--json", "--secret-file", secret, writeFile(t, "receipt", form)).stdout
			if got != want {
				t.Errorf("customer %d, %s: got\n%s\nwant\n%s", customer, name, got, want)
			}
		}
		if got := s.runWith(t, text, "check", "--json", "--secret-file", secret, "-").stdout; got != want {
			t.Errorf("customer %d, standard input: got\n%s\nwant\n%s", customer, got, want)
		}
	}
}

const wrongAppReply = `{"status":0,"environment":"Production","receipt":{"bundle_id":"com.example.fitness",` +
	`"receipt_type":"Production","request_date_ms":"1709294400000","in_app":[]}}`

// TestCheckRefused is what check says of what is no receipt, of receipts that
// Apple refuses, and of what it does not ask about.
func TestCheckRefused(t *testing.T) {
	t.Parallel()
	s := &session{}
	sim := s.storyStore(t, stories()...)
	good := receiptFile(t, sim, 0)
	text := readText(t, good)
	secret, wrong := writeFile(t, "secret", sim.Secrets(readerApp)[0]), writeFile(t, "secret", someSecret)
	file := func(name, content string) string { return writeFile(t, name, content) }
	tests := []struct {
		name string
		code int
		args []string
	}{
		{"no file", terminal.ExitFailure, []string{"no-such-file"}},
		{"a folder", terminal.ExitFailure, []string{"."}},
		{"nothing", terminal.ExitFailure, []string{file("receipt", " \n")}},
		{"zeros", terminal.ExitFailure, []string{file("receipt", strings.Repeat("\x00", 10<<20))}},
		{"zeros in base64", terminal.ExitFailure, []string{file("receipt", strings.Repeat("AAAA", 2<<20))}},
		{"a signed transaction", terminal.ExitFailure, []string{file("receipt", "eyJhbGciOiJFUzI1NiJ9.eyJ0cmFuc2FjdGlvbklkIjoiMSJ9.c2ln")}},
		{"other JSON", terminal.ExitFailure, []string{file("receipt", `{"hello":"world"}`)}},
		{"cut off", terminal.ExitFailure, []string{file("receipt", text[:len(text)/2/4*4])}},
		{"a receipt as a reply", terminal.ExitFailure, []string{good, "--reply"}},
		{"a reply without a status", terminal.ExitFailure, []string{file("reply", `{"receipt":{}}`), "--reply"}},
		{"no secret", terminal.ExitFailures, []string{good}},
		{"wrong secret", terminal.ExitFailures, []string{good, "--secret-file", wrong}},
		{"another app", terminal.ExitFailures, []string{good, "--app", fitnessApp, "--secret-file", secret}},
		{"a reply that is not announced", terminal.ExitOK, []string{file("reply", wrongAppReply)}},
		{"a reply of another app", terminal.ExitFailures, []string{file("reply", wrongAppReply), "--reply", "--app", readerApp}},
		{"a refusal that was saved", terminal.ExitFailures, []string{file("reply", `{"status":21104,"is_retryable":false}`), "--reply"}},
		{"both from standard input", terminal.ExitUsage, []string{"-", "--secret-file", "-"}},
		{"no such environment", terminal.ExitUsage, []string{good, "--environment", "prod"}},
		{"nothing to check", terminal.ExitUsage, nil},
		{"a stored one and a file", terminal.ExitUsage, []string{"--receipt", "1", good}},
		{"a stored reply", terminal.ExitUsage, []string{"--receipt", "1", "--reply"}},
	}
	for _, test := range tests {
		s.transcript.WriteString("# " + test.name + "\n")
		if o := s.run(t, append([]string{"check"}, test.args...)...); o.code != test.code {
			t.Errorf("%s: got exit code %d, want %d\n%s", test.name, o.code, test.code, o.stderr)
		}
	}
	checkSilence(t, s, someSecret, sim.Secrets(readerApp)[0], text[100:140])
	golden(t, "check-refused.txt", s.transcript.String())
}

// TestCheckTells is what check says of receipts and replies that say little, or
// contradict themselves.
func TestCheckTells(t *testing.T) {
	t.Parallel()
	list := func(pairs string) string { return "{\n" + pairs + "}" }
	only := list(`"purchase-info" = "` + base64.StdEncoding.EncodeToString([]byte(list(`"transaction-id" = "11";`))) + `";`)
	contradiction := strings.Replace(wrongAppReply, `"receipt_type":"Production"`, `"receipt_type":"ProductionSandbox"`, 1)
	undated := strings.Replace(wrongAppReply, `"in_app":[]`, `"in_app":[{"transaction_id":"1","product_id":"a","expires_date":"2024-06-28 14:47:53 Etc/GMT"}]`, 1)
	tests := map[string]struct {
		args []string
		want []string
		not  string
	}{
		"a transaction id alone": {
			[]string{writeFile(t, "receipt", only)},
			[]string{"without a product, transaction 11", "Production (assumed: the receipt names none)"}, "Warning",
		},
		"a named environment": {
			[]string{writeFile(t, "receipt", strings.Replace(only, "{", `{"environment" = "Sandbox";`, 1))},
			[]string{"Environment    Sandbox\n"}, "assumed",
		},
		"another receipt_type": {[]string{"--reply", writeFile(t, "reply", contradiction)}, []string{"Warning", "receipt_type"}, "Failure class"},
		"the same":             {[]string{"--reply", writeFile(t, "reply", wrongAppReply)}, []string{"0 accepted"}, "Warning"},
		"an undated period":    {[]string{"--reply", writeFile(t, "reply", undated)}, []string{"Undated", "subscription 1"}, "Purchase "},
		"expired and active": {
			[]string{"--reply", writeFile(t, "reply", strings.Replace(strings.Replace(undated, `"status":0`, `"status":21006`, 1), `"2024-06-28 14:47:53 Etc/GMT"`, `"1809294400000"`, 1))},
			[]string{"But", "expired by its status", "reply_malformed"}, "Subscription ",
		},
		"no app": {
			[]string{"--reply", writeFile(t, "reply", strings.Replace(wrongAppReply, "bundle_id", "x", 1))},
			[]string{"But", "no bundle id", "reply_malformed"}, "Purchases",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &session{}
			o := s.run(t, append([]string{"check"}, test.args...)...)
			for _, want := range test.want {
				if !strings.Contains(o.stdout, want) {
					t.Errorf("no %q in\n%s%s", want, o.stdout, o.stderr)
				}
			}
			if strings.Contains(o.stdout, test.not) {
				t.Errorf("%q in\n%s", test.not, o.stdout)
			}
		})
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	var out bytes.Buffer
	p := &program{}
	input, _, err := p.OpenInput(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = input.Close() }()
	if _, err := out.ReadFrom(input); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// TestCheckTrouble has Apple in trouble: nothing is known then.
func TestCheckTrouble(t *testing.T) {
	t.Parallel()
	s := &session{}
	sim := s.storyStore(t, stories()...)
	secret := writeFile(t, "secret", sim.Secrets(readerApp)[0])
	tests := []struct {
		name string
		rule applesim.Rule
		code int
	}{
		{"server error", applesim.Rule{Fault: applesim.FaultHTTP, Rate: 1, Status: 503}, terminal.ExitFailure},
		{"unavailable", applesim.Rule{Fault: applesim.FaultCode, Rate: 1, Status: 21005}, terminal.ExitFailures},
	}
	for _, test := range tests {
		if err := sim.SetFaults([]applesim.Rule{test.rule}); err != nil {
			t.Fatal(err)
		}
		s.transcript.WriteString("# " + test.name + "\n")
		if o := s.run(t, "check", receiptFile(t, sim, 0), "--secret-file", secret); o.code != test.code {
			t.Errorf("%s: got exit code %d, want %d\n%s", test.name, o.code, test.code, o.stderr)
		}
	}
	golden(t, "check-trouble.txt", s.transcript.String())
}

// TestCheckTooLarge does not send what Apple would not take.
func TestCheckTooLarge(t *testing.T) {
	t.Parallel()
	s := &session{}
	sim := s.storyStore(t, stories()...)
	s.set("REVALIDATOR_MAX_REQUEST_BYTES", "2000")
	s.set("REVALIDATOR_LARGE_RECEIPT_BYTES", "1000")
	o := s.run(t, "check", receiptFile(t, sim, 0), "--secret-file", writeFile(t, "secret", someSecret))
	if o.code != terminal.ExitFailures || !strings.Contains(o.stdout, "too large for verifyReceipt") ||
		!strings.Contains(o.stderr, "REVALIDATOR_MAX_REQUEST_BYTES") {
		t.Errorf("got exit code %d and\n%s%s", o.code, o.stdout, o.stderr)
	}
	for range sim.Log(0) {
		t.Error("it was sent")
	}
}

// TestCheckStored checks a receipt of the database with the secret that is
// there, and leaves everything in it as it was.
func TestCheckStored(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openShop(t, 3)
	db := s.db(t)
	if _, err := db.PauseApp(t.Context(), readerApp, apps.PausedSecretRefused, appStart); err != nil {
		t.Fatal(err)
	}
	before := s.contents(t)
	s.transcript.Reset()
	var report check.Report
	o := s.must(t, "check", "--receipt", "1", "--json")
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Answer == nil || !report.Answer.Accepted || *report.Receipt.ID != 1 {
		t.Errorf("got %+v, want an answer about receipt 1", report)
	}
	if got := s.contents(t); got != before {
		t.Errorf("the database has changed:\n%s\nbefore:\n%s", got, before)
	}
	if o := s.run(t, "check", "--receipt", "99"); o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "no receipt 99") {
		t.Errorf("receipt 99: got exit code %d and %q", o.code, o.stderr)
	}
	checkSilence(t, s, sim.Secrets(readerApp)[0], sim.Secrets(fitnessApp)[0])
}

// TestCheckKeepsTheRate books its call in the budget of the workers, who have
// used it up.
func TestCheckKeepsTheRate(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.storyStore(t, stories()[0])
	s.must(t, "apps", "add", readerApp, "--rate", "0.001")
	s.must(t, "secrets", "add", "--app", readerApp, "--file", writeFile(t, "secret", sim.Secrets(readerApp)[0]))
	s.must(t, "import", receiptsFile(t, sim))
	s.must(t, "run", "--worker")
	o := s.run(t, "check", "--receipt", "1")
	if o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "use the whole rate of "+readerApp) {
		t.Errorf("got exit code %d and %q, want %d and that the rate is used up", o.code, o.stderr, terminal.ExitFailure)
	}
	calls := 0
	for range sim.Log(0) {
		calls++
	}
	if calls != 1 {
		t.Errorf("Apple was asked %d times, want once, by the run", calls)
	}
}

// TestCheckPrompt asks for the secret on a terminal. A person may have none.
func TestCheckPrompt(t *testing.T) {
	t.Parallel()
	s := &session{}
	sim := s.storyStore(t, stories()[0])
	file := receiptFile(t, sim, 0)
	tests := []struct {
		name, typed, want string
		code              int
	}{
		{"secret", sim.Secrets(readerApp)[0], "0 accepted", terminal.ExitOK},
		{"nothing", "", "App            " + readerApp, terminal.ExitFailures},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			term := newTerminal(t)
			var stdout bytes.Buffer
			ended := make(chan int, 1)
			go func() {
				ended <- run(t.Context(), []string{"check", file}, term.program, &stdout, term.program, s.env)
			}()
			term.screen.waitFor(t, `Shared secret of com\.example\.reader \(Enter: go without\): `)
			eventually(t, "the terminal hides what is typed", func() bool { return !term.echoes(t) })
			if _, err := term.person.WriteString(test.typed + "\n"); err != nil {
				t.Fatal(err)
			}
			if code := <-ended; code != test.code || !strings.Contains(stdout.String(), test.want) {
				t.Errorf("got exit code %d, want %d and %q in\n%s", code, test.code, test.want, stdout.String())
			}
		})
	}
}

// TestCheckWithOneReadableSecret asks with the secret that opens, also where
// another does not.
func TestCheckWithOneReadableSecret(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must(t, "apps", "add", readerApp)
	sim := s.openReader(t)
	s.addSecret(t, someSecret, "--primary")
	s.tamper(t, `UPDATE shared_secrets SET ciphertext = 'nonsense' WHERE bundle_id IS NULL`)
	file := receiptFile(t, sim, 0)
	if o := s.run(t, "check", file); o.code != terminal.ExitOK || !strings.Contains(o.stdout, "0 accepted") {
		t.Errorf("got exit code %d and\n%s%s", o.code, o.stdout, o.stderr)
	}
	s.tamper(t, `UPDATE shared_secrets SET ciphertext = 'nonsense'`)
	if o := s.run(t, "check", file); o.code != terminal.ExitFailure || !strings.Contains(o.stderr, "open shared secret") {
		t.Errorf("none opens: got exit code %d and %q", o.code, o.stderr)
	}
}

// TestCheckUnreadable is what is no receipt.
func TestCheckUnreadable(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("QUJD", 10<<20/4)
	tests := map[string]struct{ content, want string }{
		"empty":          {"", "empty receipt"},
		"blank":          {" \n", "empty receipt"},
		"wrong base64":   {"MIIT!!!", "not base64: byte 4"},
		"a sentence":     {"this is no receipt.", "not base64"},
		"10 MB of text":  {large, "not an App Store receipt"},
		"10 MB of bytes": {strings.Repeat("\x00\xff", 5<<20), "not an App Store receipt"},
		"a keys file":    {newKeys(t), "encryption keys"},
		"lines":          {"{\"receipt\":\"x\"}\n{\"receipt\":\"y\"}\n", "revalidator import"},
		"pretty-printed": {"[\n  {\"receipt\": \"x\"},\n  {\"receipt\": \"y\"}\n]\n", "array of 2"},
		"cut off":        {"MIITrgYJKoZIhvcNAQcCoIITnzCCE5sCAQEx", "cut off"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &session{}
			o := s.run(t, "check", writeFile(t, "receipt", test.content))
			if o.code != terminal.ExitFailure || o.stdout != "" || !strings.Contains(o.stderr, test.want) || len(o.stderr) > 300 {
				t.Errorf("got exit code %d, %q and %.300q, want %d and %q", o.code, o.stdout, o.stderr, terminal.ExitFailure, test.want)
			}
		})
	}
}

// sha is the hash under which a reply is played back.
func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// contents is a hash of every row of every table, which a command that only
// looks must leave as it is.
func (s *session) contents(t *testing.T) string {
	t.Helper()
	db, err := sql.Open("postgres", s.get("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var text string
	err = db.QueryRowContext(t.Context(), `
		SELECT string_agg(format('%s %s', tablename, md5(query_to_xml(
			format('SELECT * FROM %I t ORDER BY t::text', tablename), true, false, '')::text)), E'\n' ORDER BY tablename)
		FROM pg_tables WHERE schemaname = 'public'`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
