package main

import (
	"context"

	"github.com/hibiken/asynq"

	"revalidator/internal/claim"
	"revalidator/internal/report"
	"revalidator/jobs"
)

// readInstallation learns which database this is.
func (s *parts) readInstallation(ctx context.Context) error {
	installation, err := s.db.Installation(ctx)
	if err == nil {
		s.installation.Store(&installation)
	}
	return err
}

// owner is the owner that a queue of this database has.
func (s *parts) owner() jobs.Owner {
	if i := s.installation.Load(); i != nil {
		return jobs.Owner{Installation: i.ID, Database: i.Database}
	}
	return jobs.Owner{}
}

// ownQueue makes Redis that of this database where it is nobody's. Its error is
// jobs.ErrNotOwner where it holds the queue of another one.
func (s *parts) ownQueue(ctx context.Context) error {
	if err := s.readInstallation(ctx); err != nil {
		return err
	}
	_, err := s.queue().Epoch(ctx)
	return err
}

// presence says that this process is running, of a kind and by a name, and which
// server of Postgres it is connected to at each moment.
func (s *parts) presence(kind jobs.Kind, name string) *jobs.Presence {
	server := func(ctx context.Context) (jobs.Server, error) {
		i, err := s.db.Installation(ctx)
		return jobs.Server{Address: i.Address, StartedAt: i.StartedAt}, err
	}
	return jobs.NewPresence(s.queue(), kind, name, server, s.log)
}

// queueReader reads what Redis knows.
func (s *parts) queueReader() (report.QueueReader, error) {
	limiter, err := s.limiter()
	if err != nil {
		return report.QueueReader{}, err
	}
	return report.QueueReader{
		Reach: s.reachRedis, Installation: s.owner, Queue: s.queue(), Inspector: asynq.NewInspectorFromRedisClient(s.redis),
		Limiter: limiter,
		SilentClaims: func(ctx context.Context) ([]claim.Claim, error) {
			scheduler, err := s.scheduler(nil, jobs.KindRun)
			if err != nil {
				return nil, err
			}
			return scheduler.SilentClaims(ctx)
		},
	}, nil
}

// statusReader reads the status of the installation.
func (s *parts) statusReader() (report.StatusReader, error) {
	queue, err := s.queueReader()
	if err != nil {
		return report.StatusReader{}, err
	}
	schedule, err := s.schedule()
	return report.StatusReader{Store: s.db, Queue: queue, Schedule: schedule, SecretAge: s.cfg.Keys.SecretAge, DateOf: s.clock.DateOf}, err
}
