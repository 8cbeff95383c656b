package scheduler

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a scheduler counts.
type metrics struct {
	pruned *prometheus.CounterVec
	silent prometheus.Gauge
}

// newMetrics registers them with reg, which may be nil. contested may be, too: it
// reports whether two servers use the queue.
func newMetrics(reg prometheus.Registerer, contested func() bool) (metrics, error) {
	m := metrics{
		pruned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revalidator_pruned_rows_total", Help: "Number of rows that this scheduler deleted because they were older than their setting keeps them, by table.",
		}, []string{"table"}),
		silent: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revalidator_claims_without_task", Help: "Number of claims, of the 200 oldest, that have no task on the queue; their receipts wait until the claims expire.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	collectors := []prometheus.Collector{m.pruned, m.silent}
	if contested != nil {
		collectors = append(collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "revalidator_queue_contested", Help: "1 while copies of one database on two servers use this queue, so that nothing is enqueued; 0 otherwise.",
		}, func() float64 {
			if contested() {
				return 1
			}
			return 0
		}))
	}
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return m, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}
