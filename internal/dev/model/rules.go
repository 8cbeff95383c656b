package model

import "revalidator/internal/claim"

// rules are what the exploration is about. Tests change one of them, to show that it
// is found.
type rules struct {
	claim func(r claim.State) (claim.State, bool)
	holds func(r claim.State, generation int64) bool
	save  func(r claim.State, generation int64, staysDue bool) (claim.State, bool)
	// follows reports whether all claims are released for an epoch.
	follows func(known, found string) bool
	// hasTask reports whether a task that has the id of a claim already is the
	// claim's; else it is replaced.
	hasTask func(state string) bool
	// left reports whether a receipt keeps its run from ending, and isOver whether the
	// run ends.
	left   func(r claim.State) bool
	isOver func(claimedNow int, dueOrClaimed bool) bool
	// newer reports whether facts replace the stored ones. The program asks that of
	// each group of facts, in internal/iap.
	newer func(stored, told uint8) bool
	// counts reports whether a result adds to the totals of the run.
	counts func(stored, staysDue bool) bool
	// expires is whether leases run out.
	expires bool
}

func ruled() rules {
	return rules{
		claim:   claim.State.Claim,
		holds:   claim.State.Holds,
		save:    claim.State.Save,
		follows: claim.FollowsEpoch,
		hasTask: claim.HasTask,
		left:    func(r claim.State) bool { return r.Due || r.Claimed },
		isOver:  claim.RunIsOver,
		newer:   func(stored, told uint8) bool { return told > stored },
		counts:  func(stored, staysDue bool) bool { return stored && !staysDue },
		expires: true,
	}
}
