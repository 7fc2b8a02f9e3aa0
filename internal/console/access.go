package console

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/privilege"
)

// Privileges says who may do what, and what of it was used.
type Privileges interface {
	// Access says who may use what a server offers, and what was used since then.
	Access(ctx context.Context, server, since string) (privilege.Access, error)
	// Of says what an agent could do and did since then.
	Of(ctx context.Context, agent, since string) (privilege.Report, error)
}

// usedSince is how far back pages look for what was used: 90 days.
const usedSince = "2160h"

type serverAccessPage struct {
	privilege.Access
	Rows   []holderRow
	Next   string
	Unheld []string // what no agent may use, as much as is shown
	More   int      // of it that is not shown
}

type holderRow struct {
	privilege.Holder
	By []chainLink
}

// serverAccess shows who may use what a server offers now.
func (c *Console) serverAccess(v *visit) (any, error) {
	got, err := c.work.Privileges.Access(v.Context(), v.PathValue("id"), usedSince)
	if err != nil {
		return nil, err
	}
	p := serverAccessPage{Access: got, Unheld: got.Nobody[:min(len(got.Nobody), rowsPerPage)]}
	p.More = len(got.Nobody) - len(p.Unheld)
	rows, next := cut(v, got.Holders, func(h privilege.Holder) string { return h.Key() })
	p.Next = next
	for _, h := range rows {
		r := holderRow{Holder: h}
		for _, b := range h.Basis {
			r.By = append(r.By, basisLink(v.words, b))
		}
		p.Rows = append(p.Rows, r)
	}
	return p, nil
}

// basisLink leads to what a statement stands in.
func basisLink(w words, b privilege.Basis) chainLink {
	kind := "basis." + b.Kind
	l := chainLink{Label: w.t(kind), Text: line(cmp.Or(b.ID, b.Statement))}
	switch {
	case b.ID == "":
	case b.Kind == privilege.BasisList:
		l.URL = at("agents", b.ID)
	case b.Kind == privilege.BasisPolicy:
		l.URL = at("policies", b.ID)
	case b.Kind == privilege.BasisEntitlement:
		l.URL = at("policies")
	}
	return l
}

type agentAccessPage struct {
	privilege.Agent
	Young   string
	Rows    []privilege.Reach
	Next    string
	Picture *reachPicture // nil where it reaches nothing
}

// agentAccess shows what an agent is granted beside what it used.
func (c *Console) agentAccess(v *visit) (any, error) {
	got, err := c.work.Privileges.Of(v.Context(), v.PathValue("id"), usedSince)
	if err != nil {
		return nil, err
	}
	p := agentAccessPage{Young: got.Young}
	if len(got.Agents) == 0 { // it is retired
		p.ID = v.PathValue("id")
		return p, nil
	}
	p.Agent = got.Agents[0]
	p.Rows, p.Next = cut(v, p.Can, func(r privilege.Reach) string { return r.Action })
	p.Picture = draw(v.words, p.ID, p.Can)
	return p, nil
}

// Bounds of a picture: what is beyond is in the table below it.
const (
	drawnServers = 12
	drawnTools   = 6 // of each server
	rowHeight    = 34
	boxHeight    = 26
	boxWidth     = 200
	margin       = 2 // around the whole, for what lines are wide
)

// reachPicture is an agent, the servers it reaches and what it may use of each. It is drawn
// with attributes alone: the content policy lets no style in.
type reachPicture struct {
	Width, Height int
	Boxes         []box
	Lines         []stroke
	Text          string // all of it in words
}

type box struct {
	X, Y, W, H int
	Class      string
	Text, Full string
}

// Middle is where the text of a box stands.
func (b box) Middle() int { return b.Y + b.H - 8 }

// Inner is where it begins.
func (b box) Inner() int { return b.X + 8 }

type stroke struct {
	X1, Y1, X2, Y2 int
	Class          string
}

// draw returns the picture of what an agent reaches: those it used come first.
func draw(w words, agent string, can []privilege.Reach) *reachPicture {
	type server struct {
		id    string
		tools []privilege.Reach
		calls int
	}
	var servers []*server
	for _, r := range can {
		id, _, _ := strings.Cut(r.Action, "/")
		i := slices.IndexFunc(servers, func(s *server) bool { return s.id == id })
		if i < 0 {
			i, servers = len(servers), append(servers, &server{id: id})
		}
		servers[i].tools, servers[i].calls = append(servers[i].tools, r), servers[i].calls+r.Calls
	}
	if len(servers) == 0 {
		return nil
	}
	slices.SortStableFunc(servers, func(a, b *server) int { return cmp.Compare(b.calls, a.calls) })
	p := &reachPicture{Width: 3*boxWidth + 240 + 2*margin}
	var said []string
	left, middle, right := 0, boxWidth+120, 2*boxWidth+240
	p.Boxes = append(p.Boxes, box{X: left, W: boxWidth, H: boxHeight, Class: "agent", Text: cutTo(agent), Full: line(agent)})
	y := 0
	for _, s := range servers[:min(len(servers), drawnServers)] {
		slices.SortStableFunc(s.tools, func(a, b privilege.Reach) int { return cmp.Compare(b.Calls, a.Calls) })
		shown := s.tools[:min(len(s.tools), drawnTools)]
		rows := len(shown)
		if len(s.tools) > len(shown) {
			rows++
		}
		at := y + (rows-1)*rowHeight/2
		p.Boxes = append(p.Boxes, box{X: middle, Y: at, W: boxWidth, H: boxHeight, Class: "server", Text: cutTo(s.id), Full: line(s.id)})
		p.Lines = append(p.Lines, stroke{X1: left + boxWidth, X2: middle, Y2: at + boxHeight/2, Class: usedClass(s.calls, "permit")})
		var names []string
		for _, r := range shown {
			_, name, _ := strings.Cut(r.Action, "/")
			p.Boxes = append(p.Boxes, box{X: right, Y: y, W: boxWidth, H: boxHeight, Class: "tool", Text: cutTo(name), Full: line(name)})
			p.Lines = append(p.Lines, stroke{X1: middle + boxWidth, Y1: at + boxHeight/2, X2: right, Y2: y + boxHeight/2, Class: usedClass(r.Calls, r.Outcome)})
			names = append(names, w.t("%s (%s, calls: %d)", line(name), w.t(r.Outcome), r.Calls))
			y += rowHeight
		}
		if more := len(s.tools) - len(shown); more > 0 {
			text := w.t("and %d more", more)
			p.Boxes = append(p.Boxes, box{X: right, Y: y, W: boxWidth, H: boxHeight, Class: "more", Text: text, Full: text})
			names = append(names, text)
			y += rowHeight
		}
		said = append(said, fmt.Sprintf("%s: %s", line(s.id), strings.Join(names, ", ")))
	}
	if more := len(servers) - drawnServers; more > 0 {
		text := w.t("and %d more servers", more)
		p.Boxes = append(p.Boxes, box{X: middle, Y: y, W: boxWidth, H: boxHeight, Class: "more", Text: text, Full: text})
		said = append(said, text)
		y += rowHeight
	}
	p.Height = y - rowHeight + boxHeight + 2*margin
	p.Boxes[0].Y = (y - rowHeight) / 2
	for i := range p.Lines {
		if p.Lines[i].X1 == left+boxWidth {
			p.Lines[i].Y1 = p.Boxes[0].Y + boxHeight/2
		}
	}
	p.Text = strings.Join(said, "; ")
	return p
}

// Origin is where it begins, on both axes.
func (p *reachPicture) Origin() int { return -margin }

// usedClass says how a line is drawn: whole where it was used, dashed where it was not,
// dotted where it has to be asked for and was not used.
func usedClass(calls int, outcome string) string {
	switch {
	case calls > 0:
		return "used"
	case outcome == access.RequireApproval.String():
		return "asks"
	}
	return "unused"
}

// cutTo is a name as it fits into a box.
func cutTo(s string) string {
	const most = 24
	r := []rune(line(s))
	if len(r) <= most {
		return string(r)
	}
	return string(r[:most-1]) + "…"
}
