// Package jobs says what travels through the queue: one task per receipt, with
// ids and nothing else in its payload, under an id that makes enqueueing it
// twice the same as once. Which receipts travel is the scheduler's to say, what
// is done about them the worker's.
package jobs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

// TypeVerify is the one kind of task: check one receipt.
const TypeVerify = "receipt:verify"

// The queues. Multi-megabyte receipts have their own, so that they never hold
// up the small ones.
const (
	QueueSmall = "receipts"
	QueueLarge = "receipts-large"
)

// Queues lists every queue.
func Queues() []string { return []string{QueueSmall, QueueLarge} }

// ErrPayload is a payload that is not one of ours.
var ErrPayload = errors.New("not a receipt task")

// Verify is the payload of TypeVerify: which receipt, under which claim. It
// holds ids only, because whatever is in Redis may be read, lost or doubled.
type Verify struct {
	ReceiptID  int64  `json:"receipt"`
	Generation int64  `json:"generation"`
	RunID      int64  `json:"run,omitempty"`
	BundleID   string `json:"app"`
	// Installation is whose claim it is; Queue.Enqueue sets it.
	Installation string `json:"installation,omitempty"`
	// Large sends the task to QueueLarge.
	Large bool `json:"-"`
	// Allowance is how much longer the task may take than that of a small
	// receipt, in whole seconds.
	Allowance time.Duration `json:"-"`
}

// TaskID is the same for the same claim, and of no other claim of any installation:
// an id that was archived or orphaned in Redis never blocks a later one.
func (v Verify) TaskID() string {
	id := fmt.Sprintf("r:%d:%d", v.ReceiptID, v.Generation)
	if v.Installation == "" {
		return id
	}
	return v.Installation + ":" + id
}

// Queue is the queue that the task travels in.
func (v Verify) Queue() string {
	if v.Large {
		return QueueLarge
	}
	return QueueSmall
}

// String says in words what the task is about, for logs and for the web pages.
func (v Verify) String() string {
	text := fmt.Sprintf("receipt %d of %s", v.ReceiptID, cmp.Or(v.BundleID, "an unnamed app"))
	if v.RunID != 0 {
		text += fmt.Sprintf(", run %d", v.RunID)
	}
	return text + fmt.Sprintf(", generation %d", v.Generation)
}

// ParseVerify reads a payload. Its error is ErrPayload.
func ParseVerify(payload []byte) (Verify, error) {
	var v Verify
	if err := json.Unmarshal(payload, &v); err != nil {
		return Verify{}, fmt.Errorf("%w: %v", ErrPayload, err)
	}
	if v.ReceiptID <= 0 || v.Generation <= 0 {
		return Verify{}, fmt.Errorf("%w: receipt %d, generation %d", ErrPayload, v.ReceiptID, v.Generation)
	}
	return v, nil
}

// task is the asynq task of v. asynq's own retries are for faults of our
// machinery only, and a few of them: whatever Apple says becomes state in
// Postgres, and the lease of the claim catches the rest.
func (v Verify) task(timeout, retention time.Duration) (*asynq.Task, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode task %s: %w", v.TaskID(), err)
	}
	return asynq.NewTask(TypeVerify, payload,
		asynq.TaskID(v.TaskID()),
		asynq.Queue(v.Queue()),
		asynq.MaxRetry(maxRetry),
		asynq.Timeout(timeout+v.Allowance),
		asynq.Retention(retention),
	), nil
}

const maxRetry = 3
