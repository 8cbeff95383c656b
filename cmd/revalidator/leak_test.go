package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"revalidator/internal/dev/applesim"
)

// TestNothingSecretIsShown has every command that knows a secret or a receipt
// say all that it can, in health and failing, and looks for either in what was
// printed, logged and served. What nights leave in the stores is looked through
// by internal/dev/e2e.
func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	const uiPassword = "correct horse battery staple"
	s := newSession(t)
	s.set("REVALIDATOR_LOG_LEVEL", "debug")
	s.set("REVALIDATOR_RETRY_LIMIT", "1")
	s.set("REVALIDATOR_RETENTION", "10m")
	sim := s.openShop(t, 6)
	markers := s.markers(t, sim, someSecret, otherSecret, uiPassword)
	receipt := receiptFile(t, sim, 0)

	s.talk(t, receipt)
	if err := sim.SetFaults([]applesim.Rule{{Fault: applesim.FaultHTML, Rate: 1}}); err != nil {
		t.Fatal(err)
	}
	s.talk(t, receipt)
	if err := sim.SetFaults(nil); err != nil {
		t.Fatal(err)
	}
	sim.SetSecrets(readerApp, []string{otherSecret})
	s.talk(t, receipt)
	s.addSecret(t, otherSecret, "--app", readerApp)
	s.addSecret(t, otherSecret, "--app", readerApp) // is there already
	s.talk(t, receipt)
	s.run(t, "check", receipt, "--secret-file", writeFile(t, "secret", someSecret))
	s.run(t, "check", receipt, "--app", fitnessApp)
	s.run(t, "check", "--reply", receipt)
	s.run(t, "import", writeFile(t, "other.ndjson", `{"bundle_id":"com.example.unknown","customer_ref":"1","receipt":"`+readText(t, receipt)+`"}`))
	s.run(t, "keys", "rotate")
	s.set("REVALIDATOR_KEYS", newKeys(t))
	s.talk(t, receipt)

	places := map[string]string{"what was printed": s.transcript.String(), "the pages": s.served(t, uiPassword)}
	for place, want := range map[string]string{"what was printed": "level=DEBUG", "the pages": "com.example.reader"} {
		if !strings.Contains(places[place], want) {
			t.Errorf("%s: no %q there: the search proves nothing", place, want)
		}
	}
	for place, text := range places {
		for name, marker := range markers {
			if strings.Contains(text, marker) {
				t.Errorf("%s: there is %s", place, name)
			}
		}
	}
}

// talk runs the commands that know secrets or receipts.
func (s *session) talk(t *testing.T, receipt string) {
	t.Helper()
	for _, line := range []string{
		"backfill --all --worker", "run --worker", "check " + receipt, "check --receipt 1 --json", "explain 1", "explain 1 --json",
		"receipts list", "receipts show 1", "secrets list", "secrets list --json", "secrets verify", "status", "status --json", "doctor", "apps list",
	} {
		s.run(t, strings.Fields(line)...)
	}
}

// markers are pieces of all that must not be shown, as they are and in the forms
// in which bytes are written as text.
func (s *session) markers(t *testing.T, sim *applesim.Server, secrets ...string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	add := func(name string, data []byte) {
		found[name] = string(data)
		found[name+" in base64"] = base64.StdEncoding.EncodeToString(data)
		found[name+" in hex"] = hex.EncodeToString(data)
	}
	secrets = append(secrets, sim.Secrets(readerApp)...)
	secrets = append(secrets, sim.Secrets(fitnessApp)...)
	for _, text := range secrets {
		add("the secret "+text, []byte(text))
	}
	for r, err := range sim.Receipts() {
		if err != nil {
			t.Fatal(err)
		}
		// From a multiple of three on, so that it is whole in the base64 of all.
		add("a receipt of "+r.CustomerRef, r.Data[len(r.Data)/2/3*3:][:24])
	}
	var keys struct {
		Encryption struct {
			Key []struct {
				KeyData struct{ Value string }
			}
		}
		FingerprintKey string `json:"fingerprint_key"`
	}
	if err := json.Unmarshal([]byte(s.get("REVALIDATOR_KEYS")), &keys); err != nil {
		t.Fatal(err)
	}
	found["a key"], found["the key of fingerprints"] = keys.Encryption.Key[0].KeyData.Value, keys.FingerprintKey
	for name, marker := range found {
		if len(marker) < 20 {
			t.Fatalf("%s: %q is too short to be looked for", name, marker)
		}
	}
	return found
}

// served is what the web pages show to whoever has the password, and the pages
// on which a Go program would show its memory.
func (s *session) served(t *testing.T, password string) string {
	t.Helper()
	s.set("REVALIDATOR_UI_USER", "ops")
	s.set("REVALIDATOR_UI_PASSWORD_FILE", writeFile(t, "password", password))
	ui := s.start(t, nil, "ui", "--addr", "127.0.0.1:0")
	url := ui.stderr.waitFor(t, `serving (http://127\.0\.0\.1:\d+/)`)[1]
	url = strings.Replace(url, "http://", "http://ops:"+strings.ReplaceAll(password, " ", "%20")+"@", 1)
	var text strings.Builder
	for _, path := range []string{
		"", "metrics", "healthz", "readyz", "api/queues", "api/redis_info", "api/servers",
		"api/queues/receipts/completed_tasks", "api/queues/receipts/retry_tasks", "api/queues/receipts/archived_tasks",
		"debug/pprof/", "debug/pprof/cmdline", "debug/pprof/heap?debug=1", "debug/pprof/goroutine?debug=2", "debug/vars",
	} {
		_, body := get(t, url+path)
		text.WriteString(body)
		if strings.HasPrefix(path, "debug/") && strings.Contains(body, os.Args[0]) {
			t.Errorf("/%s shows what the process is", path)
		}
	}
	return text.String() + ui.stderr.text()
}
