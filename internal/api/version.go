package api

import (
	"context"
	"net/url"
	"strconv"

	"rutile/internal/access"
	"rutile/internal/admin"
)

// Versions are generations of the rules, newest first.
type Versions struct {
	Page[admin.Version]
}

// RollBack says which generation is to be brought back.
type RollBack struct {
	Generation uint64 `json:"generation"`
	Why        string `json:"why,omitempty"`
	DryRun     bool   `json:"dryRun,omitempty"` // only say what it would do
}

func (a *API) versions(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = defaultLimit
	}
	before, err := generation("cursor", q.Get("cursor"))
	if err != nil {
		return nil, err
	}
	list, err := a.deps.Admin.Versions(c.Context(), before, limit)
	if err != nil {
		return nil, err
	}
	out := Versions{Page[admin.Version]{Items: append([]admin.Version{}, list...)}}
	if n := len(list); n == limit && list[n-1].N > 1 {
		out.More, out.Next = int(list[n-1].N-1), strconv.FormatUint(list[n-1].N, 10)
	}
	return out, nil
}

// generation reads the number of a generation; "" is 0, what is in force.
func generation(name, s string) (uint64, error) {
	if s == "" || s == "live" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 {
		return 0, access.Errorf(access.CodeInvalid, "%s: %q is not a generation: give its number, as in rutile policy versions", name, s)
	}
	return n, nil
}

func (a *API) version(c *call) (any, error) {
	n, err := generation("generation", c.PathValue("n"))
	if err != nil {
		return nil, err
	}
	return answerOf(a.deps.Admin.Version(c.Context(), n))
}

func (a *API) diffVersions(c *call) (any, error) {
	q, _, err := c.query("from", "to")
	if err != nil {
		return nil, err
	}
	var sides [2]admin.Version
	for i, name := range []string{"from", "to"} {
		n, err := generation(name, q.Get(name))
		if err != nil {
			return nil, err
		}
		if sides[i], err = a.deps.Admin.Version(c.Context(), n); err != nil {
			return nil, err
		}
	}
	return admin.DiffRules(sides[0], sides[1]), nil
}

func (a *API) rollBack(c *call) (any, error) {
	var in RollBack
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	plan, err := a.deps.Admin.RollBack(c.Context(), c.actor, in.Generation, in.Why, in.DryRun)
	if err != nil {
		return nil, err
	}
	return Applied{Plan: plan}, nil
}

// Versions lists the generations of the rules.
func (c *Client) Versions(ctx context.Context, o ListOptions) (Versions, error) {
	return ask[Versions](ctx, c, "GET", "policies/versions"+o.query(), nil)
}

// Version returns a generation with what it holds; 0 is what is in force.
func (c *Client) Version(ctx context.Context, n uint64) (admin.Version, error) {
	return ask[admin.Version](ctx, c, "GET", "policies/versions/"+generationWord(n), nil)
}

// DiffVersions compares two generations; 0 is what is in force.
func (c *Client) DiffVersions(ctx context.Context, from, to uint64) (admin.RulesDiff, error) {
	v := url.Values{"from": {generationWord(from)}, "to": {generationWord(to)}}
	return ask[admin.RulesDiff](ctx, c, "GET", "policies/diff?"+v.Encode(), nil)
}

// RollBack brings a generation back.
func (c *Client) RollBack(ctx context.Context, in RollBack) (Applied, error) {
	return ask[Applied](ctx, c, "POST", "policies/rollback", in)
}

func generationWord(n uint64) string {
	if n == 0 {
		return "live"
	}
	return strconv.FormatUint(n, 10)
}
