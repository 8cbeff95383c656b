package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/devstack"
)

// browser is a window of a headless Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func chromium(t *testing.T) string {
	t.Helper()
	if path := devstack.Chromium(); path != "" {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no Chromium is installed (Debian: chromium)")
	}
	t.Skip("no Chromium is installed (Debian: chromium)")
	return ""
}

// openBrowser opens a window, in which no script may fail.
func openBrowser(t *testing.T, program string) browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.WSURLReadTimeout(deadline), chromedp.WindowSize(1280, 1000), chromedp.Flag("disable-component-update", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // root may not have one
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		if thrown, ok := event.(*runtime.EventExceptionThrown); ok {
			t.Errorf("a script of the page failed: %+v", thrown.ExceptionDetails)
		}
	}))
	t.Cleanup(cancel)
	return browser{t, ctx}
}

// open opens a page and waits until its text matches each of the patterns. What
// is seen then is kept as a picture (go test -artifacts).
func (b browser) open(name, url string, patterns ...string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("open %s: %v", url, err)
	}
	defer b.picture(name)
	for _, pattern := range patterns {
		wanted := regexp.MustCompile(pattern)
		eventually(b.t, name+" shows "+pattern, func() bool { return wanted.MatchString(b.text()) })
	}
}

// text is what the page shows, wherever it breaks its lines.
func (b browser) text() string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		b.t.Fatalf("read the page: %v", err)
	}
	return strings.Join(strings.Fields(text), " ")
}

func (b browser) picture(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Errorf("picture of %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}

// holdApple lets Apple answer so many requests and keeps the others waiting
// until the test ends: a run that stands still in its middle.
func (s *session) holdApple(t *testing.T, sim *applesim.Server, answers int64) (release func()) {
	t.Helper()
	var asked atomic.Int64
	released := make(chan struct{})
	answer := sim.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > answers {
			<-released
		}
		answer.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.set("REVALIDATOR_APPLE_PRODUCTION_URL", server.URL+"/production/verifyReceipt")
	s.set("REVALIDATOR_APPLE_SANDBOX_URL", server.URL+"/sandbox/verifyReceipt")
	return func() { close(released) }
}

// TestBrowser looks at a run in progress as an operator does, at the root and
// behind a path.
func TestBrowser(t *testing.T) {
	t.Parallel()
	const customers, answers, inHand = 40, 12, 4
	program := chromium(t)
	s := newSession(t)
	sim := s.openShop(t, customers)
	release := s.holdApple(t, sim, answers)
	s.set("REVALIDATOR_CONCURRENCY", strconv.Itoa(inHand))
	s.set("REVALIDATOR_RETENTION", "10m")
	s.start(t, nil, "run", "--worker")
	t.Cleanup(release) // before the run is waited for
	b := openBrowser(t, program)
	for name, path := range map[string]string{"root": "/", "path": "/ops/queue/"} {
		s.set("REVALIDATOR_UI_PATH", path)
		ui := s.start(t, nil, "ui", "--addr", "127.0.0.1:0")
		url := ui.stderr.waitFor(t, `serving (http://127\.0\.0\.1:\d+`+path+`)`)[1]
		b.browse(name, url)
	}
}

// browse opens the pages about a run that stands still.
func (b browser) browse(name, url string) {
	b.t.Helper()
	const payload = `receipt \d+ of com\.example\.\w+, run 1, generation 1`
	const result = `(until|since|retry|period|active|expired|revoked|purchases: \d+)[^;]*; (next check [^;]* UTC by|no next check:) \w+`
	b.open(name+"-queues", url, `receipts run 40 `, `receipts-large run 0 `)
	b.open(name+"-pending", url+"queues/receipts?status=pending", payload)
	b.open(name+"-active", url+"queues/receipts?status=active", `Active 4 `, payload)
	b.open(name+"-completed", url+"queues/receipts?status=completed", `Completed 12 `, payload, result)
	task := regexp.MustCompile(`[0-9a-f]{12}:r:\d+:\d+`).FindString(b.text())
	b.open(name+"-task", url+"queues/receipts/tasks/"+task, task, payload, result)
	b.open(name+"-servers", url+"servers", `4/4`)
	b.open(name+"-redis", url+"redis", `Redis Info`, `redis_version`)
}
