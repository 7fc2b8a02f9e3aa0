package pdp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Facts are what a decision is made on besides the policies. They hold no
// argument: those are committed to by the evidence.
type Facts struct {
	Query      policy.Query
	Generation uint64 // of the registry
	Digest     string // "sha256:…" of everything above except the arguments
	owner      string // of the agent
	note       string // on a permit
	refusal    refusal
}

// refusal is a denial that needs no policy. The zero value refuses nothing.
type refusal struct {
	class        access.Class
	reason, help string
	relaxable    bool // monitor mode lets it pass: nobody decided it
}

// GatherFacts collects the facts about r. s and its View must not be nil.
func GatherFacts(s *State, r *access.Request) Facts {
	f := Facts{Generation: s.View.Generation()}
	q := &f.Query
	q.Action, q.Method, q.Target, q.Subject = r.Action(), r.Method, r.Target, r.Who.Subject
	q.Arguments, q.Unknown, q.Now = r.Arguments, r.Unknown, r.At
	q.Session = policy.SessionFacts{ID: r.Who.Session, Task: r.Who.Task, Bound: r.Who.Bound}
	q.Agent.ID, q.Agent.Attested = r.Who.Actor.Agent, r.Who.Actor.Attested
	q.Server.ID = r.Server
	q.Tool = policy.ToolFacts{Server: r.Server, Name: r.Target, Kind: r.Kind}
	f.agent(s.View, r)
	f.server(s.View, r)
	f.target(s.View, r)
	f.counting(r)
	q.Touched, q.Risk = r.Touched, r.Risk
	f.Digest = f.digest()
	return f
}

// refuse keeps the first refusal.
func (f *Facts) refuse(class access.Class, reason, help string, relaxable bool) {
	if f.refusal.class == "" {
		f.refusal = refusal{class, reason, help, relaxable}
	}
}

func (f *Facts) agent(v *registry.View, r *access.Request) {
	id := r.Who.Actor.Agent
	if id == "" || r.At.IsZero() {
		f.refuse(access.ClassAgent, "nobody is authenticated", "present a valid token", false)
		return
	}
	a, ok := v.Agent(id)
	if !ok {
		f.refuse(access.ClassAgent, "agent "+quote(id)+" is not registered", "ask an operator to register it with an owner", false)
		return
	}
	f.owner = a.Owner
	f.Query.Agent = policy.AgentFacts{ID: id, Owner: a.Owner, Class: a.Class, Runtime: a.Runtime, Model: a.Model,
		Status: string(registry.AgentStatus(a, r.At)), Tier: a.RiskTier, Attested: r.Who.Actor.Attested, DataScopes: a.DataScopes}
	if err := registry.Usable(a, r.At); err != nil {
		reason, help, _ := strings.Cut(err.Error(), "; ")
		f.refuse(access.ClassAgent, reason, help, false)
	}
}

func (f *Facts) server(v *registry.View, r *access.Request) {
	s, ok := v.Server(r.Server)
	if !ok {
		f.refuse(access.ClassHidden, "there is no such server", "list what is offered", false)
		return
	}
	f.Query.Server = policy.ServerFacts{ID: s.ID, Owner: s.Owner, State: string(s.State)}
	f.Query.Tool.Labels = s.LabelsOf(r.Action()[len(r.Server)+1:])
	if st := v.ServerStanding(r.Server); !st.OK {
		f.refuse(access.ClassServer, st.Why, st.Help, false)
	}
}

// target looks up the definition r is about.
func (f *Facts) target(v *registry.View, r *access.Request) {
	t := &f.Query.Tool
	switch r.Kind {
	case access.KindTool:
		f.definition(v, r, registry.KindTool, true)
	case access.KindPrompt:
		f.definition(v, r, registry.KindPrompt, true)
	case access.KindResource:
		// What a server holds is not all listed: a template stands for many
		// resources. One that is listed must be approved; for the others the
		// sanction of the server stands, and policy sees the URI.
		t.Classes, t.Pinned = []string{registry.ClassRead}, true
		f.definition(v, r, registry.KindResource, false)
		f.definition(v, r, registry.KindTemplate, false)
	case access.KindServer, access.KindAsk:
		t.Pinned = true
	default:
		f.refuse(access.ClassHidden, "there is no such thing", "list what is offered", false)
	}
}

// definition takes the standing and the facts of one definition.
func (f *Facts) definition(v *registry.View, r *access.Request, kind registry.Kind, required bool) {
	name := registry.NameOf(kind, r.Target)
	t, ok := v.Tool(r.Server, name)
	if !ok && !required {
		return
	}
	// One answer for all that is hidden: it must not tell which it was.
	hide := func(relaxable bool) {
		f.refuse(access.ClassHidden, "there is no such "+string(kind), "list what is offered", relaxable)
	}
	if !ok || t.Kind() != kind {
		hide(false)
		return
	}
	_, st := v.Callable(r.Server, name)
	class := v.Class(t)
	words, err := class.Words()
	q := &f.Query.Tool
	q.Classes, q.Tier, q.Pinned, q.Digest = words, class.Tier, st.OK, t.PinDigest
	server, _ := v.Server(r.Server)
	observe := server.Pinning == registry.PinningObserve
	if st.Drift {
		q.Digest = t.SeenDigest
		f.note = "the definition is not the approved one; the server is set to observe"
	}
	unverified := t.Unverified() && !observe
	switch {
	case st.OK && unverified:
		q.Pinned = false
		f.refuse(access.ClassTool, string(kind)+" "+quote(r.Target)+" differs from its approved definition and waits for approval",
			"ask "+server.Owner+" to review it", true)
	case st.OK && err != nil:
		f.refuse(access.ClassTool, string(kind)+" "+quote(r.Target)+" has no known class", "ask "+server.Owner+" to set its class and approve it", false)
	case st.OK:
	case t.State == registry.ToolBlocked || t.State == registry.ToolRetired:
		hide(false)
	case t.PinDigest == "":
		hide(t.State == registry.ToolPending)
	default:
		f.refuse(st.Class, st.Why, st.Help, t.State == registry.ToolChanged || t.State == registry.ToolAbsent)
	}
}

// digest commits to the facts: every field, with its length before it.
func (f *Facts) digest() string {
	var buf [1024]byte
	b := buf[:0]
	q := &f.Query
	str := func(list ...string) {
		for _, s := range list {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	set := func(list []string) {
		b = binary.AppendUvarint(b, uint64(len(list)))
		str(list...)
	}
	flag := func(list ...bool) {
		for _, v := range list {
			if v {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
	}
	at := func(t time.Time) {
		b = binary.AppendVarint(b, t.Unix())
		b = binary.AppendVarint(b, int64(t.Nanosecond()))
	}
	b = append(b, 3) // version of this encoding
	b = binary.AppendUvarint(b, f.Generation)
	a := &q.Agent
	str(a.ID, a.Owner, a.Class, a.Runtime, a.Model, a.Status)
	b = binary.AppendVarint(b, int64(a.Tier))
	flag(a.Attested)
	set(a.DataScopes)
	t := &q.Tool
	str(t.Server, t.Name, t.Digest, string(t.Kind))
	set(t.Classes)
	b = binary.AppendVarint(b, int64(t.Tier))
	flag(t.Pinned)
	set(t.Labels)
	str(q.Server.ID, q.Server.Owner, q.Server.State, q.Action, q.Method, q.Target, q.Subject.Issuer, q.Subject.ID)
	str(q.Session.ID, q.Session.Task)
	b = binary.AppendVarint(b, int64(q.Session.Depth))
	flag(q.Session.Bound, q.Unknown)
	at(q.Session.StartedAt)
	at(q.Now)
	flag(q.Grant != nil)
	if g := q.Grant; g != nil {
		str(g.ID)
		b = binary.AppendVarint(b, g.Remaining)
		at(g.ExpiresAt)
		b = binary.AppendVarint(b, int64(g.Quorum))
		flag(g.ArgsBound)
		b = binary.AppendVarint(b, int64(g.Depth))
	}
	str(string(f.refusal.class))
	b = appendFacts(b, q.Facts)
	if t := q.Touched; !t.Clean() {
		str("touched", t.Err)
		set(t.Taint)
		set(t.Labels)
		b = appendFacts(b, &access.Facts{Values: t.Flow})
	}
	if r := q.Risk; r != nil {
		str("risk")
		for _, score := range []int{r.Session, r.Agent, r.Person} {
			b = binary.AppendVarint(b, int64(score))
		}
	}
	sum := sha256.Sum256(b)
	var out [7 + 2*sha256.Size]byte
	copy(out[:], "sha256:")
	hex.Encode(out[7:], sum[:])
	return string(out[:])
}
