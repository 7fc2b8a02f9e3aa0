package api

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// query reads the parameters of a list. Unknown ones are mistakes: a filter
// with a typing error would show everything.
func (c *call) query(known ...string) (url.Values, int, error) {
	q, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, 0, access.Errorf(access.CodeInvalid, "the query cannot be read")
	}
	for k, v := range q {
		if !slices.Contains(known, k) || len(v) != 1 {
			return nil, 0, access.Errorf(access.CodeInvalid, "the parameter %q is unknown or given twice; known are %s", k, strings.Join(known, ", "))
		}
	}
	limit := 0
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > maxLimit {
			return nil, 0, access.Errorf(access.CodeInvalid, "limit must be between 1 and %d", maxLimit)
		}
	}
	return q, limit, nil
}

func (a *API) agents(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	var all []Agent
	for _, x := range a.deps.Admin.Current().View.Agents() {
		if v := a.viewAgent(x); q.Get("state") == "" || q.Get("state") == string(v.Status) {
			all = append(all, v)
		}
	}
	return paged(all, func(x Agent) string { return x.ID }, q.Get("cursor"), limit)
}

func (a *API) viewAgent(x registry.Agent) Agent {
	now := a.cfg.Now()
	return Agent{x, registry.AgentStatus(x, now), registry.Orphaned(a.deps.Admin.Current().View, x.Owner, now)}
}

func (a *API) agent(c *call) (any, error) {
	x, ok := a.deps.Admin.Current().View.Agent(c.PathValue("id"))
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "agent %q is not registered: see rutile agent list", c.PathValue("id"))
	}
	return a.viewAgent(x), nil
}

func (a *API) createAgent(c *call) (any, error) {
	var spec admin.AgentSpec
	if err := c.decode(&spec); err != nil {
		return nil, err
	}
	x, err := a.deps.Admin.CreateAgent(c.Context(), c.actor, spec)
	if err != nil {
		return nil, err
	}
	return a.viewAgent(x), nil
}

// verb reads what is asked of an object. The registry says whether its state
// allows it.
func (c *call) verb(known ...registry.Verb) (registry.Verb, error) {
	v := registry.Verb(c.PathValue("verb"))
	if !slices.Contains(known, v) {
		return "", access.Errorf(access.CodeNotFound, "%q cannot be asked for here", string(v))
	}
	return v, nil
}

func (a *API) changeAgent(c *call) (any, error) {
	verb, err := c.verb(registry.VerbSuspend, registry.VerbResume, registry.VerbQuarantine, registry.VerbRetire)
	if err != nil {
		return nil, err
	}
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	x, err := a.deps.Admin.ChangeAgent(c.Context(), c.actor, c.PathValue("id"), verb, in.Reason)
	if err != nil {
		return nil, err
	}
	return a.viewAgent(x), nil
}

func (a *API) invite(c *call) (any, error) {
	var in InviteSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Seconds < 0 || in.Seconds > int(24*time.Hour/time.Second) {
		return nil, access.Errorf(access.CodeInvalid, "seconds must be between 1 and a day's worth")
	}
	return a.deps.Admin.Invite(c.Context(), c.actor, c.PathValue("id"), time.Duration(in.Seconds)*time.Second)
}

func (a *API) unenroll(c *call) (any, error) {
	var in UnenrollSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	x, err := a.deps.Admin.Unenroll(c.Context(), c.actor, c.PathValue("id"), in.Key, in.Reason)
	if err != nil {
		return nil, err
	}
	return a.viewAgent(x), nil
}

func (a *API) token(c *call) (any, error) {
	var in TokenSpec
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Seconds < 0 || in.Seconds > int(24*time.Hour/time.Second) {
		return nil, access.Errorf(access.CodeInvalid, "seconds must be between 1 and a day's worth")
	}
	t, err := a.deps.Admin.IssueDevelopmentToken(c.Context(), c.actor, admin.TokenRequest{
		Agent: c.PathValue("id"), Server: in.Server, A2A: in.A2A, Subject: in.Subject, Task: in.Task, TTL: time.Duration(in.Seconds) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return Token{Token: t.Value, ID: t.ID, Agent: t.Agent, Resource: t.Resource, Session: t.Session, Expires: t.Expires.UTC()}, nil
}

func (a *API) servers(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state")
	if err != nil {
		return nil, err
	}
	view := a.deps.Admin.Current().View
	var all []Server
	for _, s := range view.Servers() {
		if q.Get("state") == "" || q.Get("state") == string(s.State) {
			all = append(all, viewServer(view, s, a.cfg.Now()))
		}
	}
	return paged(all, func(s Server) string { return s.ID }, q.Get("cursor"), limit)
}

func viewServer(v *registry.View, s registry.Server, at time.Time) Server {
	st := v.ServerStanding(s.ID)
	out := Server{Server: s, Callable: st.OK, Why: st.Why, Orphaned: registry.Orphaned(v, s.Owner, at)}
	for _, t := range v.Tools(s.ID) {
		if t.Usual() {
			continue
		}
		if out.Tools == nil {
			out.Tools = map[string]int{}
		}
		out.Tools[string(t.State)]++
	}
	return out
}

func (a *API) findServer(ctx context.Context, id string) (Server, error) {
	view := a.deps.Admin.Current().View
	s, ok := view.Server(id)
	if !ok {
		return Server{}, access.Errorf(access.CodeNotFound, "server %q is not registered: see rutile server list", id)
	}
	out := viewServer(view, s, a.cfg.Now())
	out.Findings = findingsOf(view, id)
	out.Process = a.deps.Process(s)
	risk := a.deps.Admin.Current().RiskOf(s, a.cfg.Now())
	out.Risk = &risk
	var err error
	out.Checklist, err = a.deps.Admin.Checklist(ctx, id)
	return out, err
}

func (a *API) server(c *call) (any, error) {
	return answerOf(a.findServer(c.Context(), c.PathValue("id")))
}

// answerOf keeps an error from being answered with a zero value.
func answerOf[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}
