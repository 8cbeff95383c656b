package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"revalidator/internal/apps"
	"revalidator/internal/appstore"
	"revalidator/internal/check"
	"revalidator/internal/database"
	"revalidator/internal/receipt"
	"revalidator/internal/terminal"
)

// verdict asks for the exit code of an error: whether Apple refused the receipt
// or was not asked is a result, that Apple was not reached is none.
func verdict(err error) error {
	var status *appstore.StatusError
	var unasked *check.NotAskedError
	switch {
	case errors.As(err, &status), errors.As(err, &unasked),
		errors.Is(err, appstore.ErrWrongApp), check.IsUnbelievable(err):
		return terminal.Failures(err)
	}
	return err
}

// checkReceipt says what a receipt says of itself, and then what Apple says.
func (p *program) checkReceipt(ctx context.Context, parts *parts, o checkOptions, s check.Subject) (check.Report, error) {
	answer, err := p.ask(ctx, parts, o, s)
	return check.NewReport(s, parts.cfg.Apple.MaxRequestBytes, answer, err), err
}

// ask asks Apple about a receipt, unless something stands against it.
func (p *program) ask(ctx context.Context, parts *parts, o checkOptions, s check.Subject) (answer appstore.Answer, err error) {
	q := check.Question{
		Subject: s, Environment: o.environment, Secrets: o.secrets, ExcludeOldTransactions: parts.cfg.Apple.ExcludeOldTransactions,
	}
	if q.BundleID, err = s.Askable(o.app, parts.cfg.Apple.MaxRequestBytes); err != nil {
		return answer, err
	}
	if q.App, err = parts.knownApp(ctx, q.BundleID); err != nil {
		return answer, err
	}
	if len(q.Secrets) == 0 {
		if q.Secrets, err = p.secretsFor(ctx, parts, q.BundleID); err != nil {
			return answer, err
		}
	}
	if app := q.App; app != nil && app.PausedAt != nil {
		p.Note("app %s is paused (%s): workers do not ask about it, this command does", app.BundleID, apps.PauseReason(app.PausedCode, app.PausedText))
	}
	var asker check.Asker
	if asker.Client, err = parts.appStore(); err != nil {
		return answer, err
	}
	if q.App != nil {
		if asker.Limiter, err = parts.limiter(); err != nil {
			return answer, err
		}
	}
	return asker.Ask(ctx, q)
}

// maxInput is the largest file that is read. It holds the largest reply that is
// read by default.
const maxInput = 64 << 20

// checkSubject reads what is to be checked and finds out what it is.
func (p *program) checkSubject(ctx context.Context, parts *parts, o checkOptions) (check.Subject, error) {
	if o.receiptID != 0 {
		return parts.storedSubject(ctx, o.receiptID)
	}
	data, err := p.readInput(ctx, o.file)
	if err != nil {
		return check.Subject{}, fmt.Errorf("check: %w", err)
	}
	s, err := check.Recognise(data, o.reply)
	if err != nil {
		return check.Subject{}, fmt.Errorf("check %s: %w", o.file, err)
	}
	if s.Reply != nil && !o.reply {
		p.Note("that is a reply of verifyReceipt, not a receipt: it is read as with --reply")
	}
	return s, nil
}

func (p *program) readInput(ctx context.Context, name string) ([]byte, error) {
	input, _, err := p.OpenInput(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = input.Close() }()
	data, err := io.ReadAll(io.LimitReader(input, maxInput+1))
	if err == nil && len(data) > maxInput {
		return nil, fmt.Errorf("%s has more than %d MiB: that is neither a receipt nor a reply", name, maxInput>>20)
	}
	return data, err
}

// storedSubject is a receipt from the database.
func (s *parts) storedSubject(ctx context.Context, id int64) (check.Subject, error) {
	if err := s.open(ctx, needDatabase); err != nil {
		return check.Subject{}, err
	}
	stored, err := s.db.StoredReceipt(ctx, id)
	if errors.Is(err, database.ErrNotFound) {
		return check.Subject{}, fmt.Errorf("no receipt %d: see 'revalidator receipts list'", id)
	}
	if err != nil {
		return check.Subject{}, err
	}
	stream, err := s.db.ReceiptData(id, stored.ByteSize).Open(ctx)
	if err != nil {
		return check.Subject{}, err
	}
	defer func() { _ = stream.Close() }()
	data, err := io.ReadAll(stream)
	if err != nil {
		return check.Subject{}, err
	}
	info, err := receipt.Read(data)
	if err != nil {
		return check.Subject{}, fmt.Errorf("check receipt %d: %w", id, err)
	}
	if stored.Environment != "" {
		info.Environment = stored.Environment
	}
	return check.Subject{Info: info, ID: id, App: stored.BundleID}, nil
}

// knownApp is the app in the database, nil where there is no database or no
// such app. The rate of a known app is kept, which takes Redis.
func (s *parts) knownApp(ctx context.Context, bundleID string) (*apps.App, error) {
	if s.cfg.Database.URL.IsZero() {
		return nil, nil
	}
	if s.db == nil {
		if err := s.open(ctx, needDatabase); err != nil {
			return nil, err
		}
	}
	apps, err := s.db.Apps(ctx)
	if err != nil {
		return nil, err
	}
	for _, app := range apps {
		if app.BundleID == bundleID {
			return &app, s.open(ctx, needRedis)
		}
	}
	return nil, nil
}
