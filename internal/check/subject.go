package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"revalidator/internal/appstore"
	"revalidator/internal/receipt"
)

// Subject is what check was given: a receipt, or a saved reply.
type Subject struct {
	receipt.Info
	// ID and App are of a stored receipt: under which app it came in.
	ID  int64
	App string
	// Reply is the saved reply, nil for a receipt.
	Reply *Reply
}

// Recognise reads a receipt in any of its forms, or a reply. What begins like
// JSON and is no receipt of iOS 6 is a reply where it has a status.
func Recognise(data []byte, isReply bool) (Subject, error) {
	if isReply {
		reply, err := decodeSaved(data)
		if errors.Is(err, appstore.ErrNotJSON) {
			err = fmt.Errorf("%w: leave --reply out to check a receipt", err)
		}
		return Subject{Reply: reply}, err
	}
	info, err := readReceipt(data)
	if err == nil {
		return Subject{Info: info}, nil
	}
	if begins := bytes.TrimLeft(data, "\ufeff \t\r\n"); bytes.HasPrefix(begins, []byte("{")) {
		if reply, replyErr := decodeSaved(data); replyErr == nil {
			return Subject{Reply: reply}, nil
		}
	}
	return Subject{}, err
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

// memory is a receipt in memory, on its way to Apple.
type memory []byte

// Size is the number of bytes.
func (m memory) Size() int64 { return int64(len(m)) }

// Open starts at the first byte, and does not fail.
func (m memory) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m)), nil
}

// Reply is a reply of verifyReceipt that somebody kept.
type Reply struct{ appstore.Reply }

func decodeSaved(data []byte) (*Reply, error) {
	reply, err := appstore.DecodeReply(bytes.NewReader(data), appstore.Limits{})
	if err != nil {
		return nil, err
	}
	return &Reply{reply}, nil
}

// judge says of a saved reply what the client says of one that it got: whether
// it is a success, and about the app.
func (r Reply) judge(app string) error {
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

// Report is what a saved reply says. One that names no time, as those in the
// style of iOS 6, is judged by now.
func (r Reply) Report(app string, now time.Time) (Report, error) {
	err := r.judge(app)
	answer := newAnswer(appstore.Answer{Environment: r.Facts.Environment, Code: r.Code, Unknown: r.Unknown}, err)
	if err == nil || errors.Is(err, appstore.ErrNoBundleID) {
		answer.show(r.Facts, now)
	}
	return Report{Answer: answer}, err
}
