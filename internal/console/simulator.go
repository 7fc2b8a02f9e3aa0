package console

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/policy"
	"rutile/internal/rehearsal"
)

// Bounds of what is tried in the console, in bytes; what is longer is tried with the
// command line.
const (
	maxDraft  = 256 << 10 // of a form
	maxPolicy = 24 << 10  // of the text of a policy, and of its tests
)

// draftFile is what a text written in the console is called in messages.
const draftFile = "console"

// simulatorPage tries a text of a policy that is not in force. Nothing of it is kept:
// the text is in the page alone.
type simulatorPage struct {
	ID, Cedar, Tests string
	Days             int
	Spans            []int
	Known            []string // ids of policies there are
	Tried            bool
	Check            policy.Report
	Left             int    // of its mistakes, warnings, tests and rules that are not shown
	Problem          string // why it cannot be tried, besides its mistakes
	Report           *rehearsal.Report
	Groups           []rehearsal.Group
	More             int
	Bars             []bar
	Generation       uint64 // it was tried on
	Publish          bool   // it may be put in force now, by the visitor
	Sealed           bool   // arguments were looked at
}

// bar is one part of a chart: what it stands for, how many, and from where to where in
// hundredths of a percent.
type bar struct {
	Label, Class string
	N, X, W      int
}

// simulator is the form, with the text of a policy there is.
func (c *Console) simulator(v *visit) (any, error) {
	p := c.newSimulator(v)
	p.Days = 7
	for _, x := range c.admin.Current().Policies {
		if x.ID == v.q.Get("policy") {
			p.ID, p.Cedar = x.ID, x.Cedar
		}
	}
	return p, nil
}

func (c *Console) newSimulator(v *visit) simulatorPage {
	p := simulatorPage{Spans: []int{1, 7, 30}, Sealed: c.may(v, admin.OpEvidence)}
	for _, x := range c.admin.Current().Policies {
		p.Known = append(p.Known, x.ID)
	}
	return p
}

// simulate tries what was written. It changes nothing, so it answers the form with a
// page instead of sending on.
func (c *Console) simulate(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "form", "id", "cedar", "tests", "days")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	v, ok := c.visitor(w, r, admin.OpRehearse)
	if !ok {
		return
	}
	if !v.session.holds(f["form"]) {
		c.refuse(w, r, otherSession())
		return
	}
	p := c.newSimulator(v)
	p.ID, p.Cedar, p.Tests, p.Tried = f["id"], unixLines(f["cedar"]), unixLines(f["tests"]), true
	if p.Days, err = strconv.Atoi(f["days"]); err != nil || p.Days < 1 || p.Days > 90 {
		c.refuse(w, r, access.Errorf(access.CodeInvalid, "recorded decisions of the last 1 to 90 days can be tried"))
		return
	}
	if err := c.try(v, &p); err != nil {
		c.refuse(w, r, err)
		return
	}
	c.renderPage(w, v, "simulator", p)
}

// try checks a draft, runs its tests and lets it judge what was recorded.
func (c *Console) try(v *visit, p *simulatorPage) error {
	if len(p.Cedar) > maxPolicy || len(p.Tests) > maxPolicy {
		return access.Errorf(access.CodeTooLarge, "the text has more than %d bytes: try it with rutile policy replay", maxPolicy)
	}
	cur := c.admin.Current()
	p.Generation = cur.View.Generation()
	draft := policy.Policy{ID: p.ID, Cedar: p.Cedar, File: draftFile, Line: 1}
	if !access.ValidID(p.ID) {
		p.Problem = v.words.t("A policy is called by lower-case letters, digits and -.")
		return nil
	}
	ctx, stop := context.WithTimeout(v.Context(), draftTime)
	defer stop()
	tooLong := v.words.t("There are too many tests or recorded decisions for a page, or others try rules too: take fewer days, or rutile policy replay.")
	select { // one at a time: decisions that count come first
	case c.trying <- struct{}{}:
		defer func() { <-c.trying }()
	case <-ctx.Done():
		p.Problem = tooLong
		return nil
	}
	all := []policy.Policy{draft}
	for _, x := range cur.Policies {
		if x.ID != p.ID {
			all = append(all, x)
		}
	}
	var tests []policy.TestFile
	if strings.TrimSpace(p.Tests) != "" {
		tests = []policy.TestFile{{Path: "tests", Text: p.Tests}}
	}
	p.Check = policy.RunTests(ctx, tests, all, cur.Catalog())
	p.Check.Warnings = ofPolicy(p.Check.Warnings, p.ID)
	ok := p.Check.OK()
	p.bound()
	if ctx.Err() != nil {
		p.Problem = tooLong
		return nil
	}
	if !ok {
		return nil
	}
	report, err := c.work.Rehearsal.Replay(ctx, admin.Draft{Policies: []policy.Policy{draft}}, v.now.AddDate(0, 0, -p.Days), p.Sealed)
	if e := (*access.Error)(nil); errors.As(err, &e) && e.Code == access.CodeInvalid {
		p.Problem = line(e.Msg)
		return nil
	} else if errors.Is(err, context.DeadlineExceeded) {
		p.Problem = tooLong
		return nil
	} else if err != nil {
		return err
	}
	p.Report, p.Groups, p.More = &report, report.Groups, report.More
	if len(p.Groups) > rowsPerPage {
		p.More += len(p.Groups) - rowsPerPage
		p.Groups = p.Groups[:rowsPerPage]
	}
	p.Bars = barsOf(v, &report)
	p.Publish = c.may(v, admin.OpPolicy)
	return nil
}

// bound keeps of long lists what a page shows.
func (p *simulatorPage) bound() {
	r := &p.Check
	p.Left = leave(&r.Errors) + leave(&r.Warnings) + leave(&r.Tests) + leave(&r.Coverage)
}

// leave cuts a list to what a page shows and says how many that leaves out.
func leave[S ~[]T, T any](list *S) int {
	n := len(*list) - rowsPerPage
	if n <= 0 {
		return 0
	}
	*list = (*list)[:rowsPerPage]
	return n
}

func ofPolicy(list policy.Problems, id string) policy.Problems {
	var out policy.Problems
	for _, x := range list {
		if x.Policy == id {
			out = append(out, x)
		}
	}
	return out
}

// barsOf is a report as parts of a whole.
func barsOf(v *visit, r *rehearsal.Report) []bar {
	out := []bar{{v.words.t("the same"), "off", r.Same, 0, 0}, {v.words.t("newly denied"), "bad", r.NewlyDenied, 0, 0}, {v.words.t("newly permitted"), "wait", r.NewlyPermitted, 0, 0},
		{v.words.t("another outcome"), "good", r.Changed, 0, 0}, {v.words.t("cannot be told"), "none", r.Looked - r.Same - r.Changes(), 0, 0}}
	return shares(out, r.Looked)
}

// shares says how wide parts of a whole are and where they begin.
func shares(out []bar, of int) []bar {
	const whole = 10_000
	x := 0
	for i := range out {
		if of > 0 {
			out[i].W = out[i].N * whole / of
		}
		out[i].X = x
		x += out[i].W
	}
	return out
}

// unixLines is a text from a form, whose lines browsers end with two characters.
func unixLines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// publish puts a policy in force that was tried as it is.
func (c *Console) publish(v *visit, f map[string]string) (string, string, error) {
	id := f["id"]
	to := at("simulator") + "?policy=" + id
	if !access.ValidID(id) {
		return at("simulator"), "", access.Errorf(access.CodeInvalid, "a policy is called by lower-case letters, digits and -")
	}
	g, err := strconv.ParseUint(f["generation"], 10, 63)
	if err != nil {
		return to, "", access.Errorf(access.CodeInvalid, "the form does not say what it was tried on: try it first")
	}
	plan, err := c.admin.Publish(v.Context(), v.session.actor, []policy.Policy{{ID: id, Cedar: unixLines(f["cedar"]), File: draftFile, Line: 1}}, g, f["reason"])
	if err != nil {
		return to, "", err
	}
	if !plan.Applied {
		return at("policies", id), v.words.t("Policy %s says that already: nothing was changed.", id), nil
	}
	return at("policies", id), v.words.t("Policy %s is in force.", id), nil
}

// draftTime bounds how long recorded decisions are judged for one page.
const draftTime = time.Minute
