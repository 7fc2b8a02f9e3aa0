package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/finding"
	"rutile/internal/inspect"
	"rutile/internal/judge"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// Consulted is an outside judge and what its verdicts do.
type Consulted struct {
	Judge interface {
		Known(kind, digest string) (judge.Verdict, bool)
		Offer(it judge.Item)
	}
	Threshold float64 // of its confidence, below which a verdict does nothing
	Lower     bool    // soft findings do not count where it calls a text benign
}

// Consult has the definitions that are inspected judged by c too. It MUST be called
// before the first listing.
func (a *Admin) Consult(c *Consulted) { a.inspect.judge = c }

// judgedKey is what a definition is known by to a judge.
func judgedKey(s registry.Subject) string { return string(s.Kind) + " " + s.Digest }

// Judged names the verdict that takes part, "" for none.
func (i *inspection) Judged(s registry.Subject) string {
	if i.judge == nil {
		return ""
	}
	v, ok := i.judge.Judge.Known(judge.Definition, judgedKey(s))
	if !ok || v.Raises(i.judge.Threshold) == "" && !(i.judge.Lower && v.Lowers(i.judge.Threshold)) {
		return ""
	}
	return v.Model + " " + v.Label
}

// raised is the finding a verdict makes, false if it makes none.
func (i *inspection) raised(s registry.Subject) (inspect.Finding, bool) {
	if i.judge == nil {
		return inspect.Finding{}, false
	}
	v, ok := i.judge.Judge.Known(judge.Definition, judgedKey(s))
	tier := v.Raises(i.judge.Threshold)
	if !ok || tier == "" {
		return inspect.Finding{}, false
	}
	return inspect.Finding{Rule: "judge." + v.Label, Family: "judge", Hard: tier == registry.TierBlock, Weight: .6, Why: judgeSays(v)}, true
}

// judgeSays is a verdict in words. Its reason is foreign text, and not among them.
func judgeSays(v judge.Verdict) string {
	return fmt.Sprintf("is called %s by the outside judge %s, confidence %.2f", v.Label, v.Model, v.Confidence)
}

// judged is a report with the verdict on the definition: raised, or soft findings
// lowered to notes. Where there is no verdict one is asked for.
func (i *inspection) judged(s registry.Subject, r inspect.Report) inspect.Report {
	if i.judge == nil || s.Digest == "" {
		return r
	}
	v, ok := i.judge.Judge.Known(judge.Definition, judgedKey(s))
	if !ok {
		i.offer(s, r)
		return r
	}
	if f, ok := i.raised(s); ok {
		return inspect.Combine(append(slices.Clone(r.Findings), f))
	}
	// What could not be read whole was not judged whole.
	hard := r.Tier == inspect.Block || slices.ContainsFunc(r.Findings, func(f inspect.Finding) bool { return f.Hard || f.Family == "limit" })
	if hard || !i.judge.Lower || !v.Lowers(i.judge.Threshold) {
		return r
	}
	r.Findings, r.Tier = slices.Clone(r.Findings), inspect.Clean
	for n := range r.Findings {
		r.Findings[n].Tier = inspect.Clean
	}
	return r
}

func (i *inspection) offer(s registry.Subject, r inspect.Report) {
	it := judge.Item{Kind: judge.Definition, Digest: judgedKey(s), Server: s.Server, Name: s.Name, Text: rawjson.AppendCanonical(nil, s.Def)}
	for _, f := range r.Findings {
		it.Findings = append(it.Findings, judge.Finding{Rule: f.Rule, Tier: f.Tier.String()})
	}
	i.judge.Judge.Offer(it)
}

// OfferAll asks for a verdict on every definition that was listed and has none.
func (a *Admin) OfferAll() {
	if a.inspect.judge == nil {
		return
	}
	view := a.current.Load().View
	for _, s := range view.Servers() {
		for _, t := range view.Tools(s.ID) {
			def, err := rawjson.Parse(t.Seen, rawjson.Limits{Bytes: registry.MaxDefinition})
			if err != nil || t.SeenDigest == "" {
				continue
			}
			subject := t.Subject(def)
			if _, ok := a.inspect.judge.Judge.Known(judge.Definition, judgedKey(subject)); !ok {
				a.inspect.offer(subject, a.inspect.alone(subject))
			}
		}
	}
}

// The rules of what an outside judge raises.
const (
	JudgedDefinition = "JUDGE_DEFINITION"
	JudgedResult     = "JUDGE_RESULT"
)

// judgedTime is how long a verdict on a result is worth a look.
const judgedTime = 7 * 24 * time.Hour

// Judged raises what an outside judge said of definitions that are listed still and
// that nobody accepted, and of results of the last days.
func (f *Findings) Judged(ctx context.Context, node string, all []judge.Verdict, threshold float64) error {
	view, now := f.admin.Current().View, f.admin.now()
	says := finding.Says{Source: "judge:" + node, Covers: finding.Everything}
	for _, v := range all {
		tier := v.Raises(threshold)
		t, ok := view.Tool(v.Server, v.Name)
		if tier == "" || !ok {
			continue
		}
		r := finding.Raised{Rule: JudgedResult, Subject: finding.Subject{Kind: finding.SubjectTool, ID: v.Server + "/" + v.Name}, Severity: finding.Medium, Why: "it " + judgeSays(v),
			Next: "look at it: rutile tool diff " + v.Server + " " + v.Name + "; rutile tool quarantine stops it, rutile tool approve accepts it"}
		if tier == registry.TierBlock {
			r.Severity = finding.High
		}
		s, _ := view.Server(v.Server)
		r.Owner = s.Owner
		if v.Reason != "" {
			r.Evidence = []string{"the judge's words: " + v.Reason}
		}
		switch v.Kind {
		case judge.Definition:
			if !strings.HasSuffix(v.Digest, " "+t.SeenDigest) || slices.ContainsFunc(t.Accepted, func(x registry.Finding) bool { return x.Rule == "judge."+v.Label }) {
				continue
			}
			r.Rule = JudgedDefinition
		default:
			if now.Sub(v.At) > judgedTime {
				continue
			}
			r.Place = v.Digest
			r.Next = "look at its calls: rutile audit search --server " + v.Server + " --tool " + v.Name + "; rutile tool quarantine " + v.Server + " " + v.Name + " stops it"
		}
		says.Raised = append(says.Raised, r)
	}
	return f.Tell(ctx, says)
}
