// Package privilege says what every agent could do, what it did, and what can be
// taken away (access.md 3.8).
//
// It is a pure function of what is registered, of the rules and of what the
// evidence counts; it changes nothing. A right MUST NOT be called unused unless it
// stood, and evidence was kept, during the whole of the period.
package privilege

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/grant"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Input is what a report is made of.
type Input struct {
	State *pdp.State // in force, with the gateway's own server
	Since time.Time
	Until time.Time
	Agent string // only this one; "" for all
	// Server limits what is looked at to what one server offers; "" for all.
	Server string
	Usage  audit.Usage
	// Stood are the allow-lists of every generation of the rules that was in force
	// in the period, by agent; empty where it is not known which were at its
	// beginning.
	Stood    []map[string][]string
	Grants   []grant.Grant   // in force
	Policies []policy.Policy // that people wrote
}

// Report says what agents could do, what they did, and what can be taken away.
type Report struct {
	// Digest stands for what the report proposes and what it proposes it on.
	Digest     string    `json:"digest"`
	Generation uint64    `json:"generation"` // of what is registered
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until"`
	Agent      string    `json:"agent,omitempty"`
	// Young says why nothing can be called unused: evidence or rules do not go back
	// to the beginning of the period. "" if they do.
	Young  string  `json:"young,omitempty"`
	Agents []Agent `json:"agents"`
	// Unmatched are statements people wrote before the period that matched no
	// decision in it; nil where the report is about one agent.
	Unmatched []policy.Statement `json:"unmatched,omitempty"`
}

// Verdict says how a right was used.
type Verdict string

// The verdicts.
const (
	Used   Verdict = "used"
	Unused Verdict = "unused" // although it stood the whole time
	Young  Verdict = "young"  // not used, and younger than the period
)

// Agent is one agent and its rights.
type Agent struct {
	ID     string `json:"id"`
	Owner  string `json:"owner"`
	Class  string `json:"class,omitempty"`
	Status string `json:"status"`
	// Orphaned is why nobody answers for it any more, "" if somebody does.
	Orphaned string  `json:"orphaned,omitempty"`
	Standing []Right `json:"standing"` // its allow-list
	Can      []Reach `json:"can"`      // what it could do now; empty where its state lets it do nothing
	// Entitlements are what it may ask for; Grants what it was granted and still has.
	Entitlements []string    `json:"entitlements,omitempty"`
	Grants       []HeldGrant `json:"grants,omitempty"`
	Credentials  []string    `json:"credentials,omitempty"` // that calls of it are made with
	Tools        []string    `json:"tools"`                 // the allow-list as it is
	Proposed     []string    `json:"proposed"`              // and without what is unused
	Shrinks      bool        `json:"shrinks"`
}

// Right is one pattern of an allow-list.
type Right struct {
	Pattern string    `json:"pattern"`
	Covers  int       `json:"covers"` // tools and prompts that are approved, and the reading of resources
	Used    int       `json:"used"`   // of them
	Calls   int       `json:"calls"`
	Last    time.Time `json:"last,omitzero"`
	Verdict Verdict   `json:"verdict"`
}

// Reach is one thing an agent could do.
type Reach struct {
	Action     string    `json:"action"` // as in policies
	Tier       int       `json:"tier"`
	Outcome    string    `json:"outcome"` // of a call without a grant: of a decision, or depends, on arguments, person, session or grant
	By         []string  `json:"by"`      // statements that permit, or that ask, hold back or mask
	Calls      int       `json:"calls"`
	Last       time.Time `json:"last,omitzero"`
	Credential string    `json:"credential,omitempty"`
}

// HeldGrant is a grant in force.
type HeldGrant struct {
	ID      string    `json:"id"`
	Action  string    `json:"action"`
	Scope   string    `json:"scope"`
	Expires time.Time `json:"expires"`
	Uses    int64     `json:"uses"`          // so far
	For     string    `json:"for,omitempty"` // the person it stands for; "" for the agent by itself
}

// depends is the outcome of what is permitted to some calls and not to others.
const depends = "depends"

const youngEvidence = "the evidence is younger than the period"

// New makes a report.
func New(in Input) Report {
	r := Report{Generation: in.State.View.Generation(), Since: in.Since, Until: in.Until, Agent: in.Agent, Agents: []Agent{}}
	switch {
	case in.Usage.Oldest.IsZero() || in.Usage.Oldest.After(in.Since):
		r.Young = youngEvidence
	case len(in.Stood) == 0:
		r.Young = "which rules were in force at the beginning of the period is not known"
	}
	x := newIndexed(in)
	for _, a := range in.State.View.Agents() {
		if a.State == registry.AgentRetired || in.Agent != "" && a.ID != in.Agent {
			continue
		}
		r.Agents = append(r.Agents, x.agent(a, r.Young == ""))
	}
	slices.SortFunc(r.Agents, func(a, b Agent) int { return cmp.Compare(a.ID, b.ID) })
	if in.Agent == "" && r.Young == "" {
		r.Unmatched = x.unmatched()
	}
	r.Digest = r.digest()
	return r
}

// digest covers what the report proposes, not how often something was used: that
// grows while a reader thinks.
func (r *Report) digest() string {
	var about struct {
		Generation uint64
		Since      time.Time
		Agent      string
		Proposed   map[string][]string
	}
	about.Generation, about.Since, about.Agent, about.Proposed = r.Generation, r.Since.UTC(), r.Agent, r.Proposals()
	b, err := json.Marshal(about)
	if err != nil {
		return "" // only for a year no JSON can hold
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Proposals are the allow-lists that shrink, by agent.
func (r *Report) Proposals() map[string][]string {
	out := map[string][]string{}
	for _, a := range r.Agents {
		if a.Shrinks {
			out[a.ID] = a.Proposed
		}
	}
	return out
}

// thing is what a right is about: a tool, a prompt, or the reading of resources.
type thing struct {
	server string
	kind   access.Kind
	name   string
}

func (t thing) action() string {
	r := access.Request{Server: t.server, Kind: t.kind, Target: t.name}
	return r.Action()
}

// pattern is the one entry of an allow-list that covers exactly t.
func (t thing) pattern() string { return t.action() }

// used is how often.
type used struct {
	calls int
	last  time.Time
}

// indexed is the input as it is looked up.
type indexed struct {
	in     Input
	things []thing // that are approved, sorted
	young  map[thing]bool
	tier   map[thing]int
	uses   map[string]map[thing]used
}

func newIndexed(in Input) *indexed {
	x := &indexed{in: in, young: map[thing]bool{}, tier: map[thing]int{}, uses: map[string]map[thing]used{}}
	v := in.State.View
	for _, s := range v.Servers() {
		if s.ID == access.OwnServer {
			continue // every agent may use it, and no list names it
		}
		if in.Server != "" && s.ID != in.Server {
			continue
		}
		x.things = append(x.things, thing{s.ID, access.KindResource, ""})
		for _, t := range v.Tools(s.ID) {
			kind, ok := map[registry.Kind]access.Kind{registry.KindTool: access.KindTool, registry.KindPrompt: access.KindPrompt}[t.Kind()]
			if !ok || t.PinDigest == "" && s.Pinning != registry.PinningObserve {
				continue
			}
			th := thing{s.ID, kind, t.Bare()}
			x.things = append(x.things, th)
			x.tier[th] = v.Class(t).Tier
			x.young[th] = t.FirstSeen.After(in.Since) || t.ApprovedAt.After(in.Since)
		}
	}
	slices.SortFunc(x.things, func(a, b thing) int { return cmp.Compare(a.action(), b.action()) })
	for _, u := range in.Usage.Uses {
		t, ok := x.used(u)
		if !ok {
			continue
		}
		if x.uses[u.Agent] == nil {
			x.uses[u.Agent] = map[thing]used{}
		}
		n := x.uses[u.Agent][t]
		n.calls += u.Calls
		if u.Last.After(n.last) {
			n.last = u.Last
		}
		x.uses[u.Agent][t] = n
	}
	return x
}

// used is what a use was of; ok is false where it needs no right of its own.
func (x *indexed) used(u audit.Use) (thing, bool) {
	switch {
	case u.Method == "tools/call":
		return thing{u.Server, access.KindTool, u.Target}, true
	case u.Method == "prompts/get":
		return thing{u.Server, access.KindPrompt, u.Target}, true
	case u.Method == "completion/complete":
		if _, ok := x.in.State.View.Tool(u.Server, registry.NameOf(registry.KindPrompt, u.Target)); ok {
			return thing{u.Server, access.KindPrompt, u.Target}, true
		}
		return thing{u.Server, access.KindResource, ""}, true
	case strings.HasPrefix(u.Method, "resources/") && u.Method != "resources/list" && u.Method != "resources/templates/list":
		return thing{u.Server, access.KindResource, ""}, true
	}
	return thing{}, false
}

// unmatched are the statements of policies older than the period that matched
// nothing in it.
func (x *indexed) unmatched() []policy.Statement {
	old := map[string]bool{}
	for _, p := range x.in.Policies {
		old[p.ID] = !p.Changed.After(x.in.Since)
	}
	out := []policy.Statement{}
	for _, s := range x.in.State.Set.Policies() {
		if old[s.Policy] && x.in.Usage.Policies[s.ID].Decisions == 0 {
			out = append(out, s)
		}
	}
	return out
}
