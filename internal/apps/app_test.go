package apps

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
)

func TestPolicyOfAnApp(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	all := iap.DefaultPolicy()
	changed := func(change func(p *iap.Policy)) iap.Policy {
		p := all
		change(&p)
		return p
	}
	tests := []struct {
		name string
		app  App
		want iap.Policy
	}{
		{"no wishes", App{}, all},
		{"grace", App{GraceDays: new(16)}, changed(func(p *iap.Policy) { p.GraceFor = 16 * day })},
		{"no tail at all", App{ResubscribeDays: new(0)}, changed(func(p *iap.Policy) { p.ResubscribeFor = 0 })},
		{"sweep", App{SweepDays: new(7)}, changed(func(p *iap.Policy) { p.SweepEvery, p.SweepLate = 7*day, 7*day })},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, test.app.Policy(all)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", test.name, diff)
		}
	}
}
