package mcpproxy

import (
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// ownArgs reads the arguments of one of the gateway's own tools. The first fault
// counts, and done finds what nobody read.
type ownArgs struct {
	v    rawjson.Value
	read []string
	err  error
}

func (a *ownArgs) fail(format string, args ...any) {
	if a.err == nil {
		a.err = access.Errorf(access.CodeInvalid, format, args...)
	}
}

func (a *ownArgs) get(name string) rawjson.Value {
	a.read = append(a.read, name)
	return a.v.Get(name)
}

// text is a string, "" where it is not there.
func (a *ownArgs) text(name string) string {
	v := a.get(name)
	s, ok := v.Str()
	if v.Exists() && !ok {
		a.fail("%s must be a string", name)
	}
	return s
}

// needed is a string that must be there.
func (a *ownArgs) needed(name string) string {
	s := a.text(name)
	if s == "" {
		a.fail("%s is required", name)
	}
	return s
}

// whole is a number from 1 to most, 0 where it is not there.
func (a *ownArgs) whole(name string, most int64) int64 {
	v := a.get(name)
	if !v.Exists() {
		return 0
	}
	n, ok := v.Int64()
	if !ok || n < 1 || n > most {
		a.fail("%s must be a whole number from 1 to %d", name, most)
		return 0
	}
	return n
}

// seconds is a time to live.
func (a *ownArgs) seconds(name string) time.Duration {
	return time.Duration(a.whole(name, 86_400)) * time.Second
}

func (a *ownArgs) done() error {
	for k := range a.v.Members() {
		if name, _ := k.Str(); !slices.Contains(a.read, name) {
			a.fail("there is an argument this tool does not have; it has %q", a.read)
		}
	}
	return a.err
}

// constraints reads what calls must meet, nil where nothing is said.
func (a *ownArgs) constraints(name string) grant.Constraints {
	v := a.get(name)
	if !v.Exists() {
		return nil
	}
	c, err := grant.ReadConstraints(v)
	if err != nil {
		a.fail("%w", err)
	}
	return c
}

// limits reads what bounds a grant besides.
func (a *ownArgs) limits(name string) (grant.Limits, bool) {
	v := a.get(name)
	if !v.Exists() {
		return grant.Limits{}, false
	}
	l, err := grant.ReadLimits(v)
	if err != nil {
		a.fail("%w", err)
	}
	return l, true
}

// handover reads what an agent hands on.
func (a *ownArgs) handover() (grant.Handover, error) {
	h := grant.Handover{Grant: a.needed("grant"), To: a.needed("agent"), Args: a.constraints("constraints"), Uses: a.whole("uses", 1_000_000),
		Life: a.seconds("ttlSeconds"), MaxDepth: int(a.whole("maxDepth", grant.MaxDepth)), Reason: a.needed("reason")}
	h.Limits, _ = a.limits("limits")
	return h, a.done()
}

// wish reads what an agent asks for.
func (a *ownArgs) wish() (grant.Ask, error) {
	var w grant.Ask
	w.Target = grant.Target{Server: a.needed("server"), Name: a.needed("tool")}
	w.Scope, w.Reason = grant.Scope(a.needed("scope")), a.needed("reason")
	w.Life, w.Uses = a.seconds("ttlSeconds"), a.whole("uses", 1_000_000)
	w.Args = a.get("arguments")
	w.Wanted = a.constraints("constraints")
	limits, limited := a.limits("limits")
	w.Limits = limits
	switch w.Scope {
	case grant.ScopeOnce:
		switch {
		case w.Args.Kind() != rawjson.Object:
			a.fail("the scope once needs arguments: an object, exactly as the call will have it, {} for none")
		case w.Wanted != nil || limited || w.Uses > 1:
			a.fail("constraints, limits and uses belong to the scopes task and time: once is exactly one call")
		}
	case grant.ScopeTask, grant.ScopeTime:
		if w.Args.Exists() {
			a.fail("arguments belong to the scope once: give constraints, which every call must meet")
		}
	default:
		a.fail("scope must be once, task or time")
	}
	return w, a.done()
}
