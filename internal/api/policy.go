package api

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// PolicyCheck is a draft to be checked, and tested if there are tests, against
// what is registered.
type PolicyCheck struct {
	// Policies replace the stored ones of the same id; the others stand.
	Policies []policy.Policy `json:"policies,omitempty"`
	Tests    []TestFile      `json:"tests,omitempty"`
}

// TestFile is one file of policy tests.
type TestFile struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

func (a *API) policies(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	all := slices.Clone(a.deps.Admin.Current().Set.Policies())
	slices.SortFunc(all, func(x, y policy.Statement) int { return strings.Compare(x.ID, y.ID) })
	return answerOf(paged(all, func(s policy.Statement) string { return s.ID }, q.Get("cursor"), limit))
}

func (a *API) checkPolicies(c *call) (any, error) {
	var in PolicyCheck
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	cur := a.deps.Admin.Current()
	all := slices.DeleteFunc(slices.Clone(cur.Policies), func(p policy.Policy) bool {
		return slices.ContainsFunc(in.Policies, func(n policy.Policy) bool { return n.ID == p.ID })
	})
	all = append(all, in.Policies...)
	tests := make([]policy.TestFile, len(in.Tests))
	for i, t := range in.Tests {
		tests[i] = policy.TestFile(t)
	}
	return policy.RunTests(c.Context(), tests, all, cur.Catalog()), nil
}

// ExplainRequest is a made-up call to be explained. At most one of Tool,
// Prompt, Resource, Ask and Method is given; Method asks about the server itself.
type ExplainRequest struct {
	Agent     string          `json:"agent"`
	Server    string          `json:"server"`
	Tool      string          `json:"tool,omitempty"`
	Prompt    string          `json:"prompt,omitempty"`
	Resource  string          `json:"resource,omitempty"` // a URI
	Ask       string          `json:"ask,omitempty"`      // sampling, elicitation, roots
	Method    string          `json:"method,omitempty"`   // default tools/list
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Subject   *Subject        `json:"subject,omitempty"`
	Task      string          `json:"task,omitempty"`
	// Session is what its session has touched; without it nothing.
	Session *TouchedBy `json:"session,omitempty"`
	// Facts are the values policies read as context.facts: numbers, true or false, or
	// lists of words for the gateway's own. Without them they are not known; with them one that is missing has none.
	Facts    map[string]json.RawMessage `json:"facts,omitempty"`
	Attested *bool                      `json:"attested,omitempty"` // default true
	At       time.Time                  `json:"at,omitzero"`        // default now
	// Asking makes it about asking for the right to make the call.
	Asking *AskedFor `json:"request,omitempty"`
}

// AskedFor is how far a right that is asked for reaches.
type AskedFor struct {
	Seconds int64 `json:"seconds"`
	Uses    int64 `json:"uses"` // 0 is any number
}

// TouchedBy is what the session of a made-up call has touched.
type TouchedBy struct {
	Taint  []string `json:"taint,omitempty"`  // untrusted, finding, server:ID
	Labels []string `json:"labels,omitempty"` // private scopes
}

// Subject is on whose behalf the made-up agent acts.
type Subject struct {
	Issuer string `json:"issuer"`
	ID     string `json:"id"`
}

// Explained says what would be decided about a call and why.
type Explained struct {
	Outcome     string             `json:"outcome"`
	Would       string             `json:"would,omitempty"` // what enforcing would decide, in monitor mode
	Class       access.Class       `json:"class,omitempty"`
	Reason      string             `json:"reason,omitempty"`
	Help        string             `json:"help,omitempty"`
	Action      string             `json:"action"`
	Permits     []string           `json:"permits"`
	Forbids     []string           `json:"forbids"`
	Errors      []string           `json:"errors"`
	Masked      []string           `json:"masked,omitempty"`       // places, where it is permitted without them
	Consequence []string           `json:"consequences,omitempty"` // what would happen besides: "quarantine agent"
	Determining []policy.Statement `json:"determining,omitempty"`
	Inputs      []policy.Input     `json:"inputs,omitempty"`
	Nearest     []policy.Near      `json:"nearest,omitempty"`
	Flip        []string           `json:"flip,omitempty"` // smallest change found that would permit it
	Shadow      *Shadow            `json:"shadow,omitempty"`
	Approve     []string           `json:"approve,omitempty"` // who must approve what is asked for
	Set         string             `json:"set"`               // digest of the policy set
}

// Shadow is what policies with @mode("shadow") would make of a call.
type Shadow struct {
	Outcome string   `json:"outcome"`
	By      []string `json:"by"`
}

// ParseExplain reads a made-up call.
func ParseExplain(raw []byte) (ExplainRequest, error) {
	var r ExplainRequest
	if err := strict(raw, &r); err != nil {
		return r, access.Errorf(access.CodeInvalid, "%v; a request looks like {\"agent\":\"reader\",\"server\":\"files\",\"tool\":\"read_file\",\"arguments\":{\"path\":\"/x\"}}", err)
	}
	return r, nil
}

// Request is the call as a decision is asked about it; now is its time where it
// says none.
func (r ExplainRequest) Request(now time.Time) (*access.Request, error) { return r.request(now) }

func (r ExplainRequest) request(now time.Time) (*access.Request, error) {
	out := &access.Request{ID: access.NewID(access.PrefixDecision), At: r.At, Protocol: "mcp", Server: r.Server, Kind: access.KindServer, Method: r.Method}
	if out.At.IsZero() {
		out.At = now
	}
	if out.Method == "" {
		out.Method = "tools/list"
	}
	targets := 0
	for _, t := range []struct {
		name, method string
		kind         access.Kind
	}{{r.Tool, "tools/call", access.KindTool}, {r.Prompt, "prompts/get", access.KindPrompt}, {r.Resource, "resources/read", access.KindResource}, {r.Ask, r.Ask, access.KindAsk}} {
		if t.name != "" {
			targets++
			out.Kind, out.Target, out.Method = t.kind, t.name, t.method
		}
	}
	switch {
	case r.Agent == "" || r.Server == "":
		return nil, access.Errorf(access.CodeInvalid, "the request must name its agent and its server")
	case targets > 1 || targets == 1 && r.Method != "":
		return nil, access.Errorf(access.CodeInvalid, "the request names more than one of tool, prompt, resource, ask and method")
	case slices.Contains([]string{"tools/call", "prompts/get", "resources/read", "resources/subscribe", "completion/complete"}, r.Method):
		return nil, access.Errorf(access.CodeInvalid, "%s is always about something: name it as tool, prompt or resource instead of method", r.Method)
	}
	out.Who.Actor = access.Actor{Agent: r.Agent, Attested: r.Attested == nil || *r.Attested}
	out.Who.Task = r.Task
	if r.Subject != nil {
		out.Who.Subject = access.Subject{Issuer: r.Subject.Issuer, ID: r.Subject.ID}
	}
	facts, err := r.facts()
	if err != nil {
		return nil, err
	}
	out.Facts = facts
	session := TouchedBy{}
	if r.Session != nil {
		session = *r.Session
	}
	if out.Touched = policy.GivenTouched(session.Taint, session.Labels, facts); out.Touched == nil {
		out.Touched = &access.Touched{}
	}
	if len(r.Arguments) > 0 {
		v, err := rawjson.Parse(r.Arguments, rawjson.Limits{})
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "the arguments: %v", err)
		}
		if v.Kind() != rawjson.Object {
			return nil, access.Errorf(access.CodeInvalid, "the arguments must be an object")
		}
		out.Arguments = v
	}
	return out, nil
}

func (r ExplainRequest) facts() (*access.Facts, error) {
	if r.Facts == nil {
		return nil, nil
	}
	f := &access.Facts{Values: make(map[string]access.FactValue, len(r.Facts))}
	for id, raw := range r.Facts {
		var v access.FactValue
		switch text := string(raw); text {
		case "true", "false":
			v.Bool = text == "true"
		default:
			if policy.OwnFact(id) && json.Unmarshal(raw, &v.Set) == nil {
				break
			}
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, access.Errorf(access.CodeInvalid, "facts: %.64q must be a whole number, true or false, or a list of words where it is the gateway's own", id)
			}
			v.Long = n
		}
		f.Values[id] = v
	}
	return f, nil
}

// Explain decides a made-up call on a state and says why.
func Explain(view *registry.View, set *policy.Set, monitor bool, r ExplainRequest, now time.Time) (Explained, error) {
	if view == nil || set == nil {
		return Explained{}, errors.New("api: there is nothing to explain on")
	}
	req, err := r.request(now)
	if err != nil {
		return Explained{}, err
	}
	s := &pdp.State{View: view.WithOwn(), Set: set, Monitor: monitor}
	d := pdp.Decide(s, req)
	out := Explained{
		Outcome: d.Outcome.String(), Class: d.Class, Reason: d.Reason, Help: d.Help, Action: req.Action(), Set: set.Digest(),
		Permits: list(d.Permits), Forbids: list(d.Forbids), Errors: list(d.Errors),
	}
	if d.Shadow != nil {
		out.Shadow = &Shadow{d.Shadow.Outcome.String(), d.Shadow.By}
	}
	for _, m := range d.Masks {
		if d.Allowed() {
			out.Masked = append(out.Masked, m.Places...)
		}
	}
	for _, c := range d.Consequences {
		out.Consequence = append(out.Consequence, c.Outcome.String()+" "+string(c.Target))
	}
	if d.Monitor {
		out.Would = d.Would.String()
	}
	switch d.Class {
	case access.ClassAgent, access.ClassServer, access.ClassTool, access.ClassHidden:
		return out, nil // the registry refuses: no policy decided, and none would help
	}
	if r.Asking != nil {
		return explainAsking(s, req, *r.Asking, out), nil
	}
	f := pdp.GatherFacts(s, req)
	x := set.Explain(&f.Query)
	out.Determining, out.Inputs, out.Nearest, out.Flip = x.Determining, x.Inputs, x.Nearest, x.Flip
	return out, nil
}

// explainAsking says whether the right to make a call could be asked for, and who
// would have to approve it, by the policies about the action "request".
func explainAsking(s *pdp.State, req *access.Request, of AskedFor, out Explained) Explained {
	f := pdp.GatherFacts(s, req)
	a := s.Set.Ask(&f.Query, of.Seconds, of.Uses)
	out.Action, out.Outcome, out.Would, out.Class, out.Help = "request of "+req.Action(), access.Permit.String(), "", "", ""
	out.Permits, out.Forbids, out.Errors = list(a.Permits), list(a.Forbids), list(a.Errors)
	out.Masked, out.Consequence, out.Shadow = nil, nil, nil
	out.Reason = "the policies say who must approve it; an entitlement may want more"
	ids := slices.Concat(a.Permits, a.Forbids, a.Errors)
	switch speaks := s.Set.Approves(); {
	case !speaks && len(a.Forbids)+len(a.Errors) == 0:
		out.Reason = "no policy permits the action request, so the entitlement says who must approve it, or one person must"
	case a.Denied():
		out.Outcome, out.Reason = access.Deny.String(), "the policies do not let it be asked for"
	}
	for _, x := range a.Approve {
		out.Approve = append(out.Approve, x.String())
	}
	for _, p := range s.Set.Policies() {
		if slices.Contains(ids, p.ID) {
			out.Determining = append(out.Determining, p)
		}
	}
	return out
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (a *API) explain(c *call) (any, error) {
	var in ExplainRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	cur := a.deps.Admin.Current()
	return answerOf(Explain(cur.View, cur.Set, cur.Monitor, in, a.cfg.Now()))
}
