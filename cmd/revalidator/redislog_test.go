package main

import (
	"strings"
	"testing"
)

// TestRedisLog has a Redis away. It is not parallel, because the client has one
// log for the whole process.
func TestRedisLog(t *testing.T) {
	s := newSession(t)
	s.set("REDIS_URL", "redis://"+closedPort+"/0")
	s.set("REVALIDATOR_LOG_LEVEL", "debug")
	if o := s.run(t, "status"); !strings.Contains(o.stderr, `level=DEBUG msg="redis client" text="`) {
		t.Errorf("the client's log is not in ours:\n%s", o.stderr)
	}
}
