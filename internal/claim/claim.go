// Package claim holds the rules of the claim protocol as pure functions: who may
// check a receipt, whose outcome is stored, and when a run is over; and what passes
// between scheduler, worker and repository under a claim. Where claims are kept, in
// SQL and in Redis, it leaves to repository and jobs, which tests hold to these rules;
// what follows from them internal/dev/model explores.
package claim

import (
	"errors"
	"fmt"
)

// State is what the protocol keeps of a receipt in Postgres.
type State struct {
	// Generation is raised by each claim.
	Generation int64
	// Claimed is whether the claim of that generation has not ended.
	Claimed bool
	// Due is whether the receipt is to be checked now.
	Due bool
}

// Claim claims the receipt; ok is false where it is not due, or somebody has it.
func (r State) Claim() (next State, ok bool) {
	if !r.Due || r.Claimed {
		return r, false
	}
	r.Generation++
	r.Claimed = true
	return r, true
}

// Holds reports whether the claim of a generation has not ended. Both parts are
// needed: a result of an older claim is of another generation, and one that comes
// twice finds its claim ended.
func (r State) Holds(generation int64) bool {
	return r.Claimed && r.Generation == generation
}

// Save stores the result of the claim of a generation, which ends by that. A result
// may leave the receipt due. stored is false, and nothing changes, where the claim is
// not held.
func (r State) Save(generation int64, staysDue bool) (next State, stored bool) {
	if !r.Holds(generation) {
		return r, false
	}
	r.Claimed = false
	r.Due = staysDue
	return r, true
}

// Release ends the claim without a result, when its lease has run out or its task is
// gone: the receipt is due as it was.
func (r State) Release() State {
	r.Claimed = false
	return r
}

// FollowsEpoch reports whether a queue of an epoch is another than the one of which
// the database knows: then every claim is released.
func FollowsEpoch(known, found string) bool { return known != found }

// HasTask reports whether a task in a state of asynq's is a sign that its claim is
// worked on. One that has ended is none, although Redis keeps its id.
func HasTask(state string) bool {
	switch state {
	case "pending", "active", "scheduled", "retry":
		return true
	}
	return false
}

// RunIsOver reports whether a run has nothing to wait for: nothing was claimed for
// it just now, and nothing of it is due or claimed.
func RunIsOver(claimedNow int, dueOrClaimed bool) bool { return claimedNow == 0 && !dueOrClaimed }

// Step is what happened to a receipt between two moments.
type Step string

// The steps.
const (
	StepClaim   Step = "claim"
	StepSave    Step = "save"
	StepRelease Step = "release"
	// StepOther leaves the claim as it is.
	StepOther Step = "other"
)

// ErrStep is a change of a receipt that the rules do not allow.
var ErrStep = errors.New("not a step of the claim protocol")

// Explain names the step that leads from one state of a receipt to another; stored
// says that a result was stored by it. Its error is ErrStep. When a receipt is due
// others may say too, so that Due is looked at for claims only.
func Explain(before, after State, stored bool) (Step, error) {
	same := func(r State) bool { return r.Generation == after.Generation && r.Claimed == after.Claimed }
	if claimed, ok := before.Claim(); ok && !stored && same(claimed) {
		return StepClaim, nil
	}
	if saved, ok := before.Save(before.Generation, after.Due); ok && stored && same(saved) {
		return StepSave, nil
	}
	if before.Claimed && !stored && same(before.Release()) {
		return StepRelease, nil
	}
	if same(before) && !stored {
		return StepOther, nil
	}
	return "", fmt.Errorf("%w: from %+v to %+v, result stored: %t", ErrStep, before, after, stored)
}
