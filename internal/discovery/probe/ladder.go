package probe

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"rutile/internal/rawjson"
)

type state int

const (
	closed state = iota
	silent
	answered
	refused
	interrupted
	repeated
)

// outcome is what became of one place.
type outcome struct {
	place       place
	state       state
	why         string
	found       []Found
	connections int
	requests    int
}

// probe climbs the ladder at one place, with the scheme that is known or with
// the likelier one first.
func (r *runner) probe(ctx context.Context, p place) outcome {
	out := outcome{place: p, why: p.why}
	if out.why == "" {
		out.why = r.guard.refuses(p.addr.Addr(), p.addr.Port())
	}
	if out.why != "" {
		out.state = refused
		return out
	}
	schemes := []string{"http", "https"}
	if port := p.addr.Port(); port == 443 || port == 8443 {
		schemes = []string{"https", "http"}
	}
	if p.scheme != "" {
		schemes = []string{p.scheme}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, placeTime, errSlow)
	defer cancel()
	for _, scheme := range schemes {
		c := newClient(r, p, scheme)
		l := &ladder{c: c, gentle: r.cfg.Gentle, enumerate: r.cfg.Enumerate, origin: r.cfg.CheckOrigin}
		other := l.climb(ctx)
		c.rt.CloseIdleConnections()
		out.connections += int(c.dials.Load())
		out.requests += c.asked
		out.found = append(out.found, l.found...)
		out.state, out.why = l.state, c.refusal
		if c.refusal != "" {
			out.state = refused
		}
		if !other || ctx.Err() != nil {
			break
		}
	}
	if errors.Is(context.Cause(ctx), errSlow) {
		if out.state == interrupted {
			out.state = silent
		}
		return out
	}
	if ctx.Err() != nil && len(out.found) == 0 {
		out.state = interrupted
	}
	return out
}

// ladder is the climb at one place.
type ladder struct {
	c                         *client
	gentle, enumerate, origin bool

	state    state
	found    []Found
	metadata *resource // of a protected resource
	carded   string    // path of an endpoint whose server card was seen
	suspect  string    // why the place is no server although it answers
}

// climb goes up until the first verdict. other says that the place should be
// tried with the other scheme.
func (l *ladder) climb(ctx context.Context) (other bool) {
	first, err := l.c.ask(ctx, http.MethodGet, wellKnownResource, accept("application/json"), nil)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			l.state = interrupted
		case errors.Is(err, errRefused):
			l.state = refused
		case errors.Is(err, errDial):
			l.state = closed
			if errors.Is(err, errSlow) {
				l.state = silent
			}
		case errors.Is(err, errSlow):
			l.state = silent
		default:
			l.state = answered // but not in this scheme
			return true
		}
		return false
	}
	l.state = answered
	body, err := first.read()
	if first.status == http.StatusBadRequest && l.c.scheme == "http" && strings.Contains(strings.ToLower(string(body)), "https") {
		return true // a TLS server that says so in plain words
	}
	if first.status == http.StatusOK && err == nil {
		l.metadata = readResource(body)
	}
	l.documents(ctx)
	for _, step := range []func(context.Context, string) *Found{l.modern, l.legacy, l.events} {
		for _, path := range l.paths() {
			if ctx.Err() != nil || l.c.strikes >= 2 {
				break
			}
			if f := step(ctx, path); f != nil {
				l.add(f)
				return false
			}
		}
	}
	l.rest()
	if ctx.Err() != nil && len(l.found) == 0 {
		l.state = interrupted
	}
	if l.c.strikes >= 2 && len(l.found) == 0 {
		l.state = silent
	}
	return false
}

// paths are those to ask; the one that the place's own metadata names is first.
func (l *ladder) paths() []string {
	paths := l.c.place.paths
	if l.metadata == nil || l.metadata.path == "" || len(paths) == 1 {
		return paths
	}
	return slices.Compact(append([]string{l.metadata.path}, slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return p == l.metadata.path })...))
}

func (l *ladder) add(f *Found) {
	f.Address = l.c.place.addr
	l.c.certMu.Lock()
	f.TLS = l.c.shown
	l.c.certMu.Unlock()
	l.found = append(l.found, *f)
}

// rest says what is left to say of a place that no step recognised.
func (l *ladder) rest() {
	switch {
	case l.suspect != "":
		l.add(&Found{URL: l.c.url("/"), Verdict: Suspect, Confidence: 0.3, Why: []string{l.suspect}})
	case l.carded != "":
		l.add(&Found{URL: l.c.url(l.carded), Verdict: Probable, Confidence: 0.9, Why: []string{"it publishes a server card, and nothing there answered as MCP"}})
	case l.metadata != nil && l.metadata.isMCP():
		f := &Found{URL: l.c.url(l.metadata.path), Verdict: Probable, Confidence: 0.6, Why: []string{"its metadata of a protected resource names MCP, and nothing there answered as MCP"}}
		l.metadata.tell(f)
		l.add(f)
	}
}

// modern asks server/discover, which has no side effect.
func (l *ladder) modern(ctx context.Context, path string) *Found {
	l.card(ctx, path)
	m, head := l.c.modernRequest("server/discover")
	rep, err := l.c.post(ctx, path, m, head, nil)
	if err != nil {
		return nil
	}
	f := &Found{URL: l.c.url(path), Verdict: Modern, Confidence: 0.95}
	said := statusText("POST", path, "server/discover", rep.status)
	supported := rep.fault.Path("data", "supported")
	switch {
	case rep.foreign:
		l.suspect = "POST " + path + " answers with an id that nobody sent"
		return nil
	case rep.status == http.StatusUnauthorized || rep.status == http.StatusForbidden && len(rep.challenge) > 0:
		return l.protected(ctx, path, rep)
	case rep.status == http.StatusOK && rep.spoken && rep.result.Get("supportedVersions").Kind() == rawjson.Array:
		f.Open, f.Versions = true, words(rep.result.Get("supportedVersions"), 20)
		f.Capabilities = keys(rep.result.Get("capabilities"), 20)
		info := rep.result.Path("_meta", "io.modelcontextprotocol/serverInfo")
		f.Name, f.Version = text(info.Get("name")), text(info.Get("version"))
		f.Why = append(f.Why, said+" with supportedVersions")
		f.Verdict = era(f.Versions)
	case rep.status == http.StatusBadRequest && rep.code == codeVersion && supported.Kind() == rawjson.Array:
		f.Open, f.Versions = true, words(supported, 20)
		f.Why = append(f.Why, said+" with -32022 and the versions it serves")
		f.Verdict = era(f.Versions)
	case rep.status == http.StatusBadRequest && rep.code == codeHeaderMismatch:
		f.Open = true
		f.Why = append(f.Why, said+" with -32020")
	case rep.status == http.StatusNotFound && rep.code == codeNoMethod:
		f.Open = true
		f.Why = append(f.Why, said+" with -32601: it lacks a method that its revision demands")
	default:
		return nil
	}
	l.more(ctx, path, f)
	return f
}

// era is what a server is that lists the revisions it serves: some with
// sessions answer server/discover too. Dates are compared, and nothing else.
func era(versions []string) Verdict {
	for _, v := range versions {
		if _, err := time.Parse(time.DateOnly, v); err == nil && v >= version2026 {
			return Modern
		}
	}
	return Legacy
}

// legacy opens a session and ends it at once.
func (l *ladder) legacy(ctx context.Context, path string) *Found {
	if l.gentle {
		return nil
	}
	rep, err := l.c.post(ctx, path, initialize(), nil, nil)
	if err != nil {
		return nil
	}
	if rep.foreign {
		l.suspect = "POST " + path + " answers with an id that nobody sent"
		return nil
	}
	if rep.status == http.StatusUnauthorized {
		return l.protected(ctx, path, rep)
	}
	version := text(rep.result.Get("protocolVersion"))
	if rep.status != http.StatusOK || !rep.spoken || version == "" || rep.result.Get("capabilities").Kind() != rawjson.Object {
		return nil
	}
	f := &Found{URL: l.c.url(path), Verdict: Legacy, Confidence: 0.95, Open: true, Versions: []string{version}, Capabilities: keys(rep.result.Get("capabilities"), 20)}
	f.Name, f.Version = text(rep.result.Path("serverInfo", "name")), text(rep.result.Path("serverInfo", "version"))
	f.Why = append(f.Why, statusText("POST", path, "initialize", rep.status)+" with protocolVersion")
	l.more(ctx, path, f)
	return f
}

// events waits for the first event of the transport of 2024-11-05. To close the
// stream is to end the session.
func (l *ladder) events(ctx context.Context, path string) *Found {
	a, err := l.c.ask(ctx, http.MethodGet, path, accept("text/event-stream"), nil)
	if err != nil {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if a.status != http.StatusOK || kind != "text/event-stream" {
		a.close()
		return nil
	}
	data, err := a.event(eventTime, func(name, _ string) bool { return name == "endpoint" })
	if err != nil {
		return nil
	}
	f := &Found{URL: l.c.url(path), Verdict: SSE, Confidence: 0.9, Open: true, Versions: []string{"2024-11-05"}}
	f.Why = append(f.Why, "GET "+path+": an endpoint event")
	if _, ok := l.c.local(string(data)); !ok {
		f.Verdict, f.Confidence = Suspect, 0.3
		f.Why = append(f.Why, "the endpoint it names is on another host")
	}
	if l.enumerate && f.Verdict == SSE && !l.gentle {
		l.listEvents(ctx, path, f)
	}
	if l.origin {
		f.Origin = l.foreignGet(ctx, path)
	}
	return f
}

func accept(kind string) map[string]string { return map[string]string{"Accept": kind} }
