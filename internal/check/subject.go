package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/receipt"
	"revalidator/worker"
)

// Subject is what check was given: a receipt, a saved reply, or a payload.
type Subject struct {
	receipt.Info
	// ID and App are of a stored receipt: under which app it came in.
	ID  int64
	App string
	// Reply is the saved reply, nil for a receipt.
	Reply *Reply
	// JWS is a signed payload, empty for the others.
	JWS string
}

// Recognise reads a receipt in any of its forms, a signed payload, or a reply. What begins like
// JSON and is no receipt of iOS 6 is a reply where it has a status.
func Recognise(data []byte, isReply bool) (Subject, error) {
	if isReply {
		reply, err := decodeSaved(data)
		if errors.Is(err, appstore.ErrNotJSON) {
			err = fmt.Errorf("%w: leave --reply out to check a receipt", err)
		}
		return Subject{Reply: reply}, err
	}
	if jws := findPayload(data); jws != "" {
		return Subject{JWS: jws}, nil
	}
	info, err := receipt.Parse(data)
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

// Report is what a worker makes of a saved reply: of the app where one was given.
func (r Reply) Report(app string, now time.Time) (Report, error) {
	conclusion, class, err := worker.JudgeSaved(r.Reply, app, now)
	answer := newAnswer(appstore.Answer{Environment: r.Facts.Environment, Code: r.Code, Unknown: r.Unknown}, err)
	answer.show(r.Facts, conclusion, class)
	return Report{Answer: answer}, err
}
