package jobs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"revalidator/jobs"
)

var (
	shop    = jobs.Owner{Installation: "5e1f00000000", Database: "shop at 10.0.0.5:5432"}
	staging = jobs.Owner{Installation: "77aa00000000", Database: "staging at 10.0.0.7:5432"}
)

// of is the queue of an owner.
func (f fixture) of(owner jobs.Owner) *jobs.Queue {
	return f.Of(func() jobs.Owner { return owner })
}

// TestOneOwner has two installations meet on one Redis: the first keeps it, until
// Redis is emptied.
func TestOneOwner(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	first, second := f.of(shop), f.of(staging)
	f.must(second.Check(ctx)) // it is nobody's, and stays so
	if owner, found, err := first.Owner(ctx); found || err != nil {
		t.Errorf("an empty Redis has the owner %v (%v)", owner, err)
	}
	epoch, err := first.Epoch(ctx)
	f.must(err)
	for range 2 {
		_, err = second.Epoch(ctx)
		var foreign *jobs.OwnerError
		if !errors.Is(err, jobs.ErrNotOwner) || !errors.As(err, &foreign) || foreign.Owner != shop {
			t.Errorf("epoch for the second: got %v, want that it belongs to %v", err, shop)
		}
		if text := err.Error(); !strings.Contains(text, shop.Installation) || !strings.Contains(text, shop.Database) || !strings.Contains(text, "queue adopt") {
			t.Errorf("the error does not say whose it is and what to do: %s", text)
		}
		if err := second.Check(ctx); !errors.Is(err, jobs.ErrNotOwner) {
			t.Errorf("check for the second: got %v, want %v", err, jobs.ErrNotOwner)
		}
	}
	if again, err := first.Epoch(ctx); err != nil || again != epoch {
		t.Errorf("epoch for the first: got %s and %v, want %s as before", again, err, epoch)
	}
	owner, found, err := second.Owner(ctx)
	f.must(err)
	if !found || owner != shop {
		t.Errorf("owner: got %v, want %v", owner, shop)
	}
	f.must(f.redis.FlushAll(ctx).Err())
	if _, err := second.Epoch(ctx); err != nil {
		t.Errorf("an emptied Redis is refused: %v", err)
	}
}

// TestTasksOfTwoInstallations have the same receipt and generation.
func TestTasksOfTwoInstallations(t *testing.T) {
	f := open(t)
	task := jobs.Verify{ReceiptID: 7, Generation: 3, BundleID: app}
	for _, owner := range []jobs.Owner{shop, staging} {
		f.must(f.of(owner).Enqueue(t.Context(), []jobs.Verify{task}))
	}
	if diff := cmp.Diff([]string{"5e1f00000000:r:7:3", "77aa00000000:r:7:3"}, f.pending(jobs.QueueSmall)); diff != "" {
		t.Fatalf("tasks that wait (-want +got)\n%s", diff)
	}
	info, err := f.inspector.GetTaskInfo(jobs.QueueSmall, "77aa00000000:r:7:3")
	f.must(err)
	got, err := jobs.ParseVerify(info.Payload)
	f.must(err)
	task.Installation = staging.Installation
	if diff := cmp.Diff(task, got); diff != "" {
		t.Errorf("task (-want +got)\n%s", diff)
	}
}

// TestMine asks of a task whose it is, before and after the queue changed hands.
func TestMine(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	own := jobs.Verify{ReceiptID: 1, Generation: 1, Installation: shop.Installation}
	other := jobs.Verify{ReceiptID: 1, Generation: 1, Installation: staging.Installation}
	_, err := f.of(shop).Epoch(ctx)
	f.must(err)
	if mine, err := f.of(shop).Mine(ctx, own); !mine || err != nil {
		t.Errorf("own task: got %t and %v", mine, err)
	}
	if mine, err := f.of(shop).Mine(ctx, other); mine || err != nil {
		t.Errorf("a task that another left: got %t and %v, want false and no error", mine, err)
	}
	_, err = f.of(staging).Adopt(ctx)
	f.must(err)
	if mine, err := f.of(shop).Mine(ctx, other); mine || !errors.Is(err, jobs.ErrNotOwner) {
		t.Errorf("a task of the new owner: got %t and %v, want %v", mine, err, jobs.ErrNotOwner)
	}
}

// TestAdopt has a restored database take the queue of the one that it replaces,
// with tasks in every state.
func TestAdopt(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	former, next := f.of(shop), f.of(staging)
	before, err := former.Epoch(ctx)
	f.must(err)
	f.must(former.Enqueue(ctx, []jobs.Verify{
		{ReceiptID: 1, Generation: 1}, {ReceiptID: 2, Generation: 1}, {ReceiptID: 3, Generation: 1, Large: true},
	}))
	f.must(f.inspector.ArchiveTask(jobs.QueueSmall, "5e1f00000000:r:2:1"))
	deleted, err := next.Adopt(ctx)
	f.must(err)
	if deleted != 3 {
		t.Errorf("%d tasks deleted, want 3", deleted)
	}
	after, err := next.Epoch(ctx)
	f.must(err)
	if after == before {
		t.Error("the epoch stays: claims of the database would wait for tasks that are gone")
	}
	if _, err := former.Epoch(ctx); !errors.Is(err, jobs.ErrNotOwner) {
		t.Errorf("epoch for the former owner: got %v, want %v", err, jobs.ErrNotOwner)
	}
	for _, name := range jobs.Queues() {
		info, err := f.inspector.GetQueueInfo(name)
		f.must(err)
		if info.Size != 0 || info.Archived != 0 || info.Completed != 0 {
			t.Errorf("%s after the adoption: %+v, want nothing", name, info)
		}
	}
}

// TestAdoptWhatIsUnreadable takes a Redis in which something else is found.
func TestAdoptWhatIsUnreadable(t *testing.T) {
	f := open(t)
	f.must(f.redis.Set(t.Context(), "revalidator:epoch", "b1b5", 0).Err())
	if _, err := f.of(shop).Epoch(t.Context()); !errors.Is(err, jobs.ErrNotOwner) {
		t.Errorf("epoch: got %v, want %v", err, jobs.ErrNotOwner)
	}
	_, err := f.of(shop).Adopt(t.Context())
	f.must(err)
	if _, err := f.of(shop).Epoch(t.Context()); err != nil {
		t.Error(err)
	}
}
