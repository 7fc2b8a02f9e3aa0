package admin

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Point is one reason for a risk tier.
type Point struct {
	Factor string `json:"factor"` // capability, data, credential, exposure, provenance, reach, vulnerability
	Points int    `json:"points"`
	Source string `json:"source"` // what it was taken from
}

// Risk is the risk tier of a server and where it comes from (discovery.md
// section 18). Points are starting values; what is unknown counts as the worse.
type Risk struct {
	Points   []Point           `json:"points"`
	Sum      int               `json:"sum"`
	Computed int               `json:"computed"` // tier of the sum
	Tier     int               `json:"tier"`     // that counts: raised by the owner, or lowered for a while
	Raised   int               `json:"raised,omitempty"`
	Lowered  *registry.Lowered `json:"lowered,omitempty"` // only while it counts
}

// RiskOf computes the risk of a server at a time.
func (c *Current) RiskOf(s registry.Server, at time.Time) Risk {
	r := Risk{Points: []Point{c.capability(s), data(s), c.credentialPoint(s), exposure(s)}}
	r.Points = append(r.Points, provenance(s)...)
	r.Points = append(r.Points, c.reach(s), Point{"vulnerability", 0, "not checked: no vulnerability data of it"})
	for _, p := range r.Points {
		r.Sum += p.Points
	}
	switch {
	case r.Sum >= 10:
		r.Computed = 3
	case r.Sum >= 7:
		r.Computed = 2
	case r.Sum >= 4:
		r.Computed = 1
	}
	r.Tier = r.Computed
	if s.RiskTier > r.Tier {
		r.Tier, r.Raised = s.RiskTier, s.RiskTier
	}
	if l := s.Lowered; l != nil && at.Before(l.Until) && l.Tier < r.Tier {
		r.Tier, r.Lowered = l.Tier, l
	}
	return r
}

// capability is the worst a tool of the server can do.
func (c *Current) capability(s registry.Server) Point {
	best := Point{Factor: "capability", Source: "no tool of it is known: counted as one that executes", Points: 4}
	known := false
	for _, t := range c.View.Tools(s.ID) {
		if t.Kind() != registry.KindTool || t.State == registry.ToolRetired {
			continue
		}
		p := Point{Factor: "capability", Points: 1, Source: "reads: tool " + t.Bare()}
		class := c.View.Class(t).Class
		switch {
		case registry.Executes(t.Bare()):
			p.Points, p.Source = 4, "executes: tool "+t.Bare()
		case strings.HasPrefix(class, registry.ClassWrite) || strings.HasPrefix(class, registry.ClassDestroy):
			p.Points, p.Source = 3, class+": tool "+t.Bare()
		case strings.HasSuffix(class, registry.ClassEgress):
			p.Points, p.Source = 2, "sends: tool "+t.Bare()
		}
		if !known || p.Points > best.Points {
			best, known = p, true
		}
	}
	return best
}

// dataWords tell the class of data by what a scope is called.
const (
	restrictedWords   = " pii personal health phi medical payment payments card finance payroll hr secret secrets credential credentials "
	confidentialWords = " db database customer customers crm mail email contract legal prod production finance chat "
)

// data is the gravest class of data a server declares.
func data(s registry.Server) Point {
	if len(s.DataScopes) == 0 {
		return Point{"data", 4, "no data scope is declared: counted as restricted"}
	}
	best := Point{Factor: "data"}
	for _, scope := range s.DataScopes {
		p := Point{"data", 1, "internal: " + scope}
		for _, w := range strings.FieldsFunc(strings.ToLower(scope), func(r rune) bool { return r == ':' || r == '-' || r == '_' || r == '/' || r == '.' }) {
			switch {
			case strings.Contains(restrictedWords, " "+w+" "):
				p = Point{"data", 4, "restricted: " + scope}
			case strings.Contains(confidentialWords, " "+w+" ") && p.Points < 3:
				p = Point{"data", 3, "confidential: " + scope}
			}
		}
		if p.Points > best.Points {
			best = p
		}
	}
	return best
}

func (c *Current) credentialPoint(s registry.Server) Point {
	p := Point{Factor: "credential"}
	if s.Credential == nil {
		p.Source = "none"
		return p
	}
	p.Points, p.Source = 3, fmt.Sprintf("%s: a stored secret that lives long", s.Credential.Ref)
	if src, ok := c.Sources[s.Credential.Ref]; ok {
		switch src.Kind() {
		case credential.SourceClientCredentials, credential.SourceUserOAuth:
			p.Points, p.Source = 1, fmt.Sprintf("%s: scoped OAuth (%s)", src.ID, src.Kind())
		default:
			p.Points, p.Source = 0, fmt.Sprintf("%s: minted for each use (%s)", src.ID, src.Kind())
		}
	}
	return p
}

// exposure is who reaches the server besides the gateway.
func exposure(s registry.Server) Point {
	h := s.Transport.HTTP
	if h == nil {
		return Point{"exposure", 0, "a local process"}
	}
	u, err := url.Parse(h.URL)
	if err != nil {
		return Point{"exposure", 4, "its address cannot be read"}
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	private := err == nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast()) || err != nil && (!strings.Contains(host, ".") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal"))
	switch {
	case loopback(h.URL):
		return Point{"exposure", 0, "loopback"}
	case private:
		return Point{"exposure", 2, "the local network: " + host}
	case s.Credential == nil:
		return Point{"exposure", 4, "any network, without authentication as far as is known: " + host}
	default:
		return Point{"exposure", 2, "any network, with authentication: " + host}
	}
}

func provenance(s registry.Server) []Point {
	x := s.Transport.Stdio
	switch {
	case x == nil:
		return []Point{{"provenance", 2, "who runs it is not proven"}}
	case !fetches(append([]string{x.Command}, x.Args...)):
		return []Point{{"provenance", 2, "a program of unknown origin: " + clip(x.Command)}}
	}
	out := []Point{{"provenance", 1, "no signature of the package is checked"}}
	if !pinnedCommand(s) {
		out = append(out, Point{"provenance", 1, notPinned})
	}
	return out
}

// pinnedCommand reports whether what a server runs is the same tomorrow as far as
// its command says.
func pinnedCommand(s registry.Server) bool {
	x := s.Transport.Stdio
	if x == nil {
		return true
	}
	argv := append([]string{x.Command}, x.Args...)
	return !slices.ContainsFunc(dangers(argv), func(d string) bool { return strings.HasPrefix(d, notPinned) })
}

// reach grows with the logarithm of how many agents may use the server.
func (c *Current) reach(s registry.Server) Point {
	n := 0
	for _, a := range c.View.Agents() {
		if a.State == registry.AgentRetired {
			continue
		}
		if slices.ContainsFunc(a.Tools, func(t string) bool {
			p, err := policy.ParsePattern(t)
			return err == nil && registry.Match(p.Server, s.ID)
		}) || slices.ContainsFunc(keysOf(c.Rights), func(id string) bool {
			e := c.Rights[id]
			return slices.Contains(e.Agents, a.ID) && slices.ContainsFunc(e.Tools, func(t string) bool {
				p, err := policy.ParsePattern(t)
				return err == nil && registry.Match(p.Server, s.ID)
			})
		}) {
			n++
		}
	}
	points := 0
	for limit := 2; n >= limit && points < 3; limit *= 5 {
		points++
	}
	return Point{"reach", points, fmt.Sprintf("%d agents may use it", n)}
}

// LowerTier gives a server a lower risk tier than the computed one, for a while.
// Tier -1 ends that.
func (a *Admin) LowerTier(ctx context.Context, actor Actor, id string, l registry.Lowered) (registry.Server, error) {
	if err := checkReason(l.Why); err != nil {
		return registry.Server{}, err
	}
	now := a.now()
	switch {
	case l.Tier < -1 || l.Tier > 3:
		return registry.Server{}, access.Errorf(access.CodeInvalid, "a risk tier is 0 low to 3 critical")
	case l.Tier >= 0 && l.Why == "":
		return registry.Server{}, access.Errorf(access.CodeInvalid, "lowering a risk tier is an exception: give the reason")
	case l.Tier >= 0 && (!l.Until.After(now) || l.Until.After(now.AddDate(1, 0, 1))):
		return registry.Server{}, access.Errorf(access.CodeInvalid, "lowering a risk tier is an exception: give the day it ends, within a year")
	}
	return a.editServer(ctx, actor, id, "lower", l.Why, func(_ *Current, s registry.Server) (registry.Server, error) {
		if s.Lowered = nil; l.Tier >= 0 {
			l.By = actor.String()
			s.Lowered = &l
		}
		return s, nil
	})
}
