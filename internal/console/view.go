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
	Reason  string // the agent's
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
	Suspend *suspend

	Sign      bool   // an approval is signed with a passkey
	Ask       string // where what it signs is asked for, "" if not here
	Script    string // that asks the browser
	Icon      string // which a page with a script may load
	Elsewhere string // the address of this page where passkeys work
}

// suspend is denying and suspending the agent in one, nil for whoever may not do both.
// It is in the language of whoever looks, named for the rest of the page is English.
type suspend struct{ Lang, Button, Note string }

func (c *Console) view(w words, s session, k admin.Card) (requestPage, error) {
	now := c.now()
	p := requestPage{
		ID: k.ID, User: line(s.actor.ID), Form: s.form, Action: line(k.Target.Action()), State: string(k.State), Stale: !k.Current,
		Tier: atStake(k.Target.Tier), Reason: line(k.Reason), Exact: k.Scope == grant.ScopeOnce, Now: c.standing(s, k, now), Facts: facts(k, now),
	}
	var err error
	if p.Exact {
		p.Fields, err = fieldsOf(k.Arguments)
	} else {
		p.Fields, err = fieldsOfConstraints(k.Args)
	}
	if err != nil {
		return p, err
	}
	if p.Earlier, err = earlierOf(k.Earlier); err != nil {
		return p, err
	}
	if x := k.Pattern; x != nil {
		p.Pattern = &pattern{Before: x.Calls - 1}
		if p.Pattern.Fields, err = fieldsOfConstraints(x.Args); err != nil {
			return p, err
		}
	}
	if k.State == grant.RequestPending && now.Before(k.Expires) {
		p.Answer = form(k)
		if k.Suspends {
			p.Answer.Suspend = &suspend{w.lang, w.t("Deny and suspend the agent"), w.t("The agent can do nothing then until somebody resumes it.")}
		}
		if by(k, s.actor.String()) {
			p.Answer.Bar = "You have approved it already. Nobody counts twice."
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

func form(k admin.Card) *answerForm {
	f := &answerForm{Minutes: k.Life / 60, Reason: k.Target.Tier >= reasonTier, Sign: k.Sign && k.Bar == nil}
	switch k.Scope {
	case grant.ScopeOnce:
		f.Button = "Approve: once, exactly this"
	case grant.ScopeTask:
		f.Button, f.Uses, f.Open = "Approve: for this task", k.Uses, k.Uses == 0
	default:
		f.Button, f.Uses, f.Open = "Approve: until it expires", k.Uses, k.Uses == 0
	}
	if b := k.Budget; b.Amount > 0 && k.Scope != grant.ScopeOnce {
		f.Amount, f.Unit = b.Amount, line(b.Unit)
	}
	if k.Bar != nil {
		f.Bar = "You cannot approve this request."
		if e := (*access.Error)(nil); errors.As(k.Bar, &e) {
			f.Bar += " " + sentence(line(e.Msg))
		}
	}
	return f
}

// facts are the lines about a request, in the order people need them.
func facts(k admin.Card, now time.Time) []fact {
	var out []fact
	add := func(label, text string) {
		if text != "" {
			out = append(out, fact{label, text})
		}
	}
	add("Agent", line(k.Party.Agent))
	if k.AgentState != string(registry.AgentActive) {
		add("State of the agent", line(k.AgentState))
	}
	add("Owner of the agent", or(line(k.Owner), "nobody: the agent is not registered any more"))
	subject := line(k.Party.Subject)
	if subject != "" && k.Party.Issuer != "" {
		subject += ", known to " + line(k.Party.Issuer)
	}
	add("Acts for", or(subject, "no person: by itself"))
	if k.Work != nil {
		add("Task", line(k.Work.ID)+", "+line(string(k.Work.State))+" until "+stamp(k.Work.Expires))
		add("Purpose of the task, as the agent puts it", line(k.Work.Purpose))
		add("Ticket, as the agent puts it", line(k.Work.Ticket))
	} else {
		add("Task", or(line(k.Task), "none"))
	}
	add("Server", line(k.Target.Server)+owned(k.ServerOwner))
	add("What it wants to use", line(string(k.Target.Kind))+" "+line(k.Target.Name))
	add("Class", or(line(k.Class), "unknown: the definition is not there any more"))
	add("Definition", definition(k))
	add("Scope", scope(k))
	add("Lives", lives(k))
	add("Calls", calls(k.Uses))
	add("Limits", line(k.Describe()))
	add("Asked under entitlement", line(k.Entitlement))
	add("Asked for by policy", line(strings.Join(k.Policies, " ")))
	for i := range k.Flow {
		l := &k.Flow[i]
		add("Where argument "+or(line(l.Pointer), "as a whole")+" comes from ("+line(l.Role)+")", "“"+line(valueAt(k.Arguments, l))+"” stands in "+line(l.Source()))
	}
	add("Needs", needs(k.Rule))
	add("Approved by", or(approvals(k.Approvals), "nobody yet"))
	add("Asked at", stamp(k.Created))
	if k.State == grant.RequestPending {
		add("Waits until", stamp(k.Expires)+left(k.Expires.Sub(now)))
	}
	return out
}

// maxQuoted bounds the bytes of a value that is quoted.
const maxQuoted = 200

// valueAt is the part of the arguments that was found in an earlier result.
func valueAt(raw []byte, l *access.FlowLeaf) string {
	v, err := parse(raw)
	if err != nil || strings.Contains(l.Pointer, "…") {
		return "the value"
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

func owned(owner string) string {
	if owner == "" {
		return ", not registered any more"
	}
	return ", owned by " + line(owner)
}

func definition(k admin.Card) string {
	if k.Current {
		return "the approved one, unchanged since the agent asked (" + line(k.Target.Digest) + ")"
	}
	return "another one than when the agent asked (" + line(k.Target.Digest) + ")"
}

func scope(k admin.Card) string {
	switch k.Scope {
	case grant.ScopeOnce:
		return "once: exactly this call and no other"
	case grant.ScopeTask:
		return "task: every call within the limits below, while the task is open"
	case grant.ScopeTime:
		return "time: every call within the limits below, until it expires"
	default:
		return "unknown: " + line(string(k.Scope))
	}
}

func lives(k admin.Card) string {
	life := (time.Duration(k.Life) * time.Second).String()
	if !k.NotBefore.IsZero() {
		return life + " from " + stamp(k.NotBefore) + " on, as who approved said"
	}
	return life + " from the last approval it needs"
}

func calls(n int64) string {
	if n == 0 {
		return "without limit"
	}
	return fmt.Sprint(n)
}

func needs(r grant.Rule) string {
	if r.Auto {
		return "nobody: the entitlement permits it by itself"
	}
	out := people(grant.Stage{Quorum: r.Quorum, Team: r.Team})
	if r.Then != (grant.Stage{}) {
		out += ", then " + people(r.Then) + " who did not approve before"
	}
	return out
}

func people(s grant.Stage) string {
	out := count(s.Quorum, "person")
	if s.Quorum != 1 {
		out = fmt.Sprintf("%d different people", s.Quorum)
	}
	if s.Team != "" {
		out += " of team " + line(s.Team)
	}
	return out
}

func approvals(list []grant.Approval) string {
	var out []string
	for _, a := range list {
		signed := ""
		if a.Signed != nil {
			signed = ", signed with a passkey"
		}
		out = append(out, line(a.By)+" at "+stamp(a.At)+signed)
	}
	return strings.Join(out, "; ")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func left(d time.Duration) string {
	if d <= 0 {
		return ", which is over"
	}
	return ", in " + d.Round(time.Second).String()
}

// atStake is the blast radius of a tier in a sentence.
func atStake(tier int) string {
	switch tier {
	case 0:
		return "Tier 0: it reads. Nothing is changed and nothing is sent out, if the server does what it says."
	case 1:
		return "Tier 1: it reads data that is marked. The agent will know what it reads, and so will whoever the agent writes to."
	case 2:
		return "Tier 2: it changes something or sends something out. A change can be undone with effort; what was sent cannot be called back."
	default:
		return fmt.Sprintf("Tier %d: it destroys, cannot be undone, or is about money or secrets. Whoever the agent acts for cannot approve it.", tier)
	}
}

func earlierOf(e *admin.Earlier) (*earlier, error) {
	if e == nil {
		return nil, nil
	}
	out := &earlier{Same: e.Same, More: e.More, What: "request " + line(e.Request) + ", approved by " + line(e.By) + " at " + stamp(e.At)}
	if e.Subject != "" {
		out.What += ", when it acted for " + line(e.Subject)
	}
	for _, f := range e.Fields {
		c := change{Name: or(line(f.Field), "all arguments")}
		for _, side := range []struct {
			raw []byte
			to  *field
		}{{f.Before, &c.Before}, {f.After, &c.After}} {
			v, err := parse(side.raw)
			if err != nil {
				return nil, err
			}
			*side.to = fieldOf("", v)
		}
		out.Rows = append(out.Rows, c)
	}
	return out, nil
}
