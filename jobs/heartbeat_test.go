package jobs_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

func TestHeartbeat(t *testing.T) {
	f := open(t)
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"nobody", func() error { return nil }, []string{}},
		{"first", func() error { return f.Beat(t.Context(), "host/1") }, []string{"host/1"}},
		{"again", func() error { return f.Beat(t.Context(), "host/1") }, []string{"host/1"}},
		{"second", func() error { return f.Beat(t.Context(), "host/2") }, []string{"host/1", "host/2"}},
		{"silent for a minute", func() error {
			return f.lastBeat("host/1", time.Now().Add(-time.Minute))
		}, []string{"host/2"}},
		{"left", func() error { return f.Leave(t.Context(), "host/2") }, []string{}},
		{"left twice", func() error { return f.Leave(t.Context(), "host/2") }, []string{}},
	}
	for _, step := range steps {
		f.must(step.do())
		got, err := f.Schedulers(t.Context())
		f.must(err)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: schedulers (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestHeartbeatsAreForgotten holds the names of schedulers that were killed to
// not piling up.
func TestHeartbeatsAreForgotten(t *testing.T) {
	f := open(t)
	f.must(f.lastBeat("host/1", time.Now().Add(-time.Minute)))
	f.must(f.Beat(t.Context(), "host/2"))
	names, err := f.redis.ZRange(t.Context(), schedulersKey, 0, -1).Result()
	f.must(err)
	if diff := cmp.Diff([]string{"host/2"}, names); diff != "" {
		t.Errorf("names that are kept (-want +got):\n%s", diff)
	}
	life, err := f.redis.PTTL(t.Context(), schedulersKey).Result()
	f.must(err)
	if life <= 0 {
		t.Error("the names stay for ever once nobody is at work")
	}
}

const schedulersKey = "revalidator:schedulers"

// lastBeat has a scheduler fall silent.
func (f fixture) lastBeat(name string, at time.Time) error {
	return f.redis.ZAdd(f.t.Context(), schedulersKey, redis.Z{Score: float64(at.UnixMilli()), Member: name}).Err()
}
