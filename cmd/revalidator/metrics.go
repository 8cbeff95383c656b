package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"revalidator/internal/report"
	"revalidator/repository"
)

// registry is a registry of metrics with those of the Go runtime and those of
// the whole installation in it.
func (s *parts) registry() (*prometheus.Registry, error) {
	queue, err := s.queueReader()
	if err != nil {
		return nil, err
	}
	s.operations = report.NewOperations(report.OperationsConfig{
		Backlog: s.backlog, Queue: queue.Queue, Inspector: queue.Inspector, Limiter: queue.Limiter, Now: s.clock.Now, Logger: s.log,
	})
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		s.operations,
	)
	return reg, nil
}

// backlog reads how much there is to do; its ages are told by the shared clock.
func (s *parts) backlog(ctx context.Context, dueCounted int) (repository.Backlog, error) {
	now, due := s.clock.Now(), s.clock.AppleTime()
	b, err := s.db.Backlog(ctx, due, dueCounted)
	if b.Oldest != nil && s.clock.Differ() {
		*b.Oldest = b.Oldest.Add(now.Sub(due))
	}
	return b, err
}
