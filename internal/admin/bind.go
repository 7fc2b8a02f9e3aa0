package admin

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"rutile/internal/credential"
	"rutile/internal/registry"
)

// A declared credential is bound to origins as a sealed one is: to those its
// manifest names, else to where its servers are when they are first known. From
// then on only a manifest that names other origins changes that, so that a server
// whose address is changed gets nothing of it.

// originOf returns where what a server is sent goes.
func originOf(s registry.Server) (string, bool) {
	at := "stdio:" + s.ID
	if h := s.Transport.HTTP; h != nil {
		u, err := url.Parse(h.URL)
		if err != nil {
			return "", false
		}
		at = u.Scheme + "://" + u.Host
	}
	at, err := credential.Origin(at)
	return at, err == nil
}

// originsOf returns where the servers of a credential are, sorted; server finds
// one.
func originsOf(s credential.Source, server func(id string) (registry.Server, bool)) []string {
	var out []string
	for _, id := range s.Servers {
		if srv, ok := server(id); ok {
			if at, ok := originOf(srv); ok {
				out = append(out, at)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// planned returns a server as it is after the plan so far.
func (p *planner) planned(id string) (registry.Server, bool) {
	if s := p.draft.changes.Servers[id]; s != nil {
		return *s, true
	}
	return p.cur.View.Server(id)
}

// unbound says which servers of a credential it does not go to.
func (p *planner) unbound(s credential.Source, it *Item) {
	if len(s.Origins) == 0 {
		it.note("is bound to no origin yet: it is when one of its servers is registered")
		return
	}
	for _, id := range s.Servers {
		srv, ok := p.planned(id)
		if !ok {
			continue
		}
		if at, ok := originOf(srv); ok && !slices.Contains(s.Origins, at) {
			it.Dangers = append(it.Dangers, fmt.Sprintf("server %q is at %s, which is not among its origins, so that its calls are refused: add it to origins if that is meant", id, at))
		}
	}
}

// bind binds the credentials of which nothing is in the plan and whose first
// server is.
func (p *planner) bind() {
	for _, id := range keysOf(p.cur.Sources) {
		s := p.cur.Sources[id]
		if _, planned := p.draft.changes.Sources[id]; planned || len(s.Origins) > 0 {
			continue
		}
		next := s
		if next.Origins = originsOf(s, p.planned); len(next.Origins) == 0 {
			continue
		}
		next.Changed = p.now
		it := Item{Kind: kindCredential, ID: id}
		it.decide(true, s, next)
		it.note("is bound to where its servers are now")
		p.draft.changes.Sources[id] = &next
		p.draft.records = append(p.draft.records, record{verb: "bind", kind: kindCredential, object: id, detail: it})
		p.items = slices.DeleteFunc(p.items, func(old Item) bool { return old.Kind == it.Kind && old.ID == it.ID })
		p.items = append(p.items, it)
	}
}

// bindEarlier binds what was declared before credentials were bound, to where its
// servers are now: nobody can know where they should be, and nothing is wider than
// it was.
func (a *Admin) bindEarlier(ctx context.Context) error {
	return a.change(ctx, System(), func(cur *Current) (*draft, error) {
		p := &planner{cur: cur, now: a.now(), by: system, draft: newDraft()}
		p.bind()
		return p.draft, nil
	})
}
