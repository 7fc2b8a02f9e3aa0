package admin

import (
	"context"
	"maps"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// kindPolicySet is what evidence calls the rules as a whole.
const kindPolicySet = "PolicySet"

// policySet is the id of the one policy set there is.
const policySet = "rules"

// Rules are everything people wrote that says what agents may do: what a version
// holds, and what rolling back brings back. Which agents and servers exist, their
// states, classes and pins are not in it: they are what rules are about.
type Rules struct {
	Policies     []policy.Policy     `json:"policies"`
	Entitlements []grant.Entitlement `json:"entitlements"`
	Lists        []AllowList         `json:"allowLists"`
}

// AllowList is the standing right of one agent that is not retired.
type AllowList struct {
	Agent string   `json:"agent"`
	Tools []string `json:"tools"`
}

// Version is one generation of the rules that was in force.
type Version struct {
	N      uint64    `json:"generation"` // 1 is the first
	Digest string    `json:"digest"`     // "sha256:…" of the rules; equal rules have equal digests
	Set    string    `json:"set"`        // digest of what they were compiled to when they came into force
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	// Change is the evidence of it, "" for rules that were found in a store of an
	// earlier version.
	Change string `json:"change,omitempty"`
	// From is the generation a rollback brought back, 0 if it was none.
	From   uint64 `json:"from,omitempty"`
	Why    string `json:"why,omitempty"`
	Counts Counts `json:"counts"`
	Rules  *Rules `json:"rules,omitempty"` // nil in lists
}

// Counts says how much a version holds.
type Counts struct {
	Policies     int `json:"policies"`
	Entitlements int `json:"entitlements"`
	Lists        int `json:"allowLists"`
}

// RulesOf returns the rules of a state, sorted by id.
func RulesOf(cur *Current) Rules {
	r := Rules{Policies: slices.Clone(cur.Policies)}
	for _, id := range slices.Sorted(maps.Keys(cur.Rights)) {
		r.Entitlements = append(r.Entitlements, cur.Rights[id])
	}
	for _, a := range cur.View.Agents() {
		if len(a.Tools) > 0 && a.State != registry.AgentRetired {
			r.Lists = append(r.Lists, AllowList{a.ID, a.Tools})
		}
	}
	slices.SortFunc(r.Lists, func(x, y AllowList) int { return compare(x.Agent, y.Agent) })
	return r
}

// Digest identifies the rules: what they say, not when or from which file it was
// said.
func (r Rules) Digest() string {
	type text struct {
		ID, Layer, Cedar string
		State            string `json:",omitempty"` // what is in force has the digest it always had
	}
	var c struct {
		Policies     []text
		Entitlements []grant.Entitlement
		Lists        []AllowList
	}
	for _, p := range r.Policies {
		c.Policies = append(c.Policies, text{p.ID, p.Layer, p.Cedar, p.State})
	}
	for _, e := range r.Entitlements {
		e.Created, e.Changed, e.Confirmed, e.ConfirmedBy = time.Time{}, time.Time{}, time.Time{}, ""
		c.Entitlements = append(c.Entitlements, e)
	}
	c.Lists = r.Lists
	return digest(c)
}

func (r Rules) empty() bool { return len(r.Policies)+len(r.Entitlements)+len(r.Lists) == 0 }

func (r Rules) counts() Counts { return Counts{len(r.Policies), len(r.Entitlements), len(r.Lists)} }

// touchesRules reports whether a change may be one of the rules.
func (c *Changes) touchesRules() bool { return len(c.Policies)+len(c.Rights)+len(c.Agents) > 0 }

// activate adds to a draft the version it makes, and the evidence of it, where
// the rules after it are not those before. The generation cannot be taken by
// another change: that one would be committed first, and this one planned anew.
func (a *Admin) activate(ctx context.Context, actor Actor, cur, next *Current, d *draft, change string) error {
	if !d.changes.touchesRules() {
		return nil
	}
	before, after := RulesOf(cur), RulesOf(next)
	if before.Digest() == after.Digest() {
		return nil
	}
	last, err := a.store.Versions(ctx, 0, 1)
	if err != nil {
		return err
	}
	n, now := uint64(1), a.now()
	d.changes.Versions = nil // of an attempt before this one
	switch {
	case len(last) > 0:
		n = last[0].N + 1
	case !before.empty(): // a store of an earlier version kept none
		d.changes.Versions = append(d.changes.Versions, Version{N: 1, Digest: before.Digest(), Set: cur.Set.Digest(), At: now, Actor: system, Counts: before.counts(), Rules: &before})
		n = 2
	}
	v := Version{N: n, Digest: after.Digest(), Set: next.Set.Digest(), At: now, Actor: actor.String(), Change: change, From: d.from, Why: d.why, Counts: after.counts(), Rules: &after}
	d.changes.Versions = append(d.changes.Versions, v)
	d.records = append(d.records, record{verb: "activate", kind: kindPolicySet, object: policySet, reason: d.why, detail: struct {
		Generation uint64 `json:"generation"`
		From       uint64 `json:"from,omitempty"`
		Set        string `json:"set"`
		Counts     Counts `json:"counts"`
	}{v.N, v.From, v.Set, v.Counts}})
	return nil
}

// maxVersions is how many versions one answer lists.
const maxVersions = 1000

// Versions lists the generations of the rules, newest first, without what they
// hold: those below before, or the newest if it is 0.
func (a *Admin) Versions(ctx context.Context, before uint64, limit int) ([]Version, error) {
	return a.store.Versions(ctx, before, min(limit, maxVersions))
}

// Version returns a generation with what it holds; 0 is what is in force.
func (a *Admin) Version(ctx context.Context, n uint64) (Version, error) {
	if n > 0 {
		v, ok, err := a.store.Version(ctx, n)
		if err == nil && !ok {
			err = access.Errorf(access.CodeNotFound, "there is no generation %d of the policies: rutile policy versions lists them", n)
		}
		return v, err
	}
	cur := a.current.Load()
	rules := RulesOf(cur)
	v := Version{Digest: rules.Digest(), Set: cur.Set.Digest(), Counts: rules.counts(), Rules: &rules}
	last, err := a.store.Versions(ctx, 0, 1)
	if err != nil {
		return Version{}, err
	}
	if len(last) > 0 && last[0].Digest == v.Digest {
		set := v.Set
		v = last[0]
		v.Set, v.Rules = set, &rules
	}
	return v, nil
}
