package main

import (
	"strings"
	"testing"
	"time"

	"revalidator/internal/apps"
)

// TestMetricsOfAnInstallation has the real stores, and every process that shows
// metrics.
func TestMetricsOfAnInstallation(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openShop(t, 6)
	if _, err := s.db(t).PauseApp(t.Context(), fitnessApp, apps.PausedSecretRefused, time.Now()); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	s.set("REVALIDATOR_METRICS_ADDR", addr)
	s.set("REVALIDATOR_CATCH_UP", "0") // the scheduler claims nothing
	s.start(t, nil, "scheduler").stderr.waitFor(t, "scheduler started")
	ui := s.start(t, nil, "ui", "--addr", "127.0.0.1:0")
	url := ui.stderr.waitFor(t, `serving (http://127\.0\.0\.1:\d+/)`)[1]
	for _, page := range []string{"http://" + addr + "/metrics", url + "metrics"} {
		var text string
		eventually(t, page+" answers", func() bool {
			code, body := get(t, page)
			text = body
			return code == 200
		})
		for _, want := range []string{
			"revalidator_due_receipts 3", "revalidator_paused_apps 1", "revalidator_claimed_receipts 0",
			`revalidator_store_up{store="postgres"} 1`, `revalidator_store_up{store="redis"} 1`,
			`revalidator_queue_tasks{queue="receipts-large",state="pending"} 0`,
		} {
			if !strings.Contains(text, "\n"+want+"\n") {
				t.Errorf("%s: %s is missing in\n%.3000s", page, want, text)
			}
		}
	}
}
