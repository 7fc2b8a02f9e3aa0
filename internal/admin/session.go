package admin

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
)

// SessionView is a session of an agent, for people.
type SessionView struct {
	ID      string    `json:"id"`
	Agent   string    `json:"agent"`
	Subject string    `json:"subject,omitempty"` // "issuer|id"
	Source  string    `json:"source"`
	Task    string    `json:"task,omitempty"`
	State   string    `json:"state"` // open, over, quarantined, revoked or terminated
	Why     string    `json:"why,omitempty"`
	Opened  time.Time `json:"opened"`
	Last    time.Time `json:"last"` // when it was last given a token
	Ends    time.Time `json:"ends"` // at the latest
	// Risk is how unusual what is done in it is, 0 to 100; 0 where nobody knows or it has
	// ended.
	Risk int `json:"risk"`
}

func (e *Effects) view(f identity.Family) SessionView {
	v := SessionView{ID: f.ID, Agent: f.Agent, Subject: f.Subject, Source: f.Source, Task: f.Task, State: string(f.State), Why: f.Why,
		Opened: f.Opened, Last: f.Last, Ends: f.Absolute}
	switch {
	case v.State != "":
	case f.Open(e.admin.now()):
		v.State = "open"
	default:
		v.State = "over"
	}
	if s := e.score(&v); s != nil {
		v.Risk = s.Session
	}
	return v
}

// score is the scores of a session that is not over, nil where nobody knows.
func (e *Effects) score(v *SessionView) *access.Risk {
	if e.scores == nil || v.State != "open" && v.State != string(identity.SessionQuarantined) {
		return nil
	}
	return e.scores.Of(v.Agent, v.ID, v.Subject)
}

// List returns sessions, newest first: at most limit with ids below before, where
// that is not ""; held only those that something stands against.
func (e *Effects) List(ctx context.Context, before string, limit int, held bool) ([]SessionView, error) {
	list, err := e.sessions.List(ctx, before, limit, held)
	out := make([]SessionView, 0, len(list))
	for _, f := range list {
		out = append(out, e.view(f))
	}
	return out, err
}

// Release lets a session go that is quarantined.
func (e *Effects) Release(ctx context.Context, actor Actor, id, why string) (SessionView, error) {
	if err := e.may(ctx, actor, why); err != nil {
		return SessionView{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sessions.Refused(id) != identity.SessionQuarantined {
		return SessionView{}, access.Errorf(access.CodeConflict, "session %q is not quarantined: see rutile session list --held", clip(id))
	}
	// What lets somebody do more is recorded before.
	if err := e.admin.note(ctx, actor, record{verb: "release", kind: kindSession, object: id, reason: why}); err != nil {
		return SessionView{}, err
	}
	f, err := e.sessions.Release(ctx, id)
	if err != nil {
		if verr := e.admin.undone(ctx, actor, kindSession, id, "release"); verr != nil {
			return SessionView{}, verr
		}
		return SessionView{}, err
	}
	if e.scores != nil {
		e.scores.PardonSession(f.Agent, f.ID)
	}
	return e.view(f), nil
}

func (e *Effects) may(ctx context.Context, actor Actor, why string) error {
	if err := checkReason(why); err != nil {
		return err
	}
	return e.admin.Authorize(ctx, actor, OpSession)
}
