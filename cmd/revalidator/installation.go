package main

import (
	"context"

	"revalidator/internal/terminal"
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

// queueOwner is whose queue Redis holds, as status shows it.
type queueOwner struct {
	// Installation is this database's, and Owner that of the queue; nil where it is
	// nobody's yet.
	Installation jobs.Owner  `json:"this"`
	Owner        *jobs.Owner `json:"owner"`
	// Own says that both are the same.
	Own bool `json:"own"`
}

func (s *parts) queueOwner(ctx context.Context) (queueOwner, error) {
	o := queueOwner{Installation: s.owner()}
	owner, found, err := s.queue().Owner(ctx)
	if found {
		o.Owner, o.Own = &owner, owner.Installation == o.Installation.Installation
	}
	return o, err
}

// text says it in a line.
func (o queueOwner) text(out *terminal.Page) string {
	switch {
	case o.Owner == nil:
		return "holds no queue yet: the first scheduler or worker of an installation takes it"
	case o.Own:
		return "queue of this installation, " + o.Installation.Installation
	}
	return out.Paint(terminal.Red, "queue of another "+o.Owner.String()+", so that schedulers and workers of this one do not start: see 'revalidator queue adopt --help'")
}
