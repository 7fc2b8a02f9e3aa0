package mcpproxy

import (
	"context"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// While a client of the aggregate has a stream open, the gateway itself listens
// to every server that may be called, once whatever the number of clients: a
// server that says its list changed is looked at, and the clients whose own list
// is another for it are told.

// ears is who listens: one follower of the servers as long as a stream is open.
type ears struct {
	streams int
	stop    context.CancelFunc
}

// followAll keeps the servers followed until ctx ends.
func (p *Proxy) followAll(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.ears.streams++; p.ears.streams == 1 {
		base, stop := context.WithCancel(p.base)
		p.ears.stop = stop
		p.spawn("following servers", func() { p.followServers(base) })
	}
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.ears.streams--; p.ears.streams == 0 {
			p.ears.stop()
		}
	})
}

// followServers follows each callable server as long as it is one.
func (p *Proxy) followServers(ctx context.Context) {
	type follower struct {
		of   *target // how it is reached
		stop context.CancelFunc
	}
	running := map[string]follower{}
	for {
		next := p.nextChange()
		view := p.gate.State().View
		for id, f := range running {
			if s, _ := view.Server(id); !view.ServerStanding(id).OK || !f.of.same(s) {
				f.stop()
				delete(running, id)
			}
		}
		for _, s := range view.Servers() {
			if s.ID != access.OwnServer && running[s.ID].of == nil && view.ServerStanding(s.ID).OK {
				one, stop := context.WithCancel(ctx)
				running[s.ID] = follower{&target{server: s}, stop}
				p.spawn("following a server", func() { p.followServer(one, s.ID) })
			}
		}
		select {
		case <-ctx.Done():
			for _, f := range running {
				f.stop()
			}
			return
		case <-next:
		}
	}
}

// Between two attempts to follow a server.
const (
	followAgain = 2 * time.Second
	followMax   = time.Minute
)

func (p *Proxy) followServer(ctx context.Context, server string) {
	wait := followAgain
	for ctx.Err() == nil {
		since := time.Now()
		p.contain("following a server", func() {
			if err := p.followOnce(ctx, server); err != nil && ctx.Err() == nil {
				p.log.Debug("a server is not followed", "server", server, "error", err)
			}
		})
		if time.Since(since) > followMax {
			wait = followAgain // it worked for a while
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			p.freshen(server) // it may have changed unheard
		}
		wait = min(2*wait, followMax)
	}
}

// listenToLists asks a modern server to tell of every list.
const listenToLists = `,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true},"_meta":` + ourMeta + `}}`

// followOnce listens to a server until it ends the stream. A process of a legacy
// revision needs no listener: what it says is read as long as it lives.
func (p *Proxy) followOnce(ctx context.Context, server string) error {
	d, err := p.gate.System(ctx, server)
	if err != nil {
		return err
	}
	defer d.Release()
	t, err := p.target(d.Server)
	if err != nil {
		return err
	}
	l, pr, release, err := t.acquire(ctx, access.Principal{}, allKinds, d) // the one that lists
	if err != nil {
		return err
	}
	bad := false
	defer func() { release(bad) }()
	ear := &ear{p: p, server: server, link: l, d: d}
	switch l := l.(type) {
	case httpModern:
		err = p.followLists(ctx, l, pr, ear)
	case *conversation:
		if !pr.modern {
			return nil
		}
		one, cut := context.WithCancelCause(ctx)
		defer cut(context.Canceled)
		p.spawnFor(cut, "following a process", func() {
			select {
			case <-l.out:
				cut(errReplaced)
			case <-one.Done():
			}
		})
		err = p.followLists(one, l, pr, ear)
		bad = brokenLink(err)
	case *httpLegacy:
		err = l.stream(ctx, d, ear)
		bad = brokenLink(err)
	}
	return err
}

// followLists keeps a listen for every list at a server of 2026-07-28, if that
// tells when one changes.
func (p *Proxy) followLists(ctx context.Context, l link, pr *peer, ear *ear) error {
	if !tellsOfLists(pr) {
		return nil
	}
	id := p.mint()
	_, _, err := l.call(ctx, &exchange{
		method: methods["subscriptions/listen"], body: append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), listenToLists...),
		id: id, d: ear.d, relay: ear, limits: rawjson.Limits{Bytes: p.cfg.MaxResult},
	})
	return err
}

// tellsOfLists reports whether a server says it tells when a list changes.
func tellsOfLists(pr *peer) bool {
	for _, feature := range []string{"tools", "prompts", "resources"} {
		if on, _ := pr.capabilities.Path(feature, "listChanged").Bool(); on {
			return true
		}
	}
	return false
}

// ear hears that a server's lists changed, and nothing else.
type ear struct {
	p      *Proxy
	server string
	link   link
	d      *gate.Dispatch
}

func (e *ear) begin(bool) error              { return nil }
func (e *ear) retry(string) error            { return nil }
func (e *ear) ask(_ []byte, v rawjson.Value) { refuseAsk(e.link, e.d, v) }

func (e *ear) note(_ []byte, v rawjson.Value) error {
	if name, _ := v.Get("method").Str(); strings.HasSuffix(name, "/list_changed") {
		e.p.relearn(e.server)
	}
	return nil
}

var _ relay = (*ear)(nil)
