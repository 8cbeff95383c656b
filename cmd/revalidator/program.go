package main

import (
	"context"
	"log/slog"
	"strings"

	"revalidator/internal/config"
	"revalidator/internal/terminal"
)

// program is what every subcommand shares: the terminal and the environment of the
// process. Each command opens the parts that it needs: see with.
type program struct {
	terminal.Terminal
	environ []string
}

// isSet reports whether a variable of the environment is there and not empty.
func (p *program) isSet(name string) bool {
	for _, variable := range p.environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok && value != "" {
			return true
		}
	}
	return false
}

// open reads the settings and opens what a command needs, so that what is
// missing is one clear error before any work.
func (p *program) open(ctx context.Context, needs ...need) (*parts, error) {
	cfg, err := config.Load(p.environ)
	if err != nil {
		return nil, terminal.Usage(err)
	}
	parts := &parts{cfg: cfg, log: p.logger(cfg.Log)}
	for _, n := range needs {
		if err := parts.open(ctx, n); err != nil {
			parts.close()
			return nil, err
		}
	}
	return parts, nil
}

// with opens what do needs, and closes it afterwards.
func (p *program) with(ctx context.Context, do func(*parts) error, needs ...need) error {
	parts, err := p.open(ctx, needs...)
	if err != nil {
		return err
	}
	defer parts.close()
	return do(parts)
}

func (p *program) logger(cfg config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(p.Err, options))
	}
	return slog.New(slog.NewTextHandler(p.Err, options))
}
