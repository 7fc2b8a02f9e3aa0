package admin

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/identity"
)

// SessionDetail is a session with what is in use in it.
type SessionDetail struct {
	SessionView
	Client  string        `json:"client,omitempty"` // what its agent runs in, as its manifest says
	Model   string        `json:"model,omitempty"`
	Grants  []string      `json:"grants"`           // live ones of its agent for its person: what calls may be made under
	Labels  []string      `json:"labels,omitempty"` // private scopes it has seen something of
	Taint   []string      `json:"taint,omitempty"`  // what may have told the agent what to do
	Running []RunningCall `json:"running"`          // calls in flight here
	// Scores are how unusual what is done is, with the largest reasons; nil where nobody
	// knows.
	Scores *access.Risk `json:"scores,omitempty"`
}

// RunningCall is a call in flight.
type RunningCall struct {
	Decision string    `json:"decision"`
	Action   string    `json:"action"`
	Since    time.Time `json:"since"`
	Grant    string    `json:"grant,omitempty"` // it is made under
}

// Session returns one session with what is in use in it.
func (e *Effects) Session(ctx context.Context, id string) (SessionDetail, error) {
	list, err := e.sessions.Of(ctx, identity.Selection{ID: id}, 1)
	if err != nil {
		return SessionDetail{}, err
	}
	if id == "" || len(list) == 0 {
		return SessionDetail{}, access.Errorf(access.CodeNotFound, "there is no session %q: see rutile session list", clip(id))
	}
	out := SessionDetail{SessionView: e.view(list[0]), Grants: []string{}, Running: []RunningCall{}}
	out.Scores = e.score(&out.SessionView)
	if a, ok := e.admin.Current().View.Agent(out.Agent); ok {
		out.Client, out.Model = a.Runtime, a.Model
	}
	e.traffic.Count(func(r *access.Request, under string) bool {
		if r.Who.Session == id {
			out.Running = append(out.Running, RunningCall{Decision: r.ID, Action: r.Action(), Since: r.At, Grant: under})
		}
		return false
	})
	slices.SortFunc(out.Running, func(x, y RunningCall) int { return x.Since.Compare(y.Since) })
	for _, g := range e.broker.Falls(func(g *grant.Grant) bool {
		return g.Party.Agent == out.Agent && identity.SubjectOf(access.Subject{Issuer: g.Party.Issuer, ID: g.Party.Subject}) == out.Subject && (g.Task == "" || g.Task == out.Task)
	}) {
		out.Grants = append(out.Grants, g.ID)
	}
	t := e.touched(ctx, id)
	if t.Err != "" {
		return out, access.Errorf(access.CodeUnavailable, "%s; try again", t.Err)
	}
	out.Labels, out.Taint = t.Labels, t.Taint
	return out, nil
}
