package worker

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"revalidator/internal/claim"
)

// metrics are what a worker counts. Labels are bounded: classes are those of
// the tables in source.go and verifyreceipt.go.
type metrics struct {
	outcomes *prometheus.CounterVec
	calls    prometheus.Counter
	duration prometheus.Histogram
	lost     prometheus.Counter
	unknown  prometheus.Counter
	paused   *prometheus.CounterVec
	// disagreed is of receipts that Apple accepted before.
	disagreed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revalidator_checks_total", Help: "Number of claimed receipts that this worker finished, by class: ok, a failure class, covered (checked through another receipt) or released (not checked).",
		}, []string{"class"}),
		calls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "revalidator_apple_requests_total", Help: "Number of requests that this worker sent to Apple.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "revalidator_receipt_duration_seconds", Help: "Seconds from the start of the task of a receipt until its result is stored, with the wait for the rate limit.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 10),
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "revalidator_lost_claims_total", Help: "Number of results that changed nothing, because their claim had expired or was released before.",
		}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "revalidator_reply_unknown_fields_total", Help: "Number of fields and values in Apple's replies that are unknown, or accepted in spite of their form; the log names each once.",
		}),
		paused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revalidator_app_pauses_total", Help: "Number of times that this worker paused an app, because Apple accepted none of its shared secrets.",
		}, []string{"bundle_id"}),
		disagreed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "revalidator_signature_disagreements_total", Help: "Number of receipts that Apple accepted before and refused now, whose signature this program disproves: a fault of the program.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.outcomes, m.calls, m.duration, m.lost, m.unknown, m.paused, m.disagreed} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(o claim.Outcome, elapsed time.Duration, saved bool) {
	class := o.Failure
	switch {
	case class != "":
	case o.Asked:
		class = "ok"
	case o.Rests:
		class = "covered"
	default:
		class = "released"
	}
	m.outcomes.WithLabelValues(class).Inc()
	m.calls.Add(float64(o.Calls))
	m.duration.Observe(elapsed.Seconds())
	if !saved {
		m.lost.Inc()
	}
}
