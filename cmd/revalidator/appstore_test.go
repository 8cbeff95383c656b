package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
)

// appStart is when the simulated App Store stands still. The program goes by its
// clock.
var appStart = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

const readerApp, fitnessApp = "com.example.reader", "com.example.fitness"

// appStore starts a simulated App Store and points the session to it.
func (s *session) appStore(t *testing.T, customers int) *applesim.Server {
	t.Helper()
	sim, err := applesim.New(applesim.Config{Seed: 1, Customers: customers, Start: appStart})
	if err != nil {
		t.Fatal(err)
	}
	s.pointTo(t, sim)
	return sim
}

// pointTo has the session ask a simulated App Store.
func (s *session) pointTo(t *testing.T, sim *applesim.Server) {
	t.Helper()
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	s.set("REVALIDATOR_APPLE_PRODUCTION_URL", server.URL+"/production/verifyReceipt")
	s.set("REVALIDATOR_APPLE_SANDBOX_URL", server.URL+"/sandbox/verifyReceipt")
	s.set("REVALIDATOR_CLOCK_URL", server.URL+"/control/clock")
	s.set("REVALIDATOR_APPLE_ROOTS", rootsFile(t, sim.Root()))
	s.set("REVALIDATOR_RETRY_BASE", "1s")
}

// rootsFile is a PEM file of roots.
func rootsFile(t *testing.T, roots ...*x509.Certificate) string {
	t.Helper()
	var text []byte
	for _, root := range roots {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	return writeFile(t, "roots.pem", string(text))
}

// receiptsFile writes the receipts of every customer to a file.
func receiptsFile(t *testing.T, sim *applesim.Server) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "receipts.ndjson")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.WriteReceipts(file, ""); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// writeFile writes a file for one test, and returns its name.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// openShop makes apps with their secrets and the receipts of their customers.
func (s *session) openShop(t *testing.T, customers int) *applesim.Server {
	t.Helper()
	sim := s.appStore(t, customers)
	for _, app := range []string{readerApp, fitnessApp} {
		s.must(t, "apps", "add", app, "--rate", "500", "--burst", "10")
		secret := writeFile(t, "secret", sim.Secrets(app)[0]+"\n")
		s.must(t, "secrets", "add", "--app", app, "--file", secret)
	}
	s.must(t, "import", receiptsFile(t, sim))
	return sim
}

// importedLongAgo has the receipts be as old as what they show, as those of a
// backend that hands each in when it is bought. Of what was bought long before
// its receipt came in nothing is told.
func (s *session) importedLongAgo(t *testing.T) {
	t.Helper()
	s.exec(t, `UPDATE receipts SET created_at = '2015-01-01'`)
}
