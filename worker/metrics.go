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
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revalidator_outcomes_total", Help: "Receipts handled, by class of failure; ok is a success, rests was checked through another receipt, released was not checked.",
		}, []string{"class"}),
		calls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "revalidator_apple_requests_total", Help: "Requests sent to Apple.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "revalidator_receipt_duration_seconds", Help: "Seconds that a worker takes for one receipt, the wait for the rate limit included.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 10),
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "revalidator_lost_claims_total", Help: "Outcomes that came after their claim was lost, and changed nothing.",
		}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "revalidator_reply_unknown_fields_total", Help: "Fields and values in Apple's replies that are unknown, or accepted in spite of their form; the log names each once.",
		}),
		paused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revalidator_app_paused_total", Help: "Times that this worker stopped an app for want of a shared secret that Apple accepts.",
		}, []string{"bundle_id"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.outcomes, m.calls, m.duration, m.lost, m.unknown, m.paused} {
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
		class = "rests"
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
