package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"revalidator/internal/appstore"
	"revalidator/internal/ledger"
	"revalidator/internal/receipt"
)

// subject is what check was given: a receipt, or a saved reply.
type subject struct {
	receipt receipt.Info
	// id and app are of a stored receipt: under which app it came in.
	id    int64
	app   string
	reply *savedReply
}

// maxInput is the largest file that is read. It holds the largest reply that is
// read by default.
const maxInput = 64 << 20

// checkSubject reads what is to be checked and finds out what it is.
func (p *program) checkSubject(ctx context.Context, parts *parts, o checkOptions) (subject, error) {
	if o.receiptID != 0 {
		return parts.storedSubject(ctx, o.receiptID)
	}
	data, err := p.readInput(ctx, o.file)
	if err != nil {
		return subject{}, fmt.Errorf("check: %w", err)
	}
	s, err := recognise(data, o.reply)
	if err != nil {
		return subject{}, fmt.Errorf("check %s: %w", o.file, err)
	}
	if s.reply != nil && !o.reply {
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

// recognise reads a receipt in any of its forms, or a reply. What begins like
// JSON and is no receipt of iOS 6 is a reply where it has a status.
func recognise(data []byte, isReply bool) (subject, error) {
	if isReply {
		reply, err := decodeSaved(data)
		if errors.Is(err, appstore.ErrNotJSON) {
			err = fmt.Errorf("%w: leave --reply out to check a receipt", err)
		}
		return subject{reply: reply}, err
	}
	info, err := readReceipt(data)
	if err == nil {
		return subject{receipt: info}, nil
	}
	if begins := bytes.TrimLeft(data, "\ufeff \t\r\n"); bytes.HasPrefix(begins, []byte("{")) {
		if reply, replyErr := decodeSaved(data); replyErr == nil {
			return subject{reply: reply}, nil
		}
	}
	return subject{}, err
}

// readReceipt reads a receipt from base64 text, or from the bytes themselves.
func readReceipt(data []byte) (receipt.Info, error) {
	decoded, textErr := receipt.DecodeBase64(data)
	if textErr == nil {
		return receipt.Read(decoded)
	}
	info, err := receipt.Read(data)
	if errors.Is(err, receipt.ErrNotAReceipt) && (isText(data) || !errors.Is(textErr, receipt.ErrNotBase64)) {
		return info, textErr
	}
	return info, err
}

// isText reports whether bytes were meant to be read as letters, as base64 is.
func isText(data []byte) bool {
	return utf8.Valid(data) && bytes.IndexByte(data, 0) < 0
}

// storedSubject is a receipt from the database.
func (s *parts) storedSubject(ctx context.Context, id int64) (subject, error) {
	if err := s.open(ctx, needDatabase); err != nil {
		return subject{}, err
	}
	stored, err := s.db.StoredReceipt(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return subject{}, fmt.Errorf("no receipt %d: see 'revalidator receipts list'", id)
	}
	if err != nil {
		return subject{}, err
	}
	stream, err := s.db.ReceiptData(id, stored.ByteSize).Open(ctx)
	if err != nil {
		return subject{}, err
	}
	defer func() { _ = stream.Close() }()
	data, err := io.ReadAll(stream)
	if err != nil {
		return subject{}, err
	}
	info, err := receipt.Read(data)
	if err != nil {
		return subject{}, fmt.Errorf("check receipt %d: %w", id, err)
	}
	if stored.Environment != "" {
		info.Environment = stored.Environment
	}
	return subject{receipt: info, id: id, app: stored.BundleID}, nil
}

// memory is a receipt in memory, on its way to Apple.
type memory []byte

// Size is the number of bytes.
func (m memory) Size() int64 { return int64(len(m)) }

// Open starts at the first byte, and does not fail.
func (m memory) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m)), nil
}

// savedReply is a reply of verifyReceipt that somebody kept.
type savedReply struct {
	appstore.Reply
}

func decodeSaved(data []byte) (*savedReply, error) {
	reply, err := appstore.DecodeReply(bytes.NewReader(data), appstore.Limits{})
	if err != nil {
		return nil, err
	}
	return &savedReply{reply}, nil
}

// judge says of a saved reply what the client says of one that it got: whether
// it is a success, and about the app.
func (r savedReply) judge(app string) error {
	if err := r.Err(); err != nil {
		return err
	}
	switch got := r.Facts.BundleID; {
	case got == "" && r.Code == appstore.CodeSubscriptionExpired && r.Facts.IsEmpty():
		return nil
	case got == "":
		return appstore.ErrNoBundleID
	case app != "" && app != got:
		return &appstore.WrongAppError{Want: app, Got: got}
	}
	return nil
}

// report is what a saved reply says. One that names no time, as those in the
// style of iOS 6, is judged by now.
func (r savedReply) report(app string, now time.Time) (checkReport, error) {
	err := r.judge(app)
	answer := newAnswerReport(appstore.Answer{Environment: r.Facts.Environment, Code: r.Code, Unknown: r.Unknown}, err)
	if err == nil || errors.Is(err, appstore.ErrNoBundleID) {
		answer.show(r.Facts, now)
	}
	return checkReport{Answer: answer}, verdict(err)
}
