package worker

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/claim"
	"revalidator/internal/iap"
)

// TestRevive tries the secrets of a paused app in order, with two receipts.
func TestRevive(t *testing.T) {
	t.Parallel()
	two := []claim.Receipt{{ID: 7, ByteSize: 6}, {ID: 8, ByteSize: 6}}
	for name, test := range map[string]struct {
		states   []string
		accepts  []string
		receipts []claim.Receipt
		asked    []string
		marks    []mark
		resumed  []string
	}{
		"accepted":       {[]string{"new"}, []string{"1"}, two, []string{"1"}, []mark{{1, true}}, []string{app}},
		"refused":        {[]string{"new"}, nil, two, []string{"1"}, []mark{{1, false}}, nil},
		"the new one":    {[]string{"new", "refused"}, []string{"1"}, two, []string{"1"}, []mark{{1, true}}, []string{app}},
		"the old one":    {[]string{"new", "refused"}, []string{"2"}, two, []string{"1", "2"}, []mark{{1, false}, {2, true}}, []string{app}},
		"nothing to ask": {[]string{"new"}, nil, nil, nil, nil, []string{app}},
		"nothing to try": {nil, nil, two, nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apple := &passwords{accepts: test.accepts}
			p := newParts(t, func(c *Config) { c.AppStore = apple })
			p.store.stuck, p.store.probes = &apps.App{BundleID: app}, test.receipts
			p.store.secrets = rows(test.states...)
			if err := p.reviveAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.asked, apple.asked); diff != "" {
				t.Errorf("asked with (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.marks, p.store.marks); diff != "" {
				t.Errorf("marks (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.resumed, p.store.resumed); diff != "" {
				t.Errorf("resumed (-want +got)\n%s", diff)
			}
		})
	}
}

// TestReviveInAnOutage has Apple say nothing of the secret: the app stays as it
// is, and so does the secret.
func TestReviveInAnOutage(t *testing.T) {
	t.Parallel()
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
			return appstore.Answer{Calls: 1}, httpStatus(503)
		})
	})
	p.store.stuck, p.store.probes = &apps.App{BundleID: app}, []claim.Receipt{{ID: 7}}
	if err := p.reviveAll(t.Context()); !errors.Is(err, appstore.ErrServer) {
		t.Errorf("error: got %v, want Apple's", err)
	}
	if p.store.marks != nil || p.store.resumed != nil {
		t.Errorf("marks %v, resumed %v; want neither", p.store.marks, p.store.resumed)
	}
}

// TestVerifyWithTheNextReceipt has a first receipt for which Apple does not look
// at the secret.
func TestVerifyWithTheNextReceipt(t *testing.T) {
	t.Parallel()
	calls := 0
	p := newParts(t, func(c *Config) {
		c.AppStore = appStore(func(context.Context, appstore.Request) (appstore.Answer, error) {
			if calls++; calls == 1 {
				return appstore.Answer{Environment: iap.Production, Calls: 1}, nil
			}
			return accepted(), nil
		})
	})
	p.store.probes = []claim.Receipt{{ID: 7}, {ID: 8}}
	for v, err := range p.VerifySecrets(t.Context(), apps.App{BundleID: app}) {
		if err != nil || v != (SecretVerdict{1, apps.SecretAccepted}) {
			t.Errorf("got %+v and %v, want secret 1 accepted", v, err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}
