package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/iap"
	"revalidator/internal/terminal"
	"revalidator/repository"
)

// openTold has customers whose changes were told, in the order of their ids.
func (s *session) openTold(t *testing.T) *applesim.Server {
	t.Helper()
	sim := s.openStories(t)
	s.importedLongAgo(t)
	s.must(t, "run", "--worker", "--quiet")
	s.transcript.Reset()
	return sim
}

// unordered hides which receipt of a run came first.
func unordered(transcript string) string {
	text := regexp.MustCompile(`(?m)^\d+ +(\S+ \S+ )`).ReplaceAllString(transcript, "<id>    $1")
	return regexp.MustCompile(`(?m)(^<id>.*\n)+`).ReplaceAllStringFunc(text, func(rows string) string {
		return strings.Join(slices.Sorted(strings.Lines(rows)), "")
	})
}

func TestEventsTail(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.run(t, "events", "tail", "--type", "gone")
	s.run(t, "events", "tail", "--after", "1", "--since", "1h")
	s.run(t, "events", "tail", "--since", "yesterday")
	s.run(t, "events", "tail", "--after", "1", "--last", "3")
	s.run(t, "events", "tail", "--after", "-1")
	s.run(t, "events", "tail") // there are none
	refused := s.transcript.String()
	s.openTold(t)
	s.must(t, "events", "tail", "--app", readerApp, "--type", "refunded,expired")
	s.must(t, "events", "tail", "--type", "family_access_lost", "--since", "1h")
	s.must(t, "events", "tail", "--type", "family_access_lost", "--since", "2100-01-01")
	s.must(t, "events", "tail", "--customer", "customer-0000002")
	s.must(t, "events", "tail", "--customer", "customer-0000002", "--run", "1", "--type", "refunded")
	checkWidth(t, results(s.transcript.String()))
	s.must(t, "events", "tail", "--customer", "customer-0000002", "--wide")
	for _, flags := range [][]string{{"--app", "nope"}, {"--customer", "customer-000002"}, {"--run", "99"}, {"--run", "0"}, {"--product", "nope"}} {
		if o := s.run(t, append([]string{"events", "tail"}, flags...)...); o.code != terminal.ExitUsage || o.stdout != "" {
			t.Errorf("%q: got exit code %d and %q", flags, o.code, o.stdout)
		}
	}
	shown := s.transcript.String()
	var e repository.EventDetails
	if err := json.Unmarshal([]byte(s.must(t, "events", "tail", "--json", "-n", "1").stdout), &e); err != nil {
		t.Fatal(err)
	}
	for flag, value := range map[string]string{"--run": "1", "--product": e.ProductID} {
		for _, line := range strings.Split(strings.TrimSpace(s.must(t, "events", "tail", "--json", flag, value).stdout), "\n") {
			var got repository.EventDetails
			if err := json.Unmarshal([]byte(line), &got); err != nil || got.CustomerRef == nil || flag == "--product" && got.ProductID != value || flag == "--run" && *got.RunID != 1 {
				t.Errorf("%s %s: got %s", flag, value, line)
			}
		}
	}
	golden(t, "events.txt", refused+unordered(shown))
}

// TestEventsTailPages goes through all events, a page at a time by hand and all
// at once by the command.
func TestEventsTailPages(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.openTold(t)
	all := strings.Split(strings.TrimSpace(s.must(t, "events", "tail", "--after", "0", "--json").stdout), "\n")
	if len(all) < len(stories()) {
		t.Fatalf("got %d events, want at least one for each of %d customers", len(all), len(stories()))
	}
	last := int64(0)
	for _, line := range all {
		var e repository.EventDetails
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		var after iap.Subscription
		if err := json.Unmarshal(e.After, &after); err != nil || after.BundleID != e.BundleID || e.ID <= last {
			t.Errorf("event %d after %d: %v, %s", e.ID, last, err, line)
		}
		last = e.ID
	}
	middle := len(all) / 2
	rest := s.must(t, "events", "tail", "--json", "-n", fmt.Sprint(len(all)-middle)).stdout
	if rest != strings.Join(all[middle:], "\n")+"\n" {
		t.Errorf("the last %d: got\n%s", len(all)-middle, rest)
	}
	if o := s.must(t, "events", "tail", "--after", fmt.Sprint(last)); o.stdout != "" {
		t.Errorf("after the last: got %q, want nothing", o.stdout)
	}
}

// TestEventsTailFollow hears of the events of a run as they come, and ends well.
func TestEventsTailFollow(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	sim := s.openTold(t)
	told := strings.Count(s.must(t, "events", "tail", "--after", "0", "--json").stdout, "\n")
	tail := s.startTail(t, "events", "tail", "--follow", "--json", "--after", "0")
	tail.stdout.waitFor(t, fmt.Sprintf(`(?s)(.*\n){%d}`, told))
	sim.Clock().Advance(31 * 24 * time.Hour)
	s.must(t, "run", "--worker", "--quiet")
	all := s.must(t, "events", "tail", "--after", "0", "--json").stdout
	if strings.Count(all, "\n") == told {
		t.Fatal("the run changed nothing")
	}
	eventually(t, "every event is printed", func() bool { return tail.stdout.text() == all })
	if code := tail.stop(t); code != terminal.ExitOK {
		t.Errorf("exit code after Ctrl-C: got %d, want %d\n%s", code, terminal.ExitOK, tail.stderr.text())
	}
}

// tailing is a tail with what it prints.
type tailing struct {
	*process
	stdout *output
}

func (s *session) startTail(t *testing.T, args ...string) tailing {
	t.Helper()
	stdout := newOutput()
	return tailing{s.startWith(t, nil, stdout, args...), stdout}
}
