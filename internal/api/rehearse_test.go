package api_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/rehearsal"
)

// told is a rehearsal that notes who may read arguments.
type told struct {
	idle
	heard *[]string
}

func (t told) note(what string, sealed bool) {
	*t.heard = append(*t.heard, fmt.Sprint(what, " ", sealed))
}

func (t told) Simulate(_ context.Context, _ string, _ admin.Draft, _ time.Duration, sealed bool) (rehearsal.Status, error) {
	t.note("simulate", sealed)
	return rehearsal.Status{}, nil
}

func (t told) Simulated(sealed bool) rehearsal.Status {
	t.note("status", sealed)
	return rehearsal.Status{}
}

func (t told) Stop(sealed bool) rehearsal.Status {
	t.note("stop", sealed)
	return rehearsal.Status{}
}

func (t told) Replay(_ context.Context, _ api.Replay, sealed bool) (rehearsal.Report, error) {
	t.note("replay", sealed)
	return rehearsal.Report{}, nil
}

// Who may try rules and may not read evidence tries them without the arguments of
// calls, by every way there is.
func TestTryingRulesOpensNoArgumentsToOperators(t *testing.T) {
	var heard []string
	r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Rehearsal = told{heard: &heard} })
	r.apply(people)
	for user, sealed := range map[string]bool{"oper": false, "aud": true, "root": true} {
		heard = nil
		token := r.personal(user).Token
		for _, call := range [][3]string{{"POST", "/api/v1/policies/simulate", "{}"}, {"GET", "/api/v1/policies/simulate", ""},
			{"POST", "/api/v1/policies/simulate/stop", "{}"}, {"POST", "/api/v1/policies/replay", "{}"}} {
			if a := r.as(token, call[0], call[1], call[2]); a.status != 200 {
				t.Errorf("%s %s as %s: %d %s", call[0], call[1], user, a.status, a.body)
			}
		}
		if want := fmt.Sprintf("[simulate %v status %v stop %v replay %v]", sealed, sealed, sealed, sealed); fmt.Sprint(heard) != want {
			t.Errorf("%s is heard as %v, want %s", user, heard, want)
		}
	}
}
