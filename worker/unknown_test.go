package worker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestUnknownFieldsAreToldOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := newUnknownFields(slog.New(slog.NewTextHandler(&log, nil)))
	if got := o.note(1, map[string]int{"new_key": 3, "other": 1}); got != 4 {
		t.Errorf("counted %d, want 4", got)
	}
	if got := o.note(2, map[string]int{"new_key": 2}); got != 2 {
		t.Errorf("counted %d, want 2", got)
	}
	if got := strings.Count(log.String(), "name=new_key"); got != 1 {
		t.Errorf("told of %d times, want once:\n%s", got, log.String())
	}
}

func TestUnknownFieldsAreBounded(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := newUnknownFields(slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 2 * mostUnknown {
		o.note(1, map[string]int{fmt.Sprint("key", i): 1})
	}
	if got := strings.Count(log.String(), "\n"); got != mostUnknown {
		t.Errorf("told of %d names, want %d", got, mostUnknown)
	}
}
