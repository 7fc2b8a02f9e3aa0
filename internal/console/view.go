package console

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// requestPage is the page of one request. Its texts have gone through line, block
// or a field.
type requestPage struct {
	ID      string
	User    string // who is signed in
	Form    string // the session's, for every form
	Problem string // why an answer had no effect
	Half    bool   // or only half of one
	Action  string // what is asked for
	State   string // in a word
	Now     []string
	Stale   bool // the definition is another one
	Tier    string
	Facts   []fact
	Risk    *access.Risk // of who asks, when they asked; nil where nobody looked
	Reason  string       // the agent's
	Fields  []field
	Exact   bool // exactly these arguments
	Earlier *earlier
	Pattern *pattern
	Answer  *answerForm // nil where there is nothing to answer
}

// fact is one line about a request.
type fact struct{ Label, Text string }

// earlier is what an approved call before it was.
type earlier struct {
	What string
	Same bool
	Rows []change
	More int
}

// pattern is a right that would cover what is asked for again and again.
type pattern struct {
	Before int // calls it covers besides this one
	Fields []field
}

type change struct {
	Name          string
	Before, After field
}

// answerForm is what can be answered.
type answerForm struct {
	Bar     string // why this person cannot approve, "" if they can
	Button  string
	Minutes int64 // at most; 0 where less than one was asked for
	Uses    int64 // at most; 0 where it cannot be narrowed
	Open    bool  // calls without limit were asked for
	Amount  int64 // at most, of the budget; 0 where it cannot be narrowed
	Unit    string
	Reason  bool // an approval needs one
	Suspend bool // they may deny and suspend the agent in one

	Sign      bool   // an approval is signed with a passkey
	Ask       string // where what it signs is asked for, "" if not here
	Script    string // that asks the browser
	Icon      string // which a page with a script may load
	Elsewhere string // the address of this page where passkeys work
}

func (c *Console) view(w words, s session, k admin.Card) (requestPage, error) {
	now := c.now()
	p := requestPage{
		ID: k.ID, User: line(s.actor.ID), Form: s.form, Action: line(k.Target.Action()), State: w.t(string(k.State)), Stale: !k.Current,
		Tier: atStake(w, k.Target.Tier), Reason: line(k.Reason), Exact: k.Scope == grant.ScopeOnce, Now: c.standing(w, s, k, now), Facts: facts(w, k, now), Risk: k.Risk,
	}
	var err error
	if p.Exact {
		p.Fields, err = fieldsOf(w, k.Arguments)
	} else {
		p.Fields, err = fieldsOfConstraints(w, k.Args)
	}
	if err != nil {
		return p, err
	}
	if p.Earlier, err = earlierOf(w, k.Earlier); err != nil {
		return p, err
	}
	if x := k.Pattern; x != nil {
		p.Pattern = &pattern{Before: x.Calls - 1}
		if p.Pattern.Fields, err = fieldsOfConstraints(w, x.Args); err != nil {
			return p, err
		}
	}
	if k.State == grant.RequestPending && now.Before(k.Expires) {
		p.Answer = form(w, k)
		p.Answer.Suspend = k.Suspends
		if by(k, s.actor.String()) {
			p.Answer.Bar = w.t("You have approved it already. Nobody counts twice.")
		}
	}
	return p, nil
}

// by reports whether who has approved k.
func by(k admin.Card, who string) bool {
	for _, a := range k.Approvals {
		if a.By == who {
			return true
		}
	}
	return false
}

func form(w words, k admin.Card) *answerForm {
	f := &answerForm{Minutes: k.Life / 60, Reason: k.Target.Tier >= reasonTier, Sign: k.Sign && k.Bar == nil}
	switch k.Scope {
	case grant.ScopeOnce:
		f.Button = w.t("Approve: once, exactly this")
	case grant.ScopeTask:
		f.Button, f.Uses, f.Open = w.t("Approve: for this task"), k.Uses, k.Uses == 0
	default:
		f.Button, f.Uses, f.Open = w.t("Approve: until it expires"), k.Uses, k.Uses == 0
	}
	if b := k.Budget; b.Amount > 0 && k.Scope != grant.ScopeOnce {
		f.Amount, f.Unit = b.Amount, line(b.Unit)
	}
	if k.Bar != nil {
		f.Bar = w.t("You cannot approve this request.")
		if e := (*access.Error)(nil); errors.As(k.Bar, &e) {
			f.Bar += " " + sentence(line(e.Msg))
		}
	}
	return f
}

// facts are the lines about a request, in the order people need them.
func facts(w words, k admin.Card, now time.Time) []fact {
	var out []fact
	add := func(label, text string) {
		if text != "" {
			out = append(out, fact{label, text})
		}
	}
	add(w.t("Agent"), line(k.Party.Agent))
	if k.AgentState != string(registry.AgentActive) {
		add(w.t("State of the agent"), w.t(line(k.AgentState)))
	}
	add(w.t("Owner of the agent"), or(line(k.Owner), w.t("nobody: the agent is not registered any more")))
	subject := line(k.Party.Subject)
	if subject != "" && k.Party.Issuer != "" {
		subject = w.t("%s, known to %s", subject, line(k.Party.Issuer))
	}
	add(w.t("Acts for"), or(subject, w.t("no person: by itself")))
	if k.Work != nil {
		add(w.t("Task"), w.t("%s, %s until %s", line(k.Work.ID), w.t(line(string(k.Work.State))), stamp(k.Work.Expires)))
		add(w.t("Purpose of the task, as the agent puts it"), line(k.Work.Purpose))
		add(w.t("Ticket, as the agent puts it"), line(k.Work.Ticket))
	} else {
		add(w.t("Task"), or(line(k.Task), w.t("none")))
	}
	add(w.t("Server"), owned(w, line(k.Target.Server), k.ServerOwner))
	add(w.t("What it wants to use"), w.t(line(string(k.Target.Kind)))+" "+line(k.Target.Name))
	add(w.t("Class"), or(line(k.Class), w.t("unknown: the definition is not there any more")))
	add(w.t("Definition"), definition(w, k))
	add(w.t("Scope"), scope(w, k))
	add(w.t("Lives"), lives(w, k))
	add(w.t("Calls"), calls(w, k.Uses))
	add(w.t("Limits"), line(k.Describe()))
	add(w.t("Asked under entitlement"), line(k.Entitlement))
	add(w.t("Asked for by policy"), line(strings.Join(k.Policies, " ")))
	for i := range k.Flow {
		l := &k.Flow[i]
		add(w.t("Where argument %s comes from (%s)", or(line(l.Pointer), w.t("as a whole")), line(l.Role)), w.t("“%s” stands in %s", line(valueAt(w, k.Arguments, l)), line(l.Source())))
	}
	add(w.t("Needs"), needs(w, k.Rule))
	add(w.t("Approved by"), or(approvals(w, k.Approvals), w.t("nobody yet")))
	add(w.t("Asked at"), stamp(k.Created))
	if k.State == grant.RequestPending {
		add(w.t("Waits until"), left(w, stamp(k.Expires), k.Expires.Sub(now)))
	}
	return out
}

// maxQuoted bounds the bytes of a value that is quoted.
const maxQuoted = 200

// valueAt is the part of the arguments that was found in an earlier result.
func valueAt(w words, raw []byte, l *access.FlowLeaf) string {
	v, err := parse(raw)
	if err != nil || strings.Contains(l.Pointer, "…") {
		return w.t("the value")
	}
	text := string(v.At(l.Pointer).Raw())
	if s, ok := v.At(l.Pointer).Str(); ok {
		text = s
		if 0 <= l.Start && l.Start < l.End && l.End <= len(s) {
			text = s[l.Start:l.End]
		}
	}
	if len(text) > maxQuoted {
		text = strings.ToValidUTF8(text[:maxQuoted], "") + "…"
	}
	return text
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func owned(w words, server, owner string) string {
	if owner == "" {
		return w.t("%s, not registered any more", server)
	}
	return w.t("%s, owned by %s", server, line(owner))
}

func definition(w words, k admin.Card) string {
	if k.Current {
		return w.t("the approved one, unchanged since the agent asked (%s)", line(k.Target.Digest))
	}
	return w.t("another one than when the agent asked (%s)", line(k.Target.Digest))
}

func scope(w words, k admin.Card) string {
	switch k.Scope {
	case grant.ScopeOnce:
		return w.t("once: exactly this call and no other")
	case grant.ScopeTask:
		return w.t("task: every call within the limits below, while the task is open")
	case grant.ScopeTime:
		return w.t("time: every call within the limits below, until it expires")
	default:
		return w.t("unknown: %s", line(string(k.Scope)))
	}
}

func lives(w words, k admin.Card) string {
	life := (time.Duration(k.Life) * time.Second).String()
	if !k.NotBefore.IsZero() {
		return w.t("%s from %s on, as who approved said", life, stamp(k.NotBefore))
	}
	return w.t("%s from the last approval it needs", life)
}

func calls(w words, n int64) string {
	if n == 0 {
		return w.t("without limit")
	}
	return fmt.Sprint(n)
}

func needs(w words, r grant.Rule) string {
	if r.Auto {
		return w.t("nobody: the entitlement permits it by itself")
	}
	out := people(w, grant.Stage{Quorum: r.Quorum, Team: r.Team})
	if r.Then != (grant.Stage{}) {
		return w.t("%s, then %s who did not approve before", out, people(w, r.Then))
	}
	return out
}

func people(w words, s grant.Stage) string {
	out := w.n(s.Quorum, "1 person", "%d different people")
	if s.Team != "" {
		return w.t("%s of team %s", out, line(s.Team))
	}
	return out
}

func approvals(w words, list []grant.Approval) string {
	var out []string
	for _, a := range list {
		said := w.t("%s at %s", line(a.By), stamp(a.At))
		if a.Signed != nil {
			said = w.t("%s, signed with a passkey", said)
		}
		out = append(out, said)
	}
	return strings.Join(out, "; ")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func left(w words, until string, d time.Duration) string {
	if d <= 0 {
		return w.t("%s, which is over", until)
	}
	return w.t("%s, in %s", until, d.Round(time.Second).String())
}

// atStake is the blast radius of a tier in a sentence.
func atStake(w words, tier int) string {
	switch tier {
	case 0:
		return w.t("Tier 0: it reads. Nothing is changed and nothing is sent out, if the server does what it says.")
	case 1:
		return w.t("Tier 1: it reads data that is marked. The agent will know what it reads, and so will whoever the agent writes to.")
	case 2:
		return w.t("Tier 2: it changes something or sends something out. A change can be undone with effort; what was sent cannot be called back.")
	default:
		return w.t("Tier %d: it destroys, cannot be undone, or is about money or secrets. Whoever the agent acts for cannot approve it.", tier)
	}
}

func earlierOf(w words, e *admin.Earlier) (*earlier, error) {
	if e == nil {
		return nil, nil
	}
	out := &earlier{Same: e.Same, More: e.More, What: w.t("request %s, approved by %s at %s", line(e.Request), line(e.By), stamp(e.At))}
	if e.Subject != "" {
		out.What = w.t("%s, when it acted for %s", out.What, line(e.Subject))
	}
	for _, f := range e.Fields {
		c := change{Name: or(line(f.Field), w.t("all arguments"))}
		for _, side := range []struct {
			raw []byte
			to  *field
		}{{f.Before, &c.Before}, {f.After, &c.After}} {
			v, err := parse(side.raw)
			if err != nil {
				return nil, err
			}
			*side.to = fieldOf(w, "", v)
		}
		out.Rows = append(out.Rows, c)
	}
	return out, nil
}
