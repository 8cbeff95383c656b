package main

import (
	"os"
	"runtime/debug"
)

const (
	// collectAt has garbage collected when there is four times as much of it as of
	// what is in use, which a worker has little of: the collector goes round a fourth
	// as often as by default.
	collectAt = 400
	// idleBytes is what a worker takes without any active receipt.
	idleBytes = 1 << 20
)

// boundMemory has the garbage collector keep a worker within its budget of
// memory, and work the less the further away that is. What was set for Go itself
// comes first.
func (s *parts) boundMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(s.cfg.Worker.MemoryBytes + idleBytes)
	}
}
