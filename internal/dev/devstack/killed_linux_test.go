package devstack

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// holdVariable makes this test program the one that is killed.
const holdVariable = "DEVSTACK_TEST_HOLD"

// TestHold is no test of its own: TestKilled runs it in another process, where
// it starts the servers, prints where they are, and waits to be killed.
func TestHold(t *testing.T) {
	if os.Getenv(holdVariable) == "" {
		t.Skip("only TestKilled runs this")
	}
	postgres, err := StartPostgres(t.Context(), Config{})
	needs(t, err)
	redis, err := StartRedis(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\n%s\n%s\n%s\n", postgres.URL, redis.URL, postgres.folder.path)
	<-make(chan struct{})
}

func TestKilled(t *testing.T) {
	t.Parallel()
	_, err := installedPostgres()
	needs(t, err)
	_, err = findRedis(Config{})
	needs(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHold$")
	cmd.Env = append(os.Environ(), holdVariable+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scanner := bufio.NewScanner(stdout); len(lines) < 3 && scanner.Scan(); {
		if line := scanner.Text(); strings.Contains(line, "/") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 3 {
		t.Fatalf("the program ended before its servers ran: %v", cmd.Wait())
	}
	t.Cleanup(func() { os.RemoveAll(lines[2]) })
	for _, address := range lines[:2] {
		if !listens(t, address) {
			t.Errorf("before the kill nothing listens at %s", host(t, address))
		}
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the program ended well, want killed")
	}
	for _, address := range lines[:2] {
		eventually(t, "an orphan listens at "+host(t, address), func() bool { return !listens(t, address) })
	}
}

func host(t *testing.T, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Host
}

func listens(t *testing.T, address string) bool {
	t.Helper()
	conn, err := net.Dial("tcp", host(t, address))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
