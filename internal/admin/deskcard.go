package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// Card is a request with what a person needs to answer it.
type Card struct {
	RequestView
	Owner       string       // of the agent, "" if it is not registered any more
	AgentState  string       // of the agent now, "" if it is not registered any more
	Suspends    bool         // the one who looks may deny it and suspend the agent besides
	ServerOwner string       // of the server
	Class       string       // of the tool now, "" if it is not there any more
	Work        *grant.Task  // the request belongs to
	Issued      *grant.Grant // for it
	Earlier     *Earlier     // nil if there is none
	Pattern     *Pattern     // of the calls approved lately and this one, nil if there is none
	// Bar is why the one who looks cannot approve it, nil if nothing is known
	// that stands against it.
	Bar error
	// Sign is that whoever looks approves it with a signature of their passkey.
	Sign bool
}

// Earlier is the newest call before a request that a person approved: of the
// same agent, with the same tool.
type Earlier struct {
	Request string
	Subject string // the agent acted for then
	By      string // who approved it last
	At      time.Time
	Same    bool // the same arguments, whatever their wire form
	Fields  []ArgumentChange
	More    int // fields that differ besides
}

// ArgumentChange is one argument that differs. Before and After are JSON, nil where
// the argument is not there.
type ArgumentChange struct {
	Field  string // path; for an agent to choose, so shown with care
	Before json.RawMessage
	After  json.RawMessage
}

// Bounds of looking for an earlier call and of comparing with it.
const (
	earlierPage   = 50 // requests read at once: each may hold 256 KiB of arguments
	earlierPages  = 6
	maxChanges    = 100
	maxFieldBytes = 256 // of a path; what lies below a longer one is compared as a whole
)

// EarlierSearched is among how many requests of the agent that were approved an
// earlier call is looked for.
const EarlierSearched = earlierPage * earlierPages

// Card returns what a person needs to answer a request. Whoever may not answer
// requests may not read it: it holds the arguments in clear.
func (d *Desk) Card(ctx context.Context, actor Actor, id string) (Card, error) {
	if err := d.allowed(ctx, actor, OpDecide); err != nil {
		return Card{}, err
	}
	v, err := d.Request(ctx, id)
	if err != nil {
		return Card{}, err
	}
	c := Card{RequestView: v, Bar: d.may(actor, v.Request, d.waits(v.Request))}
	if c.Bar == nil {
		c.Sign, c.Bar = d.mustSign(actor, v.Request)
	}
	view := d.admin.Current().View
	if a, ok := view.Agent(v.Party.Agent); ok {
		c.Owner, c.AgentState = a.Owner, string(a.State)
		c.Suspends = a.State == registry.AgentActive && d.admin.Offers(actor, OpAgent)
	}
	if s, ok := view.Server(v.Target.Server); ok {
		c.ServerOwner = s.Owner
	}
	if def, ok := d.definition(v.Target); ok {
		c.Class = view.Class(def).Class
	}
	if v.Task != "" {
		if t, ok, err := d.broker.Archive().Task(ctx, v.Task); err != nil {
			return Card{}, err
		} else if ok {
			c.Work = &t
		}
	}
	if v.Grant != "" {
		if g, ok, err := d.broker.Archive().Grant(ctx, v.Grant); err != nil {
			return Card{}, err
		} else if ok {
			c.Issued = &g
		}
	}
	if v.Scope == grant.ScopeOnce { // a pattern is no call to compare with one
		before, err := d.before(ctx, v)
		if err != nil || len(before) == 0 {
			return c, err
		}
		if c.Earlier, err = d.compare(ctx, before[0], v); err != nil {
			return c, err
		}
		if v.State == grant.RequestPending {
			c.Pattern, err = d.pattern(ctx, v, before)
		}
		return c, err
	}
	return c, nil
}

// before finds the newest calls before v that people approved, those of one page that
// holds any. What policy approved by itself nobody looked at, so it is nothing to
// compare with.
func (d *Desk) before(ctx context.Context, v RequestView) (found []grant.Request, err error) {
	f := grant.Filter{State: grant.RequestIssued, Agent: v.Party.Agent, Before: v.ID, Limit: earlierPage}
	for range earlierPages {
		list, err := d.broker.Archive().Requests(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			byHand := slices.ContainsFunc(r.Approvals, func(a grant.Approval) bool { return a.Method != "auto" })
			if byHand && r.Scope == grant.ScopeOnce && r.Target.Server == v.Target.Server && r.Target.Kind == v.Target.Kind && r.Target.Name == v.Target.Name {
				found = append(found, r)
			}
		}
		if len(found) > 0 || len(list) < earlierPage {
			return found, nil
		}
		f.Before = list[len(list)-1].ID
	}
	return nil, nil
}

func (d *Desk) compare(ctx context.Context, old grant.Request, v RequestView) (*Earlier, error) {
	args, err := d.broker.Arguments(ctx, old)
	if err != nil {
		return nil, err
	}
	last := old.Approvals[len(old.Approvals)-1]
	e := &Earlier{Request: old.ID, Subject: old.Party.Subject, By: last.By, At: last.At}
	e.Fields, e.More, err = compareArguments(args, v.Arguments)
	e.Same = len(e.Fields) == 0
	return e, err
}

// compareArguments lists, field by field, what differs between the arguments of
// two calls, and how many fields do so besides. Spelling and the order of members
// do not count.
func compareArguments(before, after []byte) (changes []ArgumentChange, more int, err error) {
	var values [2]rawjson.Value
	for i, raw := range [][]byte{before, after} {
		if len(raw) == 0 {
			continue
		}
		if values[i], err = rawjson.Parse(raw, rawjson.Limits{}); err != nil {
			return nil, 0, &access.Error{Code: access.CodeInternal, Msg: "kept arguments cannot be read", Err: err}
		}
	}
	var c comparison
	c.walk("", values[0], values[1])
	return c.changes, c.more, nil
}

type comparison struct {
	changes []ArgumentChange
	more    int
}

// walk compares two values that stand in the same place.
func (c *comparison) walk(path string, a, b rawjson.Value) {
	if a.Exists() == b.Exists() && bytes.Equal(rawjson.AppendCanonical(nil, a), rawjson.AppendCanonical(nil, b)) {
		return
	}
	if c.below(path, a, b) {
		return
	}
	if len(c.changes) == maxChanges {
		c.more++
		return
	}
	c.changes = append(c.changes, ArgumentChange{Field: path, Before: a.Raw(), After: b.Raw()})
}

// below compares the members of two objects, and reports false where the values
// are to be compared as wholes.
func (c *comparison) below(path string, a, b rawjson.Value) bool {
	if a.Kind() != rawjson.Object || b.Kind() != rawjson.Object || a.Len() == 0 || b.Len() == 0 {
		return false
	}
	type pair struct{ was, is rawjson.Value }
	var order []string
	pairs := map[string]pair{}
	for k, m := range a.Members() {
		key, _ := k.Str()
		order, pairs[key] = append(order, key), pair{was: m}
	}
	for k, m := range b.Members() {
		key, _ := k.Str()
		p, known := pairs[key]
		if !known {
			order = append(order, key)
		}
		p.is = m
		pairs[key] = p
	}
	for _, key := range order {
		if len(path)+len(key) > maxFieldBytes {
			return false
		}
	}
	for _, key := range order {
		c.walk(member(path, key), pairs[key].was, pairs[key].is)
	}
	return true
}
