package admin

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/revocation"
)

// RevokePlan is what a revocation would end now.
type RevokePlan struct {
	Kind     string   `json:"kind"`
	ID       string   `json:"id"`
	Wide     bool     `json:"wide"`     // it ends more than one session, grant or call: who orders it types its id
	Sessions []string `json:"sessions"` // open ones, at most 1000
	Grants   []string `json:"grants"`   // live ones, and what was carved out of them
	Requests []string `json:"requests"` // that wait for an answer
	Calls    int      `json:"calls"`    // in flight here
	Will     []string `json:"will,omitempty"`
	Undo     string   `json:"undo"`
	Since    uint64   `json:"since,omitempty"` // epoch of its last revocation, 0 if there was none
}

// maxPlanned bounds the sessions a plan looks through.
const maxPlanned = 1000

// Plan says what an order would end. It changes nothing, and is decided as the order is.
func (e *Effects) Plan(ctx context.Context, actor Actor, o Order) (RevokePlan, error) {
	s, err := e.ordered(ctx, actor, &o)
	if err != nil {
		return RevokePlan{}, err
	}
	p := RevokePlan{Kind: string(s.target.Kind), ID: s.target.ID, Sessions: []string{}, Grants: []string{}, Requests: []string{}, Will: s.will, Undo: s.undo, Since: e.revoked.Last(s.target)}
	list, err := e.sessions.Of(ctx, s.sessions, maxPlanned)
	if err != nil {
		return p, err
	}
	for _, f := range list {
		if v := e.view(f); v.State == "open" || v.State == "quarantined" {
			p.Sessions = append(p.Sessions, f.ID)
		}
	}
	if s.grants != nil {
		for _, g := range e.broker.Falls(s.grants) {
			p.Grants = append(p.Grants, g.ID)
		}
	}
	if s.requests != nil {
		for _, r := range e.broker.Pending(s.requests) {
			p.Requests = append(p.Requests, r.ID)
		}
	}
	p.Calls = e.traffic.Count(func(r *access.Request, grant string) bool { return s.calls(r, grant) })
	narrow := s.target.Kind == revocation.Session || s.target.Kind == revocation.Grant && len(p.Grants) <= 1
	p.Wide = !narrow
	return p, nil
}
