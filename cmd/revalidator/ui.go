package main

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"revalidator/internal/config"
	"revalidator/internal/terminal"
	"revalidator/internal/web"
	"revalidator/jobs"
)

func (p *program) uiCommand() *cobra.Command {
	var addr string
	var readWrite bool
	c := &cobra.Command{
		Use:   "ui [--addr HOST:PORT] [--read-write]",
		Short: "Serve asynq's web pages about the queue",
		Long: `Serve asynq's web pages about the queue, for reading only unless --read-write
is given. Each task says which receipt it is about, and for
REVALIDATOR_RETENTION after it ends the result of its check. Checks that failed
are under "archived", each with its failure class: the last 10,000 of each
queue. Schedulers shows the nightly run.

They are served to this machine alone, unless REVALIDATOR_UI_USER and
REVALIDATOR_UI_PASSWORD (or its file) are set: then they ask for both, and can
be served to others. /healthz and /readyz are there and ask for nothing;
/metrics has the depth of the queues and what is due.

With --read-write the pages can pause queues, and delete or archive tasks. A
receipt whose task was deleted is due again when its claim runs out.`,
		Example: `  revalidator ui                     # http://127.0.0.1:8080
  revalidator ui --addr 127.0.0.1:9000
  ssh -L 8080:127.0.0.1:8080 host    # to open it from elsewhere
  REVALIDATOR_UI_USER=ops REVALIDATOR_UI_PASSWORD_FILE=ui-password \
    revalidator ui --addr :8080`,
		Args: terminal.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			parts, err := p.openService(false)
			if err != nil {
				return err
			}
			defer parts.close()
			settings := parts.cfg.Web
			if addr != "" {
				settings.Addr = addr
			}
			settings.ReadWrite = settings.ReadWrite || readWrite
			return p.serve(c.Context(), parts, settings)
		},
	}
	c.Flags().StringVar(&addr, "addr", "", "`host:port` to listen on (default: REVALIDATOR_UI_ADDR)")
	c.Flags().BoolVar(&readWrite, "read-write", false, "let the pages change the queue (default: REVALIDATOR_UI_READ_WRITE)")
	return c
}

// serve serves the pages about the queue until ctx ends.
func (p *program) serve(ctx context.Context, s *parts, settings config.Web) error {
	reg, err := s.registry()
	if err != nil {
		return err
	}
	schedule, err := s.schedule()
	if err != nil {
		return err
	}
	pages, err := web.New(web.Config{
		Addr: settings.Addr, Path: settings.Path, Redis: s.redis,
		User: settings.User, Password: settings.Password, Hosts: settings.Hosts, ReadWrite: settings.ReadWrite,
		Scheduled: func() web.Scheduled {
			return web.Scheduled{Spec: fmt.Sprintf("%s (%s)", s.cfg.Schedule.Cron, schedule.Zone), Task: "nightly run", Next: schedule.NextRun(s.clock.Now())}
		},
		Proxies:  config.Prefixes(settings.Proxies),
		Describe: describeTask, Checks: s.checks(), Gatherer: reg, Logger: s.log,
	})
	if err != nil {
		return terminal.Usage(err)
	}
	defer s.clock.Keep(ctx)()
	if err := s.await(ctx, false); err != nil {
		return stopped(ctx, err)
	}
	// asynq's pages show the queues that Redis knows of.
	if _, err := s.queue().Epoch(ctx); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", settings.Addr)
	if err != nil {
		return fmt.Errorf("serve web pages: %w", err)
	}
	fmt.Fprintf(p.Err, "serving http://%s%s (Ctrl-C ends it)\n", listener.Addr(), settings.Path)
	return pages.Serve(ctx, listener)
}

// describeTask says what a task of ours is about, and nothing of another.
func describeTask(taskType string, payload []byte) string {
	v, err := jobs.ParseVerify(payload)
	if taskType != jobs.TypeVerify || err != nil {
		return ""
	}
	return v.String()
}
