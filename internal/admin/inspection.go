package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"

	"rutile/internal/inspect"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// inspection reads definitions for the registry. What a definition says by itself
// is kept by its digest, what shows only beside the tools of other servers by the
// state of those.
type inspection struct {
	engine *inspect.Engine
	strict bool

	mu    sync.Mutex
	texts map[string]inspect.Report
	peers *neighbours

	judge *Consulted // nil: nobody is asked
}

// neighbours are the tools of all servers as they were in one state.
type neighbours struct {
	generation uint64
	digest     string
	compiled   *inspect.Peers
}

// keptTexts bounds what is kept of definitions already read.
const keptTexts = 4096

func newInspection(strict bool) (*inspection, error) {
	e, err := inspect.New()
	if err != nil {
		return nil, err
	}
	return &inspection{engine: e, strict: strict, texts: map[string]inspect.Report{}}, nil
}

// on is the inspector on a state of the registry.
func (i *inspection) on(v *registry.View) registry.Inspector {
	return &inspector{inspection: i, view: v}
}

type inspector struct {
	*inspection
	view   *registry.View
	listed map[string]bool // the names of the one listing that is read
}

// Rules is the version of the rules.
func (i *inspector) Rules() int { return inspect.RuleSet }

// Strict reports whether no change passes.
func (i *inspector) Strict() bool { return i.strict }

// Inspect says what is found in a definition, alone and beside those of others.
func (i *inspector) Inspect(s registry.Subject) registry.Inspection {
	by := i.Judged(s) // before: what is said meanwhile counts the next time
	r := i.judged(s, i.report(s))
	return registry.Inspection{Digest: s.Digest, Rules: inspect.RuleSet, Tier: r.Tier.String(), Findings: findings(r.Findings), Judged: by}
}

// Drift grades a change. Whatever a server tells the model outright is held to
// more: a change with any finding stops it.
func (i *inspector) Drift(before rawjson.Value, s registry.Subject) registry.Drift {
	if s.Kind == registry.KindCapabilities {
		d := i.engine.Capabilities(before, s.Def)
		if f, ok := i.raised(s); ok {
			d.See(f)
		}
		return driftOf(d)
	}
	d := i.engine.DriftOf(profileOf(s.Kind), before, s.Def)
	known := map[string]bool{}
	for _, f := range i.beside(s, before).Findings {
		known[f.Rule+" "+f.Peer] = true
	}
	for _, f := range i.beside(s, s.Def).Findings {
		if !known[f.Rule+" "+f.Peer] {
			d.See(f)
		}
	}
	for _, f := range i.between(s, s.Def) {
		if !slices.ContainsFunc(i.between(s, before), func(g inspect.Finding) bool { return g.Rule == f.Rule }) {
			d.See(f)
		}
	}
	if f, ok := i.raised(s); ok {
		d.See(f)
	}
	if s.Kind == registry.KindInstructions && d.Grade == inspect.GradeHigh && inspect.Combine(d.New).Tier >= inspect.Review {
		d.Grade = inspect.GradeCritical
	}
	return driftOf(d)
}

func driftOf(d inspect.Drift) registry.Drift {
	out := registry.Drift{Grade: registry.Grade(d.Grade.String())}
	for _, c := range d.Changes {
		out.Changes = append(out.Changes, registry.DriftChange{Kind: c.Kind, Pointer: c.Pointer, Grade: registry.Grade(c.Grade.String()), Why: c.Why})
	}
	return out
}

// report is everything found in a definition.
func (i *inspector) report(s registry.Subject) inspect.Report {
	alone := i.alone(s)
	more := append(slices.Clone(i.beside(s, s.Def).Findings), i.between(s, s.Def)...)
	if len(more) == 0 {
		return alone
	}
	return inspect.Combine(append(slices.Clone(alone.Findings), more...))
}

// between is what is found in the description of s together with those listed before and
// behind it. Definitions in which something is found alone are passed over: agents are
// not shown them.
func (i *inspector) between(s registry.Subject, def rawjson.Value) (out []inspect.Finding) {
	text := describedBy(def)
	if text == "" || s.Place >= len(s.Listed) {
		return nil
	}
	near := func(step int) string {
		for at, n := s.Place+step, 0; at >= 0 && at < len(s.Listed) && n < mostPassed; at, n = at+step, n+1 {
			if i.engine.Document(profileOf(s.Kind), s.Listed[at]).Tier == inspect.Clean {
				return describedBy(s.Listed[at])
			}
		}
		return ""
	}
	return append(i.engine.Between(near(-1), text), i.engine.Between(text, near(1))...)
}

// mostPassed bounds how many definitions are passed over.
const mostPassed = 16

func describedBy(def rawjson.Value) string {
	text, _ := def.Get("description").Str()
	return text
}

func profileOf(k registry.Kind) inspect.Profile {
	if k == registry.KindInstructions {
		return inspect.Instructions
	}
	return inspect.Definition
}

func (i *inspection) alone(s registry.Subject) inspect.Report {
	key := string(s.Kind) + " " + s.Digest
	i.mu.Lock()
	r, ok := i.texts[key]
	i.mu.Unlock()
	if ok && s.Digest != "" {
		return r
	}
	r = i.engine.Document(profileOf(s.Kind), s.Def)
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.texts) >= keptTexts {
		clear(i.texts)
	}
	i.texts[key] = r
	return r
}

// beside holds a tool against those of other servers. A name that was there first
// imitates none that came later.
func (i *inspector) beside(s registry.Subject, def rawjson.Value) inspect.Report {
	if s.Kind != registry.KindTool {
		return inspect.Report{}
	}
	r := i.neighbours().Among(s.Server, i.own(s), def)
	kept := r.Findings[:0]
	for _, f := range r.Findings {
		server, name, _ := strings.Cut(f.Peer, "/")
		t, ok := i.view.Tool(server, name)
		if !ok || f.Family != "xtool" && t.FirstSeen.After(s.FirstSeen) {
			continue
		}
		// Whoever registers a tool must not stop one that was approved before: a person
		// is told, and decides which of the two is wrong. When a tool was first seen says
		// nothing of it: it may have waited, or not have been listed, until then.
		later := !s.Approved.IsZero() && !slices.ContainsFunc(s.Accepted, func(a registry.Finding) bool { return a.Rule == f.Rule && a.Peer == f.Peer })
		if later && f.Rule == "peer.order" && !f.Hard {
			continue // about a tool of its own
		}
		if f.Hard && later {
			f.Hard, f.Weight, f.Why = false, laterWeight, f.Why+"; nothing of that tool was said when this one was approved"
		}
		kept = append(kept, f)
	}
	return inspect.Combine(kept)
}

// laterWeight is that of a finding for review.
const laterWeight = .6

// own are the names the server of s lists, as they are compared.
func (i *inspector) own(s registry.Subject) map[string]bool {
	if len(s.Siblings) == 0 {
		return nil
	}
	if i.listed == nil {
		i.listed = make(map[string]bool, len(s.Siblings))
		for _, name := range s.Siblings {
			i.listed[i.engine.Skeleton(name)] = true
		}
	}
	return i.listed
}

// neighbours are the approved tools of the servers that may be called.
func (i *inspector) neighbours() *inspect.Peers { return i.surroundings().compiled }

func (i *inspector) surroundings() *neighbours {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.peers != nil && i.peers.generation == i.view.Generation() {
		return i.peers
	}
	var tools []registry.Tool
	sum := sha256.New()
	for _, s := range i.view.Servers() {
		if !i.view.ServerStanding(s.ID).OK {
			continue
		}
		for _, t := range i.view.Tools(s.ID) {
			if t.Kind() == registry.KindTool && t.PinDigest != "" && (t.State == registry.ToolApproved || t.State == registry.ToolChanged) {
				tools = append(tools, t)
				sum.Write([]byte(t.Server + "/" + t.Name + "\x00" + t.PinDigest + "\n"))
			}
		}
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	if i.peers != nil && i.peers.digest == digest {
		i.peers = &neighbours{i.view.Generation(), digest, i.peers.compiled}
		return i.peers
	}
	peers := make([]inspect.Peer, len(tools))
	for n, t := range tools {
		peers[n] = inspect.Peer{Server: t.Server, Name: t.Name}
		if def, err := rawjson.Parse(t.Pinned, rawjson.Limits{Bytes: registry.MaxDefinition}); err == nil {
			peers[n].Description, _ = def.Get("description").Str()
		}
	}
	i.peers = &neighbours{i.view.Generation(), digest, i.engine.Peers(peers)}
	return i.peers
}

func findings(in []inspect.Finding) []registry.Finding {
	var out []registry.Finding
	for _, f := range in {
		out = append(out, registry.Finding{Rule: f.Rule, Tier: f.Tier.String(), Pointer: f.Pointer, Start: f.Start, End: f.End,
			Decoded: f.Decoded, Position: string(f.Position), Peer: f.Peer, Why: f.Why})
	}
	return out
}

// mostShown bounds what is shown of one text.
const mostShown = 600

// shown is a finding with its text.
func (i *inspection) shown(s registry.Subject, f registry.Finding) FoundText {
	out := FoundText{Finding: f}
	text, ok := inspect.At(s.Def, f.Pointer)
	if !ok || f.End > len(text) || f.Start >= f.End {
		return out
	}
	out.Text = Visible(short(text[f.Start:f.End]))
	if len(f.Decoded) == 0 {
		return out
	}
	for _, l := range i.engine.Layers(profileOf(s.Kind), []byte(text)) {
		if slices.Equal(l.Decoded, f.Decoded) && l.Start <= f.Start && f.End <= l.End {
			out.DecodedText = Visible(short(l.Text))
			break
		}
	}
	return out
}

// short cuts a text at a rune.
func short(s string) string {
	if len(s) <= mostShown {
		return s
	}
	for i := range s {
		if i > mostShown {
			return s[:i] + "…"
		}
	}
	return s
}
