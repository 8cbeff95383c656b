package jobs_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/jobs"
)

const app = "com.example.reader"

func TestTaskID(t *testing.T) {
	t.Parallel()
	claim := jobs.Verify{ReceiptID: 12, Generation: 3, RunID: 1, BundleID: app}
	for name, test := range map[string]struct {
		task jobs.Verify
		want string
	}{
		"a claim":                      {claim, "r:12:3"},
		"the claim for another run":    {jobs.Verify{ReceiptID: 12, Generation: 3, RunID: 2, BundleID: app}, "r:12:3"},
		"the claim as a large receipt": {jobs.Verify{ReceiptID: 12, Generation: 3, Large: true}, "r:12:3"},
		"the next claim":               {jobs.Verify{ReceiptID: 12, Generation: 4}, "r:12:4"},
		"of an installation":           {jobs.Verify{ReceiptID: 12, Generation: 3, Installation: "5e1f00000000"}, "5e1f00000000:r:12:3"},
		"digits that move":             {jobs.Verify{ReceiptID: 1, Generation: 23}, "r:1:23"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.task.TaskID(); got != test.want {
				t.Errorf("task id: got %s, want %s", got, test.want)
			}
		})
	}
}

func TestQueueOfATask(t *testing.T) {
	t.Parallel()
	if got := (jobs.Verify{}).Queue(); got != jobs.QueueSmall {
		t.Errorf("a small receipt travels in %s", got)
	}
	if got := (jobs.Verify{Large: true}).Queue(); got != jobs.QueueLarge {
		t.Errorf("a large receipt travels in %s", got)
	}
	if diff := cmp.Diff([]string{jobs.QueueSmall, jobs.QueueLarge}, jobs.Queues()); diff != "" {
		t.Errorf("queues (-want +got)\n%s", diff)
	}
}

func TestTaskInWords(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		task jobs.Verify
		want string
	}{
		"of a run":       {jobs.Verify{ReceiptID: 12, Generation: 4, RunID: 3, BundleID: app}, "receipt 12 of com.example.reader, run 3, generation 4"},
		"of no run":      {jobs.Verify{ReceiptID: 12, Generation: 4, BundleID: app}, "receipt 12 of com.example.reader, generation 4"},
		"without an app": {jobs.Verify{ReceiptID: 12, Generation: 4}, "receipt 12 of an unnamed app, generation 4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.task.String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestParseVerify(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		payload string
		want    jobs.Verify
		wantErr error
	}{
		"whole":                 {`{"receipt":7,"generation":3,"run":2,"app":"com.example.reader"}`, jobs.Verify{ReceiptID: 7, Generation: 3, RunID: 2, BundleID: app}, nil},
		"of no run":             {`{"receipt":7,"generation":3,"app":"com.example.reader"}`, jobs.Verify{ReceiptID: 7, Generation: 3, BundleID: app}, nil},
		"from a later program":  {`{"receipt":7,"generation":3,"lane":"fast"}`, jobs.Verify{ReceiptID: 7, Generation: 3}, nil},
		"the size says nothing": {`{"receipt":7,"generation":3,"Large":true}`, jobs.Verify{ReceiptID: 7, Generation: 3}, nil},
		"empty":                 {``, jobs.Verify{}, jobs.ErrPayload},
		"no JSON":               {`r:7:3`, jobs.Verify{}, jobs.ErrPayload},
		"cut":                   {`{"receipt":7,"generat`, jobs.Verify{}, jobs.ErrPayload},
		"two of them":           {`{"receipt":7,"generation":3}{"receipt":8,"generation":3}`, jobs.Verify{}, jobs.ErrPayload},
		"a list":                {`[7,3]`, jobs.Verify{}, jobs.ErrPayload},
		"null":                  {`null`, jobs.Verify{}, jobs.ErrPayload},
		"no receipt":            {`{"generation":3}`, jobs.Verify{}, jobs.ErrPayload},
		"no generation":         {`{"receipt":7}`, jobs.Verify{}, jobs.ErrPayload},
		"a negative receipt":    {`{"receipt":-7,"generation":3}`, jobs.Verify{}, jobs.ErrPayload},
		"a negative generation": {`{"receipt":7,"generation":-3}`, jobs.Verify{}, jobs.ErrPayload},
		"an id as text":         {`{"receipt":"7","generation":3}`, jobs.Verify{}, jobs.ErrPayload},
		"an id with a fraction": {`{"receipt":7.5,"generation":3}`, jobs.Verify{}, jobs.ErrPayload},
		"an id beyond 64 bits":  {`{"receipt":9223372036854775808,"generation":3}`, jobs.Verify{}, jobs.ErrPayload},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := jobs.ParseVerify([]byte(test.payload))
			if !errors.Is(err, test.wantErr) {
				t.Errorf("error: got %v, want %v", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("task (-want +got)\n%s", diff)
			}
		})
	}
}

// FuzzParseVerify checks that a payload either names a claim, and then reads
// the same after another trip through the queue, or is refused as such.
func FuzzParseVerify(f *testing.F) {
	f.Add([]byte(`{"receipt":7,"generation":3,"run":2,"app":"com.example.reader"}`))
	f.Add([]byte(`{"receipt":0,"generation":-1}`))
	f.Add([]byte("{\"receipt\":1,\"generation\":1,\"app\":\"\xff\"}"))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		v, err := jobs.ParseVerify(payload)
		if err != nil {
			if !errors.Is(err, jobs.ErrPayload) || v != (jobs.Verify{}) {
				t.Fatalf("got %+v and %v, want nothing and ErrPayload", v, err)
			}
			return
		}
		if v.ReceiptID <= 0 || v.Generation <= 0 {
			t.Fatalf("accepted %+v, which is no claim", v)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := jobs.ParseVerify(again); err != nil || got != v {
			t.Fatalf("second time: got %+v and %v, want %+v", got, err, v)
		}
	})
}
