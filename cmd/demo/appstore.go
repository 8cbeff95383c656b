package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// appStore is the simulated App Store, as a process of its own.
type appStore struct {
	url     string
	secrets []app
	cmd     *exec.Cmd
	cancel  context.CancelFunc
}

type app struct{ bundleID, secret string }

// startAppStore starts the simulated App Store a month ago, with its clock
// standing still and a few of its answers at fault.
func (d *demo) startAppStore(ctx context.Context) (*appStore, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &appStore{cancel: cancel}
	s.cmd = d.command(ctx, "applesim",
		"-customers", strconv.Itoa(d.customers), "-speed", "0", "-start", time.Now().Add(-monthBack).UTC().Format(time.RFC3339),
		"-latency", "20ms", "-faults", "503=0.02,21005=0.02,reset=0.01", "-print-secrets")
	s.cmd.Stderr = d.stderr
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start the simulated App Store: %w", err)
	}
	if err := s.read(bufio.NewReader(out)); err != nil {
		s.stop()
		return nil, fmt.Errorf("start the simulated App Store: %w", err)
	}
	return s, nil
}

// demoApps is how many apps the simulated App Store has on sale.
const demoApps = 2

// read takes the address and the secrets from what the program prints first.
func (s *appStore) read(out *bufio.Reader) error {
	url, err := out.ReadString('\n')
	if err != nil {
		return err
	}
	s.url = strings.TrimSpace(url)
	for range demoApps {
		line, err := out.ReadString('\n')
		if err != nil {
			return err
		}
		bundleID, secret, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			return errors.New("it printed no secret")
		}
		s.secrets = append(s.secrets, app{bundleID, secret})
	}
	return nil
}

func (s *appStore) apps() []app { return s.secrets }

// stop ends the App Store and waits until it has.
func (s *appStore) stop() {
	s.cancel()
	_ = s.cmd.Wait()
}

// writeReceipts writes the receipts of all customers, as their apps would have
// handed them in, to a file for the import.
func (s *appStore) writeReceipts(ctx context.Context, name string) error {
	reply, err := s.do(ctx, http.MethodGet, "/control/receipts", "")
	if err != nil {
		return err
	}
	defer func() { _ = reply.Body.Close() }()
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, reply.Body)
	return errors.Join(err, file.Close())
}

// advance lets time go by in the App Store.
func (s *appStore) advance(ctx context.Context, d time.Duration) error {
	reply, err := s.do(ctx, http.MethodPost, "/control/clock", fmt.Sprintf(`{"advance":%q}`, d))
	if err != nil {
		return err
	}
	return reply.Body.Close()
}

func (s *appStore) do(ctx context.Context, method, path, body string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("simulated App Store: %w", err)
	}
	if reply.StatusCode >= http.StatusBadRequest {
		_ = reply.Body.Close()
		return nil, fmt.Errorf("simulated App Store: %s %s: %s", method, path, reply.Status)
	}
	return reply, nil
}
