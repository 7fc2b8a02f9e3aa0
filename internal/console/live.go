package console

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/identity"
)

// liveRows is how many sessions are looked through for those that are open.
const liveRows = 200

type livePage struct {
	Held   bool
	Paused bool
	Views  []filter
	Calls  []callRow
	More   int // calls that are not shown
	Rows   []sessionRow
	Next   string
	Can    bool // the visitor may end sessions
	Reads  bool // the visitor may read evidence
	Again  string
	Pause  string
}

// callRow is a call in flight.
type callRow struct {
	Agent, Person, Session, Action string
	Since                          time.Time
}

type sessionRow struct {
	admin.SessionView
	Calls   int
	CanFree bool // it is quarantined
	CanEnd  bool
}

// Person is whom the agent acts for, as their issuer names them.
func (r sessionRow) Person() string { return r.Subject[strings.LastIndexByte(r.Subject, '|')+1:] }

// live shows who is at work: sessions, newest first, and the calls in flight.
func (c *Console) live(v *visit) (any, error) {
	p := livePage{Held: v.q.Get("held") == "true", Paused: v.q.Get("pause") == "true", Can: c.may(v, admin.OpSession), Reads: c.may(v, admin.OpEvidence), Again: v.URL.RequestURI()}
	p.Views = []filter{{v.words.t("all"), with(v, "held", ""), !p.Held}, {v.words.t("held"), with(v, "held", "true"), p.Held}}
	p.Pause = with(v, "pause", "true")
	if p.Paused {
		p.Pause = with(v, "pause", "")
	}
	inFlight := map[string]int{}
	for _, r := range c.work.Calls() {
		inFlight[r.Who.Session]++
		p.Calls = append(p.Calls, callRow{Agent: r.Who.Actor.Agent, Person: r.Who.Subject.ID, Session: r.Who.Session, Action: r.Action, Since: r.At})
	}
	slices.SortFunc(p.Calls, func(a, b callRow) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Session, b.Session), cmp.Compare(a.Action, b.Action))
	})
	p.More = max(0, len(p.Calls)-rowsPerPage)
	p.Calls = p.Calls[:min(len(p.Calls), rowsPerPage)]
	list, err := c.work.Effects.List(v.Context(), v.q.Get(cursorKey), rowsPerPage+1, p.Held)
	if err != nil {
		return nil, err
	}
	list, p.Next = newest(v, list, func(s admin.SessionView) string { return s.ID })
	for _, s := range list {
		p.Rows = append(p.Rows, sessionRow{s, inFlight[s.ID], p.Can && s.State == string(identity.SessionQuarantined), p.Can && (s.State == "open" || s.State == string(identity.SessionQuarantined))})
	}
	return p, nil
}

// endSession ends or lets go what is at work, and says what came of it.
func (c *Console) endSession(v *visit, f map[string]string) (string, string, error) {
	to := at("live")
	if f["verb"] == "release" {
		s, err := c.work.Effects.Release(v.Context(), v.session.actor, f["id"], f["reason"])
		return to + "?held=true", v.words.t("Session %s is %s.", line(s.ID), v.words.t(s.State)), err
	}
	if f["verb"] != "terminate" && f["verb"] != "revoke" {
		return to, "", access.Errorf(access.CodeInvalid, "a session is terminated, revoked or released")
	}
	began := c.now()
	order := admin.Order{Kind: f["kind"], ID: f["id"], Reason: f["reason"]}
	if f["verb"] == "terminate" {
		order.Verb = admin.VerbTerminate
	}
	rec, err := c.work.Effects.Revoke(v.Context(), v.session.actor, order)
	took := c.now().Sub(began)
	return to, v.words.t("%s: %d sessions ended, %d grants taken back, %d calls cut off, in %d ms.", line(rec.ID), len(rec.Sessions), len(rec.Grants), rec.Calls, took.Milliseconds()), err
}
