package registry

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// AgentExpired is what AgentStatus answers past Agent.Expires. It is never
// stored.
const AgentExpired AgentState = "expired"

// The values of Server.Pinning. The empty value enforces.
const (
	PinningEnforce = "enforce"
	PinningObserve = "observe"

	// Those of Server.Inspection. The empty value enforces.
	InspectionEnforce = "enforce"
	InspectionObserve = "observe"
	InspectionOff     = "off"
)

// AgentStatus returns the state that counts at now: the stored one, or expired.
// An agent without an end date is expired: every agent has one.
func AgentStatus(a Agent, now time.Time) AgentState {
	if a.State == AgentActive && !now.Before(a.Expires) {
		return AgentExpired
	}
	return a.State
}

// Usable returns nil if the agent may act at now, else a CodeDenied error that
// says why not and what would help.
func Usable(a Agent, now time.Time) error {
	ask := "ask " + a.Owner
	if a.Owner == "" {
		return access.Errorf(access.CodeDenied, "agent %q has no owner; an operator must name one", a.ID)
	}
	switch s := AgentStatus(a, now); s {
	case AgentActive:
		return nil
	case AgentExpired:
		return access.Errorf(access.CodeDenied, "agent %q expired at the end of %s; %s to renew it", a.ID, a.Expires.UTC().Add(-time.Nanosecond).Format(time.DateOnly), ask)
	case AgentSuspended, AgentQuarantined, AgentRetired:
		return access.Errorf(access.CodeDenied, "agent %q is %s; %s", a.ID, s, ask)
	default:
		return access.Errorf(access.CodeDenied, "agent %q is in an unknown state; %s", a.ID, ask)
	}
}

// Verb is a change of state a person or the system asks for.
type Verb string

// The verbs. Which object knows which is in the tables below.
const (
	VerbSuspend    Verb = "suspend"
	VerbResume     Verb = "resume"
	VerbTriage     Verb = "triage"
	VerbApprove    Verb = "approve"
	VerbDeprecate  Verb = "deprecate"
	VerbQuarantine Verb = "quarantine"
	VerbBlock      Verb = "block"
	VerbRelease    Verb = "release"
	VerbRetire     Verb = "retire"
)

// A rule says where a verb leads and from where it may start.
type rule[S ~string] struct {
	verb Verb
	to   S
	from []S
}

// agentRules and serverRules are the whole life of an agent and of a server.
// Retired is the end: the id stays a tombstone.
func agentRules() []rule[AgentState] {
	return []rule[AgentState]{
		{VerbSuspend, AgentSuspended, []AgentState{AgentActive}},
		{VerbResume, AgentActive, []AgentState{AgentSuspended, AgentQuarantined}},
		{VerbQuarantine, AgentQuarantined, []AgentState{AgentActive, AgentSuspended}},
		{VerbRetire, AgentRetired, []AgentState{AgentActive, AgentSuspended, AgentQuarantined}},
	}
}

func serverRules() []rule[ServerState] {
	return []rule[ServerState]{
		{VerbTriage, ServerTriaged, []ServerState{ServerDiscovered}},
		{VerbApprove, ServerSanctioned, []ServerState{ServerDiscovered, ServerTriaged, ServerDeprecated, ServerQuarantined}},
		{VerbDeprecate, ServerDeprecated, []ServerState{ServerSanctioned}},
		{VerbQuarantine, ServerQuarantined, []ServerState{ServerDiscovered, ServerTriaged, ServerSanctioned, ServerDeprecated}},
		{VerbBlock, ServerBlocked, []ServerState{ServerDiscovered, ServerTriaged, ServerSanctioned, ServerDeprecated, ServerQuarantined}},
		{VerbRelease, ServerTriaged, []ServerState{ServerQuarantined, ServerBlocked}},
		{VerbRetire, ServerRetired, []ServerState{ServerDiscovered, ServerTriaged, ServerSanctioned, ServerDeprecated, ServerQuarantined, ServerBlocked}},
	}
}

func toolRules() []rule[ToolState] {
	return []rule[ToolState]{
		{VerbQuarantine, ToolQuarantined, []ToolState{ToolPending, ToolApproved, ToolChanged, ToolAbsent}},
		{VerbBlock, ToolBlocked, []ToolState{ToolPending, ToolApproved, ToolChanged, ToolAbsent, ToolQuarantined}},
		{VerbRelease, ToolPending, []ToolState{ToolQuarantined, ToolBlocked}},
		{VerbRetire, ToolRetired, []ToolState{ToolPending, ToolApproved, ToolChanged, ToolAbsent, ToolQuarantined, ToolBlocked}},
	}
}

func next[S ~string](what string, rules []rule[S], verb Verb, from S) (S, error) {
	for _, r := range rules {
		if r.verb != verb {
			continue
		}
		if slices.Contains(r.from, from) {
			return r.to, nil
		}
		return "", access.Errorf(access.CodeConflict, "%s is %s: %s needs it to be %s", what, word(from), verb, oneOf(r.from))
	}
	return "", access.Errorf(access.CodeConflict, "%s is %s: it cannot be asked to %s", what, word(from), verb)
}

// ChangeAgent returns the agent after by asked for verb, or a CodeConflict error that names
// its state.
func ChangeAgent(a Agent, verb Verb, by, why string, now time.Time) (Agent, error) {
	to, err := next(fmt.Sprintf("agent %q", a.ID), agentRules(), verb, a.State)
	if err != nil {
		return Agent{}, err
	}
	a.State, a.StateBy, a.StateWhy, a.Changed = to, by, why, now
	return a, nil
}

// ChangeServer returns the server after by asked for verb, or a CodeConflict error that
// names its state. A server without an owner can only be quarantined, blocked
// or retired.
func ChangeServer(s Server, verb Verb, by, why string, now time.Time) (Server, error) {
	to, err := next(fmt.Sprintf("server %q", s.ID), serverRules(), verb, s.State)
	if err != nil {
		return Server{}, err
	}
	if s.Owner == "" && to != ServerQuarantined && to != ServerBlocked && to != ServerRetired {
		return Server{}, access.Errorf(access.CodeConflict, "server %q has no owner: name one in its manifest before it can be %s", s.ID, to)
	}
	s.State, s.StateBy, s.StateWhy, s.Changed = to, by, why, now
	return s, nil
}

// ChangeTool returns the tool after verb, or a CodeConflict error that names its
// state. A released tool that was pinned counts as changed until the next
// listing, so that releasing never approves.
func ChangeTool(t Tool, verb Verb) (Tool, error) {
	to, err := next(fmt.Sprintf("%s %q of server %q", t.Kind(), t.Bare(), t.Server), toolRules(), verb, t.State)
	if err != nil {
		return Tool{}, err
	}
	if to == ToolPending && t.PinDigest != "" {
		to = ToolChanged
	}
	t.State, t.Drift = to, nil // whoever does this says more than how it changed
	return t, nil
}

// MaxDescription bounds what a server's manifest says of it, in characters: what
// the official registry allows.
const MaxDescription = 100

// exactVersion is a version as the official registry takes it: no range.
var exactVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]{0,127}$`)

// CheckVersion returns what is wrong with the version of a server, "" if nothing.
func CheckVersion(v string) string {
	wild := func(part string) bool { return part == "x" || part == "X" }
	if !exactVersion.MatchString(v) || v == "latest" || slices.ContainsFunc(strings.Split(v, "."), wild) {
		return "must be an exact version such as 1.4.2: at most 128 letters, digits, dots, +, - and _, no range"
	}
	return ""
}

// ServerVerb returns the verb that leads from one state to the other, "" if no
// single step does.
func ServerVerb(from, to ServerState) Verb { return verbFor(serverRules(), from, to) }

// AgentVerb returns the verb that leads from one state to the other, "" if no
// single step does.
func AgentVerb(from, to AgentState) Verb { return verbFor(agentRules(), from, to) }

func verbFor[S ~string](rules []rule[S], from, to S) Verb {
	for _, r := range rules {
		if r.to == to && slices.Contains(r.from, from) {
			return r.verb
		}
	}
	return ""
}

func word[S ~string](s S) string {
	if s == "" {
		return "in no known state"
	}
	return string(s)
}

func oneOf[S ~string](states []S) string {
	out := ""
	for i, s := range states {
		switch {
		case i == 0:
		case i == len(states)-1:
			out += " or "
		default:
			out += ", "
		}
		out += string(s)
	}
	return out
}
