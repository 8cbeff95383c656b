package claim_test

import (
	"errors"
	"testing"

	"revalidator/internal/claim"
)

func TestState(t *testing.T) {
	t.Parallel()
	due := claim.State{Generation: 3, Due: true}
	held, ok := due.Claim()
	if want := (claim.State{Generation: 4, Claimed: true, Due: true}); !ok || held != want {
		t.Errorf("claim: got %+v and %t, want %+v", held, ok, want)
	}
	for name, r := range map[string]claim.State{"claimed": held, "not due": {Generation: 3}} {
		if next, ok := r.Claim(); ok || next != r {
			t.Errorf("claim of one that is %s: got %+v and %t, want none", name, next, ok)
		}
	}
	if done, stored := held.Save(4, false); !stored || done != (claim.State{Generation: 4}) {
		t.Errorf("save: got %+v and %t", done, stored)
	}
	if back, stored := held.Save(4, true); !stored || back != (claim.State{Generation: 4, Due: true}) {
		t.Errorf("save of one that stays due: got %+v and %t", back, stored)
	}
	if free := held.Release(); free != (claim.State{Generation: 4, Due: true}) {
		t.Errorf("release: got %+v", free)
	}
	for name, r := range map[string]struct {
		receipt    claim.State
		generation int64
	}{"an older claim": {held, 3}, "a later claim": {held, 5}, "a claim that has ended": {held.Release(), 4}} {
		if next, stored := r.receipt.Save(r.generation, false); stored || next != r.receipt {
			t.Errorf("save under %s: got %+v and %t, want nothing", name, next, stored)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	if claim.FollowsEpoch("a", "a") || !claim.FollowsEpoch("a", "b") || !claim.FollowsEpoch("", "a") {
		t.Error("claims are released where the epoch is another one, and only there")
	}
	for state, want := range map[string]bool{
		"pending": true, "active": true, "scheduled": true, "retry": true, "completed": false, "archived": false, "": false,
	} {
		if got := claim.HasTask(state); got != want {
			t.Errorf("a task that is %q: got %t, want %t", state, got, want)
		}
	}
	if !claim.RunIsOver(0, false) || claim.RunIsOver(1, false) || claim.RunIsOver(0, true) {
		t.Error("a run is over when nothing is claimed, and nothing is due or claimed")
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	free, held := claim.State{Generation: 2, Due: true}, claim.State{Generation: 3, Claimed: true, Due: true}
	ended := claim.State{Generation: 3}
	for name, test := range map[string]struct {
		before, after claim.State
		stored        bool
		want          claim.Step
	}{
		"claim":                      {free, held, false, claim.StepClaim},
		"save":                       {held, ended, true, claim.StepSave},
		"save that stays due":        {held, held.Release(), true, claim.StepSave},
		"release":                    {held, held.Release(), false, claim.StepRelease},
		"due again":                  {ended, claim.State{Generation: 3, Due: true}, false, claim.StepOther},
		"nothing":                    {held, held, false, claim.StepOther},
		"result without a claim":     {ended, ended, true, ""},
		"result that keeps it":       {held, held, true, ""},
		"claim of one that is held":  {held, claim.State{Generation: 4, Claimed: true, Due: true}, false, ""},
		"claim of one not due":       {ended, claim.State{Generation: 4, Claimed: true}, false, ""},
		"claim without a generation": {free, claim.State{Generation: 2, Claimed: true, Due: true}, false, ""},
		"generation back":            {held, claim.State{Generation: 2, Due: true}, false, ""},
		"generation that jumps":      {free, claim.State{Generation: 4, Claimed: true, Due: true}, false, ""},
	} {
		got, err := claim.Explain(test.before, test.after, test.stored)
		if got != test.want || (test.want == "") != errors.Is(err, claim.ErrStep) {
			t.Errorf("%s: got %q and %v, want %q", name, got, err, test.want)
		}
	}
}
