package mcpproxy

import (
	"context"
	"hash/fnv"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// watchEvery is how soon a change of the registry or of the policies is noticed
// by open streams.
const watchEvery = 250 * time.Millisecond

// announce wakes the watches whenever decisions rest on another state.
func (p *Proxy) announce() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := p.gate.State()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			if now := p.gate.State(); now != last {
				last = now
				p.mu.Lock()
				close(p.changed)
				p.changed = make(chan struct{})
				p.mu.Unlock()
			}
		}
	}
}

// nextChange returns a channel that is closed at the next change.
func (p *Proxy) nextChange() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// watch notices that what an agent sees in a list is not what it was: a server
// came or went, a policy or a definition changed, something was quarantined.
type watch struct {
	p      *Proxy
	r      access.Request // whose lists
	server string         // whose entries; "" for every server's
	next   <-chan struct{}
	sums   map[string]uint64 // by notification
}

// The lists and what says that they changed.
var listChanges = []struct{ list, method, notification, wanted string }{
	{"tools", "tools/list", "notifications/tools/list_changed", "toolsListChanged"},
	{"prompts", "prompts/list", "notifications/prompts/list_changed", "promptsListChanged"},
	{"resources", "resources/list", "notifications/resources/list_changed", "resourcesListChanged"},
	{"resourceTemplates", "resources/templates/list", "notifications/resources/list_changed", "resourcesListChanged"},
}

func (p *Proxy) watch(r *access.Request, server string) *watch {
	w := &watch{p: p, r: *r, server: server, next: p.nextChange()}
	w.sums = w.look()
	return w
}

// look sums up what is visible now.
func (w *watch) look() map[string]uint64 {
	sums := map[string]uint64{}
	for _, l := range listChanges {
		r := w.r
		r.At, r.Method, r.Kind, r.Target = time.Now(), l.method, access.KindServer, ""
		all, shown := w.p.offered(&r, l.list, w.server)
		h := fnv.New64a()
		for _, i := range shown {
			h.Write([]byte(all[i].server + "\x00" + all[i].name + "\x00" + all[i].digest + "\x00"))
		}
		sums[l.notification] = sums[l.notification]*31 + h.Sum64()
	}
	return sums
}

// run tells of changes until ctx ends or tell fails.
func (w *watch) run(ctx context.Context, tell func(notification string) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.next:
		}
		w.next = w.p.nextChange() // before looking, so that none is missed
		sums := w.look()
		for i, l := range listChanges {
			if i > 0 && l.notification == listChanges[i-1].notification || sums[l.notification] == w.sums[l.notification] {
				continue
			}
			if tell(l.notification) != nil {
				return
			}
		}
		w.sums = sums
	}
}

// changeNotice is the notification; subscription is the raw id of the listen it
// belongs to, nil in a session.
func changeNotice(notification string, subscription []byte) []byte {
	b := rawjson.AppendString([]byte(`{"jsonrpc":"2.0","method":`), notification)
	if subscription != nil {
		b = append(append(append(b, `,"params":{"_meta":{"`+metaSubscription+`":`...), subscription...), "}}"...)
	}
	return append(b, '}')
}

// announces reports whether the session's client was told that lists announce
// their changes.
func (s *session) announces() bool { return s.parts != nil || tellsOfLists(s.peer) }

// announces tells a listen at one server what its server cannot know: that what
// the agent sees of a list changed. Only what was acknowledged is told.
func (c *call) announces(ctx context.Context, acked rawjson.Value) {
	asked := map[string]bool{}
	for _, l := range listChanges {
		if on, _ := acked.Get(l.wanted).Bool(); on {
			asked[l.notification] = true
		}
	}
	if len(asked) == 0 {
		return
	}
	w := c.in.p.watch(c.req, c.req.Server)
	id := append([]byte(nil), c.ans.id...)
	c.in.p.spawnFor(c.cut, "the watch of a subscription", func() {
		w.run(ctx, func(notification string) error {
			if !asked[notification] {
				return nil
			}
			return c.ans.event(changeNotice(notification, id))
		})
	})
}
