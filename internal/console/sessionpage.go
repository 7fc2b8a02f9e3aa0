package console

import (
	"net/url"
	"strings"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/identity"
)

// newestOfSession is how many events of a session its page shows.
const newestOfSession = 20

type workPage struct {
	admin.SessionDetail
	Rows   []audit.Row // the newest first, for whoever may read evidence
	Reads  bool        // the visitor may
	CanEnd bool        // it is not over
	Events string
}

// Person is whom the agent acts for, as their issuer names them.
func (p workPage) Person() string { return p.Subject[strings.LastIndexByte(p.Subject, '|')+1:] }

// agentSession shows one session of an agent: who it is, what it may, what it has touched
// and what it does.
func (c *Console) agentSession(v *visit) (any, error) {
	s, err := c.work.Effects.Session(v.Context(), v.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p := workPage{SessionDetail: s, Reads: c.may(v, admin.OpEvidence), CanEnd: s.State == "open" || s.State == string(identity.SessionQuarantined)}
	p.Events = at("evidence") + "?session=" + url.QueryEscape(s.ID)
	if p.Reads {
		p.Rows, err = c.work.Evidence.Search(v.Context(), audit.Query{Session: s.ID, Limit: newestOfSession})
	}
	return p, err
}
