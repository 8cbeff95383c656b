package report

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

func (d *Doctor) appleChecks() []doctorCheck {
	return []doctorCheck{
		{"apple_production", d.apple(d.ProductionURL, "REVALIDATOR_APPLE_PRODUCTION_URL"), false},
		{"apple_sandbox", d.apple(d.SandboxURL, "REVALIDATOR_APPLE_SANDBOX_URL"), false},
	}
}

// appleTimeout is how long Apple may take to refuse an empty request.
const appleTimeout = 10 * time.Second

// apple asks an address of Apple's.
func (d *Doctor) apple(url, setting string) func(context.Context) Finding {
	return func(ctx context.Context) Finding {
		if d.Offline {
			return Finding{State: Skipped, Text: "left out by --offline"}
		}
		code, err := probe(ctx, url)
		if err != nil {
			return fail("let this machine reach it, or set HTTPS_PROXY; "+setting+" names the address", "%v", err)
		}
		return ok("replies to an empty request with status %d", code)
	}
}

// probe sends an empty request, which Apple answers with a status code of its
// own. Any code will do.
// https://developer.apple.com/documentation/appstorereceipts/status
func probe(ctx context.Context, url string) (code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, appleTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("call apple: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true // one request, and no connection that stays open
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	reply, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("call apple: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	var answer struct {
		Status *int `json:"status"`
	}
	const longest = 64 << 10
	if err := json.NewDecoder(io.LimitReader(reply.Body, longest)).Decode(&answer); err != nil || answer.Status == nil {
		return 0, fmt.Errorf("%s replies with HTTP %d and without a status of Apple's", url, reply.StatusCode)
	}
	return *answer.Status, nil
}
