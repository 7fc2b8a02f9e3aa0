package gate

import (
	"context"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/boundary"
	"rutile/internal/inspect"
	"rutile/internal/pdp"
	"rutile/internal/registry"
)

// Labels knows what sessions have touched. Boundary's is one.
type Labels interface {
	// Of returns what a session has touched; where that cannot be read Err says so.
	Of(ctx context.Context, session string) *access.Touched
	// Touched reports whether a session has touched anything; it may be a second late.
	Touched(ctx context.Context, session string) bool
	// Raise adds marks of one session, durably, and reports whether one is new.
	Raise(ctx context.Context, marks []boundary.Mark) (bool, error)
	// Join says that a session works for another, and reports whether it has touched more
	// because of it.
	Join(ctx context.Context, session, parent, decision string, at time.Time) (bool, error)
	// Parents returns the sessions that handed one work.
	Parents(ctx context.Context, session string) ([]string, error)

	// Shared reports whether other nodes raise marks too.
	Shared() bool
	// Key is what the values a session was shown are fingerprinted with.
	Key(ctx context.Context, session string) ([]byte, error)
	// Keep keeps fingerprints of what a session was shown, durably; Kept returns them,
	// but for those that are known.
	Keep(ctx context.Context, session, id string, prints []byte) error
	Kept(ctx context.Context, session string, known func(id string) bool) (ids []string, prints [][]byte, err error)
}

// taintFinding is the taint of a session that read something inspection found.
const taintFinding = "finding"

// touch finds what the session of r has touched. What r itself raised when it was
// counted is not what it is judged on.
func (g *Gate) touch(ctx context.Context, state *pdp.State, r *access.Request) {
	r.Touched = g.clean
	if r.Who.Session == "" || !pdp.ReadsTouched(state, r) {
		return
	}
	t := without(g.labels.Of(ctx, r.Who.Session), r.ID)
	if !t.Clean() && t.Err == "" && pdp.Sink(state, r) {
		t = g.trace(ctx, state, r, t)
	}
	r.Touched = t
}

// without is t without what one call raised.
func without(t *access.Touched, decision string) *access.Touched {
	own := func(c access.Cause) bool { return c.Decision == decision }
	if !slices.ContainsFunc(t.Causes, own) {
		return t
	}
	out := &access.Touched{Err: t.Err, Flow: t.Flow}
	for _, c := range t.Causes {
		if own(c) {
			continue
		}
		out.Causes = append(out.Causes, c)
		if c.Private {
			out.Labels = append(out.Labels, c.Word)
			continue
		}
		out.Taint = append(out.Taint, c.Word)
		if c.Server != "" {
			out.Taint = append(out.Taint, "server:"+c.Server)
		}
	}
	slices.Sort(out.Labels)
	slices.Sort(out.Taint)
	out.Labels, out.Taint = slices.Compact(out.Labels), slices.Compact(out.Taint)
	return out
}

// label writes down what r is about to bring back, and of a right that was handed on
// where that comes from, before anything is sent: parts of a result may reach the agent
// before the rest; raised says what. It reports whether the session has touched something new by it, which
// another call may have raised at the same moment.
func (g *Gate) label(ctx context.Context, r *access.Request, ru *pdp.Ruling, intent audit.Ref, raised *[]string) (bool, error) {
	if r.Who.Session == "" {
		return false, nil
	}
	joined := false
	if from := ru.From(); from != "" {
		var err error
		if joined, err = g.labels.Join(ctx, r.Who.Session, from, r.ID, r.At); err != nil {
			return false, err
		}
	}
	marks := marksOf(r, ru.Labels(), intent)
	if len(marks) == 0 {
		return joined, nil
	}
	added, err := g.labels.Raise(ctx, marks)
	if added {
		*raised = wordsOf(marks)
	}
	return added || joined, err
}

// marksOf are the marks that labels leave.
func marksOf(r *access.Request, labels []string, intent audit.Ref) []boundary.Mark {
	var out []boundary.Mark
	for _, l := range labels {
		switch {
		case registry.Untrusted(l):
			out = append(out, markOf(r, boundary.SideTaint, access.LabelUntrusted, intent))
			if l != access.LabelUntrusted {
				out = append(out, markOf(r, boundary.SideTaint, l, intent))
			}
		case registry.Private(l):
			out = append(out, markOf(r, boundary.SideLabel, l, intent))
		}
	}
	return out
}

func markOf(r *access.Request, side, word string, intent audit.Ref) boundary.Mark {
	m := boundary.Mark{Session: r.Who.Session, Side: side, Word: word, Server: r.Server, Decision: r.ID, At: r.At}
	if intent != (audit.Ref{}) {
		m.Leaf, m.Hash = intent.Index, intent.Hash[:]
	}
	if r.Kind != access.KindResource { // a URI may name a person
		m.Tool = r.Target
	}
	return m
}

// raise writes down what was found in a message, whole, and in what is left of it,
// before that goes on. p.mu is held.
func (p *outflow) raise(ctx context.Context, whole, left *sight) error {
	if p.req.Who.Session == "" {
		return nil
	}
	var marks []boundary.Mark
	if whole.seen.Tier >= inspect.Review && !whole.quiet {
		marks = append(marks, markOf(p.req, boundary.SideTaint, access.LabelUntrusted, p.intent), markOf(p.req, boundary.SideTaint, taintFinding, p.intent))
	}
	marks = append(marks, marksOf(p.req, left.identifying(), p.intent)...)
	if len(marks) == 0 {
		return nil
	}
	added, err := p.gate.labels.Raise(ctx, marks)
	if added {
		p.raised = merge(p.raised, wordsOf(marks))
	}
	return err
}

func wordsOf(marks []boundary.Mark) []string {
	var out []string
	for _, m := range marks {
		out = merge(out, []string{m.Word})
	}
	return out
}

// identifying are the labels of what was found that a person or an account is known by.
func (s *sight) identifying() []string {
	var out []string
	for _, v := range s.data {
		for _, d := range v.Found {
			if d.Identifies() {
				out = merge(out, []string{string(d.Label)})
			}
		}
	}
	slices.Sort(out)
	return out
}

// labelled reports whether what comes back is looked through for secrets and personal
// data, whether or not a policy asks: in a session that has touched something, and from a
// tool that has labels.
func (g *Gate) labelled(ctx context.Context, r *access.Request, ru *pdp.Ruling) bool {
	return len(ru.Labels()) > 0 || g.labels.Touched(ctx, r.Who.Session)
}
