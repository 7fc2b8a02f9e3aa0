// Package floweval measures the rules of information flow on labelled sessions.
//
// A set is JSON lines (inspection.md section 12): what a user asked, and the calls that
// followed with what each brought back. The calls are replayed in order: each is decided
// by the shipped engine, then its result is inspected and taken in. Labels, categories,
// sources, origins, goals and ids are the answers, and MUST NOT be seen.
package floweval

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/flow"
	"rutile/internal/inspect"
	"rutile/internal/inspect/eval"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
)

// Mode is how one way of replaying a set does. Asks count as neither blocked nor
// passed.
type Mode struct {
	BlockRecall   eval.Rate // attacked rows whose first hostile call is denied
	AttackAsked   eval.Rate // whose first hostile call is asked about
	BenignBlocked eval.Rate // honest rows with a call denied
	BenignAsked   eval.Rate // with none denied and one asked about
	FlaggedDenied eval.Rate // rows that followed an order to read something, with a call denied
	FlaggedAsked  eval.Rate
	// HonestDenied are the calls of the user's own task in attacked rows that were
	// denied, before anything hostile was called.
	HonestDenied eval.Rate
	By           map[string]map[string]Group // suite, category
	Rules        map[string]map[string]int   // by rule: how many first hostile calls and honest rows it decided
}

// Group is how the rows of one suite or category do.
type Group struct {
	N                                                    int
	BlockRecall, AttackAsked, BenignBlocked, BenignAsked eval.Rate
}

// Misses are the ids of the prompt-known mode that came out wrong.
type Misses struct {
	Missed  []string `json:"missed"`       // attacked, and the hostile call permitted
	Asked   []string `json:"asked"`        // attacked, and asked about
	Blocked []string `json:"blockedWrong"` // honest, and denied
	Benign  []string `json:"benignAsked"`  // honest, and asked about
}

// Result is what a set shows.
type Result struct {
	Set       string
	N         int
	Positives int // attacked
	Negatives int // honest
	Flagged   int // followed an order, with reads only
	Known     Mode
	Unknown   Mode
	Micros    eval.Micros
	Misses    *Misses
}

// record is one row of a set.
type record struct {
	ID       string `json:"id"`
	Source   string `json:"source"`
	Suite    string `json:"suite"`
	Label    string `json:"label"`
	Category string `json:"category"`
	Prompt   string `json:"user_prompt"`
	Steps    []step `json:"steps"`
}

type step struct {
	Tool   string          `json:"tool"`
	Labels []string        `json:"labels"`
	Args   json.RawMessage `json:"args"`
	Result string          `json:"result_excerpt"`
	Block  bool            `json:"block"`
}

// outcome is what became of a row.
type outcome struct {
	row       *record
	decisions []flow.Decision
	rules     []string
}

// Flows replays a set twice: with the user's words known and not.
func Flows(e *inspect.Engine, in io.Reader, o eval.Options) (Result, error) {
	var rows []*record
	err := eval.Lines(in, func(line []byte) error {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("reading the record: %w", err)
		}
		if !slices.Contains([]string{"allow", "allow_flagged", "block"}, r.Label) {
			return fmt.Errorf("label %q is not known here: use allow, allow_flagged or block", r.Label)
		}
		if len(r.Steps) == 0 {
			return fmt.Errorf("record %q: it has no steps", r.ID)
		}
		rows = append(rows, &r)
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	set, err := rules(rows)
	if err != nil {
		return Result{}, err
	}
	out := Result{Set: "flows", N: len(rows)}
	var micros []float64
	for i, mode := range []*Mode{&out.Known, &out.Unknown} {
		var done []outcome
		for _, r := range rows {
			p := player{e: e, set: set, now: o.Now}
			oc, err := p.replay(r, i == 0)
			if err != nil {
				return Result{}, fmt.Errorf("record %q: %w", r.ID, err)
			}
			done = append(done, oc)
			micros = append(micros, p.micros...)
		}
		*mode = sum(done)
		if i == 0 && o.Misses {
			out.Misses = misses(done)
		}
	}
	for _, r := range rows {
		switch r.Label {
		case "block":
			out.Positives++
		case "allow":
			out.Negatives++
		default:
			out.Flagged++
		}
	}
	out.Micros = eval.Quantiles(micros)
	return out, nil
}

// player replays one row.
type player struct {
	e      *inspect.Engine
	set    *policy.Set
	labels []string // private scopes the session has seen
	now    func() time.Time
	micros []float64 // of a step: decided and taken in
}

func (p *player) replay(r *record, known bool) (outcome, error) {
	out := outcome{row: r}
	x, err := flow.New([]byte("a key for one measurement only"))
	if err != nil {
		return out, err
	}
	if known {
		x.User(r.Prompt)
	}
	for i, s := range r.Steps {
		args, err := rawjson.Parse(s.Args, rawjson.Limits{})
		if err != nil {
			return out, fmt.Errorf("the arguments of step %d: %w", i, err)
		}
		text, err := json.Marshal(s.Result)
		if err != nil {
			return out, err
		}
		result, err := rawjson.Parse(text, rawjson.Limits{Bytes: len(text) + 1})
		if err != nil {
			return out, fmt.Errorf("the result of step %d: %w", i, err)
		}
		start := p.clock()
		call := flow.Call{Server: server, Tool: s.Tool, Traits: s.traits(), Arguments: args}
		d, rule := decide(p.set, &s, &policy.Query{Arguments: args, Touched: p.touched(x, x.Look(call))})
		out.decisions, out.rules = append(out.decisions, d), append(out.rules, rule)
		if d != flow.Deny && call.Traits.Sink() {
			x.Sent(call)
		}
		o := p.origin(i, &s, args)
		x.Ingest(o, result)
		p.see(o.Scopes)
		p.micros = append(p.micros, float64(p.clock().Sub(start).Nanoseconds())/1000)
	}
	return out, nil
}

// touched is what the session has touched, with the facts of the call that waits.
func (p *player) touched(x *flow.Index, r flow.Report) *access.Touched {
	t := &access.Touched{Labels: p.labels, Flow: r.Facts.Values()}
	if x.Untrusted() {
		t.Taint = []string{access.LabelUntrusted}
	}
	return t
}

// see adds scopes to those the session has seen.
func (p *player) see(scopes []string) {
	for _, s := range scopes {
		if !slices.Contains(p.labels, s) {
			p.labels = append(p.labels, s)
		}
	}
	slices.Sort(p.labels)
}

func (p *player) clock() time.Time {
	if p.now == nil {
		return time.Time{}
	}
	return p.now()
}

// origin is a step's result with what inspection finds in it.
func (p *player) origin(i int, s *step, args rawjson.Value) flow.Origin {
	o := flow.Origin{Call: fmt.Sprintf("step-%d", i), Server: "set", Tool: s.Tool, Arguments: args, Untrusted: slices.Contains(s.Labels, "untrusted_content")}
	if slices.Contains(s.Labels, "private_data") {
		o.Scopes = []string{"private"}
	}
	for _, d := range p.e.Values([]byte(s.Result)) {
		if label := string(d.Label); d.Identifies() && !slices.Contains(o.Scopes, label) {
			o.Scopes = append(o.Scopes, label)
		}
	}
	report := p.e.Text(inspect.Result, []byte(s.Result))
	if report.Tier == inspect.Clean {
		return o
	}
	for _, f := range report.Findings {
		tier := flow.Tier(max(f.Tier, inspect.Review)) // together they call for that much
		o.Findings = append(o.Findings, flow.Finding{Start: f.Start, End: f.End, Tier: min(tier, flow.Tier(report.Tier))})
	}
	return o
}
