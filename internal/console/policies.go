package console

import (
	"slices"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/policy"
)

type policiesPage struct {
	Policies []policy.Policy
	Rights   []grant.Entitlement
	Versions []admin.Version
	Monitor  bool
	Tries    bool // the visitor may try rules

	Next, NextRights string
}

// versionsShown is how many generations a page shows, the newest.
const versionsShown = 20

func (c *Console) policies(v *visit) (any, error) {
	cur := c.admin.Current()
	p := policiesPage{Policies: slices.Clone(cur.Policies), Monitor: cur.Monitor, Tries: c.may(v, admin.OpRehearse)}
	slices.SortFunc(p.Policies, func(x, y policy.Policy) int { return strings.Compare(x.ID, y.ID) })
	p.Policies, p.Next = cut(v, p.Policies, func(x policy.Policy) string { return x.ID })
	for _, e := range cur.Rights {
		p.Rights = append(p.Rights, e)
	}
	slices.SortFunc(p.Rights, func(x, y grant.Entitlement) int { return strings.Compare(x.ID, y.ID) })
	p.Rights, p.NextRights = cutAt(v, "rights", p.Rights, func(e grant.Entitlement) string { return e.ID })
	var err error
	p.Versions, err = c.admin.Versions(v.Context(), 0, versionsShown)
	return p, err
}

// policyPage is one policy: its text, what is in it, and what is suspicious.
type policyPage struct {
	policy.Policy
	Statements []policy.Statement
	Warnings   []policy.Problem
	Try        string // address of the simulator with its text, "" for whoever may not try
}

func (c *Console) policy(v *visit) (any, error) {
	cur := c.admin.Current()
	i := slices.IndexFunc(cur.Policies, func(p policy.Policy) bool { return p.ID == v.PathValue("id") })
	if i < 0 {
		return nil, access.Errorf(access.CodeNotFound, "no policy is called %q", v.PathValue("id"))
	}
	p := policyPage{Policy: cur.Policies[i]}
	for _, s := range cur.Set.Policies() {
		if s.Policy == p.ID {
			p.Statements = append(p.Statements, s)
		}
	}
	for _, w := range cur.Set.Warnings() {
		if w.Policy == p.ID {
			p.Warnings = append(p.Warnings, w)
		}
	}
	if c.may(v, admin.OpRehearse) {
		p.Try = at("simulator") + "?policy=" + p.ID
	}
	return p, nil
}

// rulesPage is what differs between two generations of the rules.
type rulesPage struct {
	From, To   string // numbers, or "" for what is in force
	FromV, ToV admin.Version
	Objects    []rulesObject
	More       int    // objects that are not shown
	Back       uint64 // the generation the visitor may bring back, 0 for none
	Seen       uint64 // the registry's generation when this was shown
}

type rulesObject struct {
	Kind, ID string
	Action   admin.Action
	Lines    []diffLine
}

// diffLine is one line of a unified diff.
type diffLine struct {
	Op   string // "+", "-", "@" or ""
	Text string
}

// maxObjects and maxDiff bound what a page of differences shows.
const (
	maxObjects = 40
	maxDiff    = 48 << 10 // bytes
)

func (c *Console) rules(v *visit) (any, error) {
	// The generation is read first: what changes after it makes bringing back a conflict.
	p := rulesPage{From: v.q.Get("from"), To: v.q.Get("to"), Seen: c.admin.Current().View.Generation()}
	sides := [2]admin.Version{}
	for i, word := range []string{p.From, p.To} {
		n, err := generation(word)
		if err != nil {
			return nil, err
		}
		if sides[i], err = c.admin.Version(v.Context(), n); err != nil {
			return nil, err
		}
	}
	p.FromV, p.ToV = sides[0], sides[1]
	d := admin.DiffRules(sides[0], sides[1])
	size := 0
	for _, o := range d.Objects {
		if size += len(o.Diff); len(p.Objects) == maxObjects || size > maxDiff {
			p.More = len(d.Objects) - len(p.Objects)
			break
		}
		p.Objects = append(p.Objects, rulesObject{Kind: o.Kind, ID: o.ID, Action: o.Action, Lines: diffLines(o.Diff)})
	}
	if p.From == "" && p.To != "" && len(d.Objects) > 0 && c.may(v, admin.OpApply) {
		p.Back = sides[1].N
	}
	return p, nil
}

// generation reads the number of one; "" is what is in force.
func generation(word string) (uint64, error) {
	if word == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(word, 10, 63)
	if err != nil || n == 0 {
		return 0, access.Errorf(access.CodeInvalid, "a generation of the rules is a number")
	}
	return n, nil
}

func diffLines(text string) []diffLine {
	var out []diffLine
	for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		op := ""
		switch {
		case i < 2 || strings.HasPrefix(l, `\`):
			continue // names of both sides, and no newline at the end
		case l != "" && strings.ContainsRune("+-@", rune(l[0])):
			op = l[:1]
		}
		if op != "@" && l != "" {
			l = l[1:]
		}
		out = append(out, diffLine{op, l})
	}
	return out
}

// rollBack makes a generation of the rules those in force again, if nobody changed them
// since it was shown.
func (c *Console) rollBack(v *visit, f map[string]string) (string, string, error) {
	n, err := generation(f["generation"])
	if err != nil || n == 0 {
		return at("policies"), "", access.Errorf(access.CodeInvalid, "say which generation is to be brought back")
	}
	to := at("rules") + "?to=" + f["generation"]
	seen, err := generation(f["seen"])
	if err != nil {
		return to, "", err
	}
	plan, err := c.admin.RollBackSeen(v.Context(), v.session.actor, n, seen, f["reason"])
	changed := 0
	for _, it := range plan.Items {
		if it.Action != admin.ActionUnchanged {
			changed++
		}
	}
	return at("policies"), v.words.t("Generation %d is brought back: %d objects changed.", int(n), changed), err
}
