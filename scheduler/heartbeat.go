package scheduler

import (
	"context"
	"time"

	"revalidator/jobs"
)

// leaveTimeout bounds the last word of a scheduler that ends.
const leaveTimeout = 2 * time.Second

// beat says that this scheduler is at work until ctx ends, for those who look
// whether one is. It decides nothing, so a fault is told once and then waited
// out.
func (s *Scheduler) beat(ctx context.Context) {
	told := false
	for ctx.Err() == nil {
		err := s.beatOnce(ctx)
		if err != nil && !told && ctx.Err() == nil {
			s.cfg.Logger.Warn("say that the scheduler is at work", "error", err)
		}
		told = err != nil
		wait(ctx, jobs.HeartbeatEvery)
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	// Where this fails, the name is forgotten all the same, seconds later.
	_ = s.cfg.Queue.Leave(leaving, s.cfg.Owner)
}

func (s *Scheduler) beatOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, jobs.HeartbeatEvery)
	defer cancel()
	return s.cfg.Queue.Beat(ctx, s.cfg.Owner)
}
