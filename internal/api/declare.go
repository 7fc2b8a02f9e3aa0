package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

func (a *API) status(c *call) (any, error) { return a.deps.Status(c.Context()), nil }

func (a *API) doctor(c *call) (any, error) { return Checks{a.deps.Doctor(c.Context())}, nil }

func (a *API) apply(c *call) (any, error) {
	var in Manifests
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	plan, err := a.deps.Admin.Apply(c.Context(), c.actor, in.Documents, false)
	if err != nil {
		return nil, err
	}
	return Applied{Plan: plan, Warnings: a.learn(c.Context(), a.unlisted(plan))}, nil
}

func (a *API) diff(c *call) (any, error) {
	var in Manifests
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	plan, err := a.deps.Admin.Diff(c.Context(), in.Documents)
	if err != nil {
		return nil, err
	}
	return Applied{Plan: plan}, nil
}

func (a *API) export(c *call) (any, error) {
	b, err := a.deps.Admin.Export(c.Context())
	if err != nil {
		return nil, err
	}
	return Export{string(b)}, nil
}

// unlisted returns the servers of a plan that may be called and whose tools are
// to be listed: those it changed, and those never listed since their sanction.
func (a *API) unlisted(plan admin.Plan) []string {
	view := a.deps.Admin.Current().View
	var out []string
	for _, it := range plan.Items {
		if it.Kind != "Server" || !view.ServerStanding(it.ID).OK {
			continue
		}
		s, _ := view.Server(it.ID)
		if it.Action != admin.ActionUnchanged || s.Baseline[registry.KindTool].IsZero() {
			out = append(out, it.ID)
		}
	}
	return out
}

// learnTurn is how long a server that is looked at keeps others waiting.
const learnTurn = 2 * time.Second

// learn lets the servers list what they offer, side by side and within
// LearnTime. What does not work is a warning: the gateway tries again.
func (a *API) learn(ctx context.Context, servers []string) []Warning {
	ctx, cancel := context.WithTimeout(ctx, LearnTime)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var out []Warning
	slots := make(chan struct{}, 16)
	for _, id := range servers {
		wg.Go(func() {
			slots <- struct{}{}
			free := sync.OnceFunc(func() { <-slots })
			defer free()
			defer time.AfterFunc(learnTurn, free).Stop()
			if err := a.deps.Learn(ctx, id); err != nil {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, Warning{id, unlistedReason(ctx, err)})
			}
		})
	}
	wg.Wait()
	slices.SortFunc(out, func(x, y Warning) int { return strings.Compare(x.Server, y.Server) })
	return out
}

func unlistedReason(ctx context.Context, err error) string {
	why := "its tools could not be listed; see the gateway's log"
	var e *access.Error
	switch {
	case ctx.Err() != nil:
		why = "it has not listed its tools within " + LearnTime.String()
	case errors.As(err, &e) && e.Code != access.CodeInternal:
		why = "its tools could not be listed: " + e.Msg
	}
	return why + ". None of them can be called until it does; the gateway tries again by itself"
}
