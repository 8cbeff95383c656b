package main

import (
	"strings"
	"testing"
	"time"

	"revalidator/internal/dev/devstack/redistest"
)

// TestClusterLosesAMaster has one with a replica fall silent, and one without go: no
// status takes a Redis that does not answer for one without workers, and the worker is
// there again within seconds of the failover.
func TestClusterLosesAMaster(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		key      string
		replicas int
		lose     func(*redistest.Cluster, testing.TB, int)
	}{
		"a silent one with the list of workers": {"asynq:servers", 3, (*redistest.Cluster).Freeze},
		"a silent one with the queue":           {"asynq:{receipts}:pending", 3, (*redistest.Cluster).Freeze},
		"a stopped one without a replica":       {"asynq:servers", 0, (*redistest.Cluster).Stop},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			cluster := redistest.StartCluster(t, 3, test.replicas)
			s.set("REDIS_URL", cluster.URL)
			s.set("REVALIDATOR_METRICS_ADDR", freeAddr(t))
			worker := s.start(t, nil, "worker")
			worker.stderr.waitFor(t, "worker started")
			eventually(t, "the worker is there", func() bool { return strings.Contains(s.run(t, "status").stdout, "Workers        1 running") })
			if test.replicas > 0 {
				cluster.Replicate(t, test.key)
			}
			lost := cluster.MasterOf(t, test.key)
			test.lose(cluster, t, lost)
			since := time.Now()
			said := false
			eventually(t, "the worker is there again", func() bool {
				o := s.run(t, "status")
				if strings.Contains(o.stdout, "Workers        none") {
					t.Fatalf("after %s:\n%s%s", time.Since(since), o.stdout, worker.stderr.text())
				}
				if strings.Contains(o.stdout, "Redis          does not answer") {
					if !said && test.replicas == 0 {
						cluster.Resume(t, lost)
					}
					said = true
				}
				return said && strings.Contains(o.stdout, "Workers        1 running")
			})
			t.Logf("after %s", time.Since(since))
		})
	}
}
