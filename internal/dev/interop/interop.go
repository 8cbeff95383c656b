// Package interop judges signed payloads with Apple's own library, which runs in
// Node, so that tests can compare ours with it. The library is in a folder of its
// own here; make interop installs it.
package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Folder is where this package lies below the top of the module.
const Folder = "internal/dev/interop"

// ErrNotInstalled is for a machine without Node or without the library.
var ErrNotInstalled = errors.New("the library of Apple is not installed: run make interop, which needs node and npm")

// Request is one payload to judge.
type Request struct {
	Kind        string `json:"kind"` // as signed.Kind
	JWS         string `json:"jws"`
	Root        []byte `json:"root"` // DER
	Environment string `json:"environment"`
	BundleID    string `json:"bundle_id"`
	AppAppleID  int64  `json:"app_apple_id"`
	// Times is how often it is verified, to measure it. Default 1.
	Times int `json:"times"`
}

// Verdict is what the library says.
type Verdict struct {
	Verified bool `json:"verified"`
	// Status is its VerificationStatus where it refuses.
	Status string `json:"status"`
	// Nanoseconds is how long one time took.
	Nanoseconds float64 `json:"nanoseconds"`
}

// Judge asks the library about each request, in one process. folder is that of
// this package. The error is ErrNotInstalled where it cannot be asked.
func Judge(ctx context.Context, folder string, requests []Request) ([]Verdict, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, ErrNotInstalled
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "@apple", "app-store-server-library")); err != nil {
		return nil, ErrNotInstalled
	}
	var input, output bytes.Buffer
	encoder := json.NewEncoder(&input)
	for _, r := range requests {
		r.Times = max(r.Times, 1)
		if err := encoder.Encode(r); err != nil {
			return nil, err
		}
	}
	c := exec.CommandContext(ctx, node, "verify.mjs")
	c.Dir, c.Stdin, c.Stdout, c.Stderr = folder, &input, &output, os.Stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("run Apple's library: %w", err)
	}
	var verdicts []Verdict
	for decoder := json.NewDecoder(&output); decoder.More(); {
		var v Verdict
		if err := decoder.Decode(&v); err != nil {
			return nil, fmt.Errorf("read the verdicts of Apple's library: %w", err)
		}
		verdicts = append(verdicts, v)
	}
	if len(verdicts) != len(requests) {
		return nil, fmt.Errorf("got %d verdicts of Apple's library for %d payloads", len(verdicts), len(requests))
	}
	return verdicts, nil
}
