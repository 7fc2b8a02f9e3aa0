package rehearsal

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/policy"
)

// Explained says why a recorded call was decided as it was, and what would change it.
// It shows the text of rules, and of arguments no value.
type Explained struct {
	Decision string       `json:"decision"`
	Index    uint64       `json:"index"` // of its leaf
	At       time.Time    `json:"at"`
	Outcome  string       `json:"outcome"`
	Would    string       `json:"would,omitempty"` // what enforcing had decided, where rules were only observed
	Class    access.Class `json:"class,omitempty"`
	Agent    string       `json:"agent,omitempty"`
	Subject  string       `json:"subject,omitempty"`
	Action   string       `json:"action"`
	Server   string       `json:"server,omitempty"`
	Kind     access.Kind  `json:"kind,omitempty"`
	Target   string       `json:"target,omitempty"`
	Session  string       `json:"session,omitempty"`
	Task     string       `json:"task,omitempty"`
	Grant    string       `json:"grant,omitempty"`
	Erased   bool         `json:"erased,omitempty"` // whose it was can no longer be told

	Reason string `json:"reason,omitempty"` // as the agent was told
	Help   string `json:"help,omitempty"`

	// Generation is the generation of the rules that decided, 0 where it is not known.
	Generation uint64             `json:"generation,omitempty"`
	Rules      []policy.Statement `json:"rules,omitempty"` // that decided
	Gone       []string           `json:"gone,omitempty"`  // that decided, and whose text is not kept
	Inputs     []policy.Input     `json:"inputs,omitempty"`
	Nearest    []policy.Near      `json:"nearest,omitempty"`
	Flip       []string           `json:"flip,omitempty"`
	Flows      []access.FlowLeaf  `json:"flows,omitempty"`  // values of it that came from earlier answers
	Taint      []string           `json:"taint,omitempty"`  // what may have told the session what to do
	Labels     []string           `json:"labels,omitempty"` // private data the session had seen
	// Risk is how unusual what the caller did was when it was decided, nil where nothing
	// unusual was behind it.
	Risk *access.Risk `json:"risk,omitempty"`
	Now  string       `json:"now,omitempty"` // what the rules in force say of it, "" where that cannot be told
}

// Denied reports whether the call was not permitted, or would not have been.
func (x *Explained) Denied() bool { return x.effective() != access.Permit.String() }

// DecidedBy are the rules that decided, and who answers for them as @owner says.
func (x *Explained) DecidedBy() (rules, owners []string) {
	for _, r := range x.Rules {
		rules = append(rules, r.ID)
		if r.Owner != "" {
			owners = append(owners, r.Owner)
		}
	}
	return append(rules, x.Gone...), owners
}

func (x *Explained) effective() string {
	if x.Would != "" {
		return x.Would
	}
	return x.Outcome
}

// Explaining says on what a call is explained.
type Explaining struct {
	Then       *pdp.State // the rules that decided, on what is registered now
	Generation uint64     // of Then, 0 if it is not known
	Now        *pdp.State // the rules in force
	Held       Held
	// Sealed says that whoever asks may see evidence: kept arguments may be opened
	// where it depends on them, and what the agent was told is shown word by word.
	Sealed bool
}

// Explain says why a call was decided as it was. What the registry refused, and whose
// agent, server or tool is registered no more, has no rules.
func Explain(ctx context.Context, c *audit.Call, o Explaining) (Explained, error) {
	x := Explained{
		Decision: c.Decision, Index: c.Index, At: c.At, Outcome: c.Outcome, Would: c.Would, Class: c.Class, Agent: c.Agent, Subject: c.Subject,
		Server: c.Server, Kind: c.Kind, Target: c.Tool, Session: c.Session, Task: c.Task, Grant: c.Grant, Erased: c.Erased(),
	}
	r := request(c)
	x.Action = r.Action()
	if !o.Sealed && c.Kind == access.KindResource {
		x.Target, x.Action = "", c.Server+" "+c.Method // a URI may name a person
	}
	t := c.Touched()
	x.Flows, x.Taint, x.Labels = t.Leaves, t.Taint, t.Labels
	if !x.Erased {
		x.Risk = c.Risk()
	}
	var err error
	if o.Sealed {
		if x.Reason, err = c.Told(ctx); err != nil {
			return x, err
		}
	}
	if !byPolicy(c.Class) || x.Erased {
		return x, nil
	}
	ids := slices.Concat(c.Forbids, c.Errors)
	if len(ids) == 0 {
		ids = c.Permits
	}
	x.Generation = o.Generation
	x.Rules, x.Gone = o.Then.Set.Statements(ids)
	if !pdp.Known(o.Then, r) || !pdp.Known(o.Now, r) || c.Kind == access.KindResource && c.TargetCut() {
		return x, nil
	}
	return x, x.again(ctx, c, r, ids, o)
}

// again judges the call once more, by the rules of then and by those in force.
func (x *Explained) again(ctx context.Context, c *audit.Call, r *access.Request, ids []string, o Explaining) error {
	p := &player{o: Replaying{Candidate: o.Now, Against: o.Then, Held: o.Held, Sealed: o.Sealed}, t: newTally("", "", c.At), held: map[string]*policy.GrantFacts{}}
	past := pdp.Past{Digest: c.ToolDigest, Tier: c.Tier}
	var err error
	if past.Grant, err = p.grant(ctx, c); err != nil {
		return err
	}
	if o.Sealed {
		if _, err := p.open(ctx, c, r); err != nil {
			return err
		}
	}
	why := pdp.WhyAgain(o.Then, r, past, ids)
	x.Inputs = why.Read
	if why.Verdict.Outcome == recorded(c) {
		x.Help = why.Help
		if x.Reason == "" {
			x.Reason = why.Reason
		}
	}
	if x.Denied() && why.Verdict.Outcome != access.Permit {
		x.Nearest, x.Flip = why.Nearest, why.Flip
	}
	if now := pdp.Again(o.Now, r, past); !now.Maybe {
		x.Now = now.Outcome.String()
	}
	return nil
}
