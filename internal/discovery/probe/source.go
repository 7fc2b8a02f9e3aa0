package probe

import (
	"context"
	"fmt"
	"strings"

	"rutile/internal/discovery"
)

// Source tells of the servers that answer at given targets.
type Source struct {
	Config   Config
	Targets  []string
	Describe *discovery.Describer
}

// Check reports what is wrong with the targets, before anything is sent.
func Check(cfg Config, targets []string) error {
	g, err := newGuard(cfg)
	if err != nil {
		return err
	}
	_, err = parseTargets(targets, g, cfg.Authorized)
	return err
}

// Name is "probe".
func (Source) Name() string { return "probe" }

// Discover probes the targets. What was found until ctx ended is told.
func (s Source) Discover(ctx context.Context, into *discovery.Sink) error {
	r, err := Run(ctx, s.Config, s.Targets)
	for i := range r.Found {
		s.tell(&r.Found[i], into)
	}
	if r.Places > 0 || err == nil {
		into.Looked(coverage(r, s.Targets))
	}
	for _, x := range r.Refusals {
		into.Looked(discovery.Coverage{Place: x.What, Outcome: discovery.Skipped, Why: x.Why})
	}
	for _, x := range r.Unresolved {
		into.Looked(discovery.Coverage{Place: x.What, Outcome: discovery.Failed, Why: x.Why})
	}
	return err
}

// coverage is where was asked, in one line.
func coverage(r Report, targets []string) discovery.Coverage {
	place := strings.Join(targets[:min(len(targets), 5)], " ")
	if n := len(targets) - 5; n > 0 {
		place += fmt.Sprintf(" and %d more", n)
	}
	c := discovery.Coverage{Place: place, Outcome: discovery.Read, Entries: len(r.Found)}
	c.Why = fmt.Sprintf("%d of %d ports: %d answer, %d closed, %d silent, %d refused; %d connections, %d requests", r.Done, r.Places, r.Open, r.Closed, r.Silent, r.Refused, r.Connections, r.Requests)
	if !r.Complete {
		c.Outcome = discovery.Cut
	}
	if r.Cut {
		c.Outcome, c.Why = discovery.Cut, c.Why+"; more was found than is kept"
	}
	return c
}

// tell tells of one place that answered.
func (s Source) tell(f *Found, into *discovery.Sink) {
	at := discovery.Place{Address: f.Address.String()}
	switch f.Verdict {
	case Suspect:
		into.Looked(discovery.Coverage{Place: f.Address.String(), Outcome: discovery.Unreadable, Why: "it answers as no server does: " + strings.Join(f.Why, "; ")})
		return
	case Catalog:
		into.Looked(discovery.Coverage{Place: f.URL, Outcome: discovery.Read, Why: "an AI catalogue; what it names is not asked"})
		return
	}
	transport := "http"
	if f.Verdict == SSE {
		transport = "sse"
	}
	d := s.Describe.Describe(discovery.Spec{URL: f.URL, Transport: transport})
	if f.Verdict == Agent {
		d.Target.Kind, d.Target.Key = discovery.KindAgent, "agent:"+d.Target.Key
	}
	one := discovery.Sighting{
		Fact: discovery.Reachable, Strength: f.Confidence, Place: at, Name: f.Name, Target: d.Target, Scopes: d.Scopes,
		Why: append([]string{"it answers as " + string(f.Verdict)}, f.Why...),
	}
	if len(f.Versions) > 0 {
		one.Why = append(one.Why, "it serves "+strings.Join(f.Versions, ", "))
	}
	if t := f.TLS; t != nil {
		why := "its certificate is for " + strings.Join(t.Names, ", ")
		if t.SelfSigned {
			why += ", signed by itself"
		}
		one.Why = append(one.Why, why)
	}
	into.Saw(one)
	if f.CardTier != "" {
		into.Find(poisoned(f, d.Target.Key, at))
	}
	loopback := f.Address.Addr().IsLoopback()
	if f.Listed {
		severity, where := discovery.Critical, "everybody who reaches "+f.Address.Addr().String()
		if loopback {
			severity, where = discovery.Low, "everybody on this machine"
		}
		x := discovery.NewFinding(discovery.OpenServer, severity, d.Target.Key, at, fmt.Sprintf("it lists %d tools to %s, without authentication", len(f.Tools), where), "put it behind the gateway and let it ask for a credential")
		x.Evidence = f.Tools[:min(len(f.Tools), 8)]
		into.Find(x)
	}
	if f.Origin == originAccepted {
		into.Find(discovery.NewFinding(discovery.OriginNotChecked, discovery.High, d.Target.Key, at, "it serves a page of any origin: a web page can use it through a browser on this machine or network", "let it refuse foreign origins with 403, as MCP demands"))
	}
}
