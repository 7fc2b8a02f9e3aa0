package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// The guards of the life of servers (discovery.md section 16). Three always hold:
// a server that is used has an owner, whoever asked for its review is not its
// reviewer, and what is deprecated has an end. The others warn, or refuse where
// the configuration says so.

// Guards says what is done where a guard is not met.
type Guards string

// The values of Config.Guards. The zero value warns.
const (
	GuardsWarn    Guards = "warn"
	GuardsEnforce Guards = "enforce"
)

// idleTime is how long a server must not have been used before it is retired.
const idleTime = 30 * 24 * time.Hour

// Unmet is a guard that is not met.
type Unmet struct {
	Guard string `json:"guard"`
	Why   string `json:"why"` // with what helps
}

// LastUse says when a server was last used, zero if not since then, and whether
// evidence was kept all the time since then.
type LastUse func(ctx context.Context, server string, since time.Time) (last time.Time, whole bool, err error)

// outside is what guards know from outside the catalog.
type outside struct {
	secrets map[string]bool // ids of sealed credentials
	last    time.Time
	whole   bool // the evidence goes back far enough
	asked   bool // whether the two above were asked for
}

// Checklist says what stands against the next step of a server: against
// sanctioning it, or retiring it where it is deprecated.
func (a *Admin) Checklist(ctx context.Context, id string) ([]Unmet, error) {
	s, ok := a.Current().View.Server(id)
	verb := registry.VerbApprove
	switch {
	case !ok || s.State == registry.ServerSanctioned || s.State == registry.ServerRetired:
		return nil, nil
	case s.State == registry.ServerDeprecated:
		verb = registry.VerbRetire
	}
	known, err := a.look(ctx, id, verb)
	if err != nil {
		return nil, err
	}
	out := a.unmet(a.Current(), s, verb, known)
	if s.Owner == "" {
		out = append(out, Unmet{"owner", fmt.Sprintf("nobody owns it: use rutile server own %s OWNER", id)})
	}
	return out, nil
}

// look gathers what the guards of a verb need, before the state is locked.
func (a *Admin) look(ctx context.Context, id string, verb registry.Verb) (outside, error) {
	var o outside
	if verb != registry.VerbApprove && verb != registry.VerbRetire {
		return o, nil
	}
	var err error
	if o.secrets, err = a.secrets(ctx); err != nil {
		return o, err
	}
	if verb == registry.VerbRetire && a.lastUse != nil {
		o.asked = true
		if o.last, o.whole, err = a.lastUse(ctx, id, a.now().Add(-idleTime)); err != nil {
			return o, fmt.Errorf("finding out when server %q was last used: %w", id, err)
		}
	}
	return o, nil
}

// unmet returns the guards of a verb that a server does not meet.
func (a *Admin) unmet(cur *Current, s registry.Server, verb registry.Verb, o outside) []Unmet {
	var out []Unmet
	add := func(guard, format string, args ...any) {
		out = append(out, Unmet{guard, fmt.Sprintf(format, args...)})
	}
	switch verb {
	case registry.VerbTriage, registry.VerbApprove:
		if len(s.DataScopes) == 0 {
			add("scopes", "no data scope is set: say dataScopes in its manifest, or rutile server triage %s --data-scope", s.ID)
		}
	}
	switch verb {
	case registry.VerbApprove:
		if !pinnedCommand(s) {
			add("version", "it %s: name the exact version", notPinned)
		}
		if c := s.Credential; c != nil && !o.secrets[c.Ref] {
			if _, declared := cur.Sources[c.Ref]; !declared {
				add("credential", "credential %q is not stored: use rutile credential set %s", c.Ref, c.Ref)
			}
		}
		if n := differing(cur, s.ID); s.Baseline != nil && n > 0 {
			add("baseline", "%d of its definitions are not what was approved: see rutile tool list --server %s", n, s.ID)
		}
		if why := registry.Orphaned(cur.View, s.Owner, a.now()); why != "" && s.Owner != "" {
			add("owner", "%s: use rutile server own %s OWNER", why, s.ID)
		}
	case registry.VerbDeprecate:
		if s.Replacement == "" {
			add("replacement", "nothing is named to use instead")
		} else if st := cur.View.ServerStanding(s.Replacement); !st.OK {
			add("replacement", "what is to be used instead cannot be: %s", st.Why)
		}
	case registry.VerbRetire:
		switch {
		case !o.asked:
		case !o.last.IsZero():
			add("unused", "it was used on %s: wait until it has not been for %d days", o.last.UTC().Format(time.DateOnly), idleTime/(24*time.Hour))
		case !o.whole:
			add("unused", "the evidence does not go back %d days", idleTime/(24*time.Hour))
		}
		if c := s.Credential; c != nil && o.secrets[c.Ref] && !usedElsewhere(cur, s.ID, c.Ref) {
			add("credential", "credential %q is still stored and nothing else uses it: use rutile credential remove %s", c.Ref, c.Ref)
		}
	}
	return out
}

func differing(cur *Current, server string) int {
	n := 0
	for _, t := range cur.View.Tools(server) {
		if t.State != registry.ToolApproved && t.Approvable() {
			n++
		}
	}
	return n
}

func usedElsewhere(cur *Current, server, ref string) bool {
	return slices.ContainsFunc(cur.View.Servers(), func(s registry.Server) bool {
		return s.ID != server && s.State != registry.ServerRetired && s.Credential != nil && s.Credential.Ref == ref
	})
}

// guard refuses what is not met where guards are enforced.
func (a *Admin) guard(s registry.Server, verb registry.Verb, unmet []Unmet) error {
	if a.cfg.Guards != GuardsEnforce || len(unmet) == 0 {
		return nil
	}
	var why []string
	for _, u := range unmet {
		why = append(why, u.Guard+": "+u.Why)
	}
	return access.Errorf(access.CodeConflict, "server %q cannot be asked to %s yet: %s", s.ID, verb, strings.Join(why, "; "))
}

// fields shows guards that are not met in the evidence of the change that went on
// all the same.
func guardFields(unmet []Unmet) []FieldChange {
	var out []FieldChange
	for _, u := range unmet {
		why, err := json.Marshal(u.Why)
		if err != nil {
			continue // a string always is JSON
		}
		out = append(out, FieldChange{Field: "guard." + u.Guard, After: why})
	}
	return out
}

// sameReviewer says that who asked for a review cannot answer it.
func sameReviewer(s registry.Server) string {
	return fmt.Sprintf("server %q waits for somebody else's review: %s asked for it", s.ID, s.Asked.By)
}

// expiring sets when a sanction is to be looked at again, unless a day that is
// still to come was set.
func expiring(s registry.Server, tier int, now time.Time) registry.Server {
	if !s.Expires.After(now) {
		day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
		s.Expires = day.AddDate(0, 0, defaultLife(tier)+1)
	}
	return s
}
