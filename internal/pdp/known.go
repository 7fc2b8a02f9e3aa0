package pdp

import (
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Known reports whether the registry knows the agent, the server and the definition
// r is about, whatever their standing: without them there are no facts to judge it on.
func Known(s *State, r *access.Request) bool {
	if _, ok := s.View.Agent(r.Who.Actor.Agent); !ok {
		return false
	}
	if _, ok := s.View.Server(r.Server); !ok {
		return false
	}
	kind, ok := map[access.Kind]registry.Kind{access.KindTool: registry.KindTool, access.KindPrompt: registry.KindPrompt}[r.Kind]
	if !ok {
		return true
	}
	_, ok = s.View.Tool(r.Server, registry.NameOf(kind, r.Target))
	return ok
}

// Withdrawn says why the agent of a call that runs, or its server, may not be used any
// more, by whatever a person or time decided; "" where they may. What policies and
// definitions are by now is not looked at: the call was decided on as they were.
func Withdrawn(s *State, r *access.Request, at time.Time) (agent, server string) {
	if s == nil || s.View == nil {
		return "", ""
	}
	if id := r.Who.Actor.Agent; id != "" {
		if a, ok := s.View.Agent(id); !ok {
			agent = "agent " + quote(id) + " is not registered"
		} else if err := registry.Usable(a, at); err != nil {
			agent, _, _ = strings.Cut(err.Error(), "; ") // whom to ask is said beside it
		}
	}
	return agent, s.View.ServerStanding(r.Server).Why
}

// Surveyed is what is decided of a target whatever the arguments, the person and the
// session.
type Surveyed struct {
	Outcome access.Outcome // that enforcing would have, of a call without a grant
	Maybe   bool           // some call would be permitted although not every one is
	Permits []string       // that match
	Open    []string       // permits that match some calls
	Forbids []string       // that match
}

// Survey decides r with its arguments, its person and its session unknown.
func Survey(s *State, r *access.Request) Surveyed {
	q := *r
	q.Unknown = true
	f := GatherFacts(s, &q)
	if f.refusal.class != "" {
		return Surveyed{}
	}
	f.Query.Whoever = true
	v := s.Set.Evaluate(&f.Query)
	if v.Maybe && len(v.Asks) > 0 { // what is not forbidden has to be approved
		v.Outcome, v.Maybe = access.RequireApproval, false
	}
	var d access.Decision
	f.answer(&d, &q, &v)
	return Surveyed{d.Outcome, v.Maybe, v.Permits, v.Open, v.Forbids}
}

// Permitting returns the statements that permit some call under g, which is in force at
// that time, and reports whether there is such a call.
func Permitting(s *State, g *grant.Grant, at time.Time) (by []string, ok bool) {
	r := access.Request{At: at, Protocol: "mcp", Method: "tools/call", Server: g.Target.Server, Kind: g.Target.Kind, Target: g.Target.Name, Unknown: true,
		Who: access.Identity{Actor: access.Actor{Agent: g.Party.Agent, Attested: true}, Subject: access.Subject{Issuer: g.Party.Issuer, ID: g.Party.Subject}, Session: g.Session, Task: g.Task}}
	switch g.Target.Kind {
	case access.KindPrompt:
		r.Method = "prompts/get"
	case access.KindResource:
		r.Method = "resources/read"
	}
	f := GatherFacts(s, &r)
	if f.refusal.class != "" || !g.Covers(f.call(&r)) {
		return nil, false
	}
	f.Query.Grant = factsOf(g)
	v := s.Set.Evaluate(&f.Query)
	return append(v.Permits, v.Open...), passes(v.Outcome) > 0 || v.Maybe
}

// Past is what is known of a request that policies decided before.
type Past struct {
	Digest string // of the definition then, "" if it had none
	Tier   int
	Grant  *policy.GrantFacts // it was permitted under, nil if none
}

// Again is what the policies of s say of a request that policies decided before:
// the agent was active and the definition approved then, whatever they are now.
// The verdict is Maybe where it depends on arguments that are Unknown, and for
// them also where some would have to be masked.
func Again(s *State, r *access.Request, p Past) policy.Verdict {
	f := factsThen(s, r, p)
	v := s.Set.Evaluate(&f.Query)
	if v.Outcome != access.Mask {
		return v
	}
	if r.Unknown {
		v.Maybe = true
		return v
	}
	v, _ = f.mask(s, &v, r)
	return v
}

// factsThen are the facts about a request that policies decided before.
func factsThen(s *State, r *access.Request, p Past) Facts {
	f := GatherFacts(s, r)
	q := &f.Query
	q.Agent.Status, q.Tool.Pinned, q.Grant = "active", true, p.Grant
	if p.Digest != "" {
		q.Tool.Digest, q.Tool.Tier = p.Digest, p.Tier
	}
	return f
}

// Why is why the policies of a State answer a request as they do, for people.
type Why struct {
	policy.Explanation
	Reason, Help string         // as the agent is told, "" where it is permitted
	Read         []policy.Input // by the rules that were asked about
}

// WhyAgain says why the policies of s answer a request that policies decided before as
// Again says they do, and what the rules with these ids read.
func WhyAgain(s *State, r *access.Request, p Past, ids []string) Why {
	f := factsThen(s, r, p)
	w := Why{Explanation: s.Set.Explain(&f.Query), Read: s.Set.Inputs(&f.Query, ids)}
	if w.Verdict.Outcome != access.Permit {
		_, w.Reason, w.Help = explain(&f, r, &w.Verdict)
	}
	return w
}

// Beside decides r by s with the facts that were looked up for the decision that
// counted. certain is false where the policies of s read others and the verdict
// depends on them.
func Beside(s *State, r *access.Request) (d access.Decision, certain bool) {
	q := *r
	if q.Facts != nil {
		f := GatherFacts(s, &q)
		for _, id := range s.Set.FactsOf(&f.Query) {
			if _, known := q.Facts.Values[id]; !known {
				q.Facts = nil
				break
			}
		}
	}
	ru, maybe := judge(s, &q)
	return ru.Decision, !maybe
}
