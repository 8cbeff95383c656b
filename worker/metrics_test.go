package worker

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// gathered is the value of each counter, and the count of each histogram, by
// name and label.
func gathered(t *testing.T, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetName() + "=" + label.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func TestMetricsCountOutcomes(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	p := newParts(t, func(c *Config) { c.Registerer = reg })
	handle := func(change func(*fakeStore)) {
		t.Helper()
		change(p.store)
		if err := p.Handle(t.Context(), task()); err != nil {
			t.Fatal(err)
		}
	}
	handle(func(*fakeStore) {})
	handle(func(s *fakeStore) { s.receipt.App.PausedAt = &noon })
	p.clock.advance(ringAge)
	handle(func(s *fakeStore) { s.receipt.App.PausedAt, s.secrets = nil, nil })
	handle(func(s *fakeStore) { s.secrets, s.lost = rows("new"), true })

	want := map[string]float64{
		"revalidator_checks_total class=ok":               2,
		"revalidator_checks_total class=released":         1,
		"revalidator_checks_total class=no_shared_secret": 1,
		"revalidator_apple_requests_total":                2,
		"revalidator_lost_claims_total":                   1,
		"revalidator_reply_unknown_fields_total":          0,
		"revalidator_signature_disagreements_total":       0,
		"revalidator_app_pauses_total bundle_id=" + app:   1,
		"revalidator_receipt_duration_seconds":            4,
	}
	if diff := cmp.Diff(want, gathered(t, reg)); diff != "" {
		t.Errorf("metrics (-want +got)\n%s", diff)
	}
}

func TestMetricsTwiceIsAnError(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	cfg := newParts(t, func(c *Config) { c.Registerer = reg }).cfg
	if _, err := New(cfg); err == nil {
		t.Error("two workers count under one name")
	}
}
