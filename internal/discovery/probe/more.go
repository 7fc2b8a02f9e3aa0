package probe

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rutile/internal/rawjson"
)

// foreign is an origin that no server can know.
const foreign = "https://origin-check.rutile.invalid"

// What an answer to a foreign Origin says.
const (
	originRefused  = "refused"
	originAccepted = "accepted"
	originUnknown  = "unknown"
)

// maxTools bounds how many names of tools are kept of one server.
const maxTools = 500

// more asks what was asked for besides the verdict.
func (l *ladder) more(ctx context.Context, path string, f *Found) {
	if l.carded == path {
		f.Why = append(f.Why, "it publishes a server card")
	}
	if l.metadata != nil {
		l.metadata.tell(f)
	}
	if l.enumerate && f.Open {
		if f.Verdict == Modern {
			l.listModern(ctx, path, f)
		} else if !l.gentle {
			l.listLegacy(ctx, path, f)
		}
	}
	if l.origin {
		f.Origin = l.foreignOrigin(ctx, path, f)
	}
}

// listModern asks for the tools, statelessly.
func (l *ladder) listModern(ctx context.Context, path string, f *Found) {
	m, head := l.c.modernRequest("tools/list")
	if rep, err := l.c.post(ctx, path, m, head, nil); err == nil {
		listed(rep, f)
	}
}

// listLegacy asks for the tools in a session of its own, which it ends.
func (l *ladder) listLegacy(ctx context.Context, path string, f *Found) {
	var session string
	rep, err := l.c.post(ctx, path, initialize(), nil, func(s string) { session = s })
	if session != "" {
		defer l.c.endSession(ctx, path, session)
	}
	if err != nil || !rep.spoken {
		return
	}
	head := map[string]string{"MCP-Protocol-Version": text(rep.result.Get("protocolVersion"))}
	if session != "" {
		head["Mcp-Session-Id"] = session
	}
	if _, err := l.c.post(ctx, path, message{method: "notifications/initialized", note: true}, head, nil); err != nil {
		return
	}
	if rep, err := l.c.post(ctx, path, message{method: "tools/list", params: "{}"}, head, nil); err == nil {
		listed(rep, f)
	}
}

// listEvents asks for the tools over a stream of its own; to close that is to end
// the session. It speaks to an endpoint of the same origin only.
func (l *ladder) listEvents(ctx context.Context, path string, f *Found) {
	a, err := l.c.ask(ctx, http.MethodGet, path, accept("text/event-stream"), nil)
	if err != nil {
		return
	}
	defer a.close()
	timer := time.AfterFunc(3*stepTime, a.cancel)
	defer timer.Stop()
	in := newEvents(a.body)
	data, err := in.until(func(name, _ string) bool { return name == "endpoint" })
	endpoint, ok := l.c.local(string(data))
	if err != nil || !ok {
		return
	}
	for _, m := range []message{initialize(), {method: "notifications/initialized", note: true}, {method: "tools/list", params: "{}"}} {
		id := newID()
		sent, err := l.c.ask(ctx, http.MethodPost, endpoint, map[string]string{"Content-Type": "application/json"}, m.body(id))
		if err != nil {
			return
		}
		if _, err := sent.read(); err != nil || sent.status/100 != 2 {
			return
		}
		if m.note {
			continue
		}
		raw, err := in.until(func(_, data string) bool { return strings.Contains(data, id) })
		rep := &reply{status: http.StatusOK}
		if rep.parse(raw, id); err != nil || !rep.spoken {
			return
		}
		if m.method == "tools/list" {
			listed(rep, f)
		}
	}
}

// local is the path and query of an address a server named, if it is of the
// place itself.
func (c *client) local(address string) (string, bool) {
	base, err := url.Parse(c.url("/"))
	if err != nil {
		return "", false
	}
	u, err := base.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != base.Scheme || u.Host != base.Host || u.User != nil {
		return "", false
	}
	return u.RequestURI(), true
}

// listed takes the names of the tools from an answer. A list that is longer
// than what is read is open all the same.
func listed(rep *reply, f *Found) {
	if rep.status != http.StatusOK {
		return
	}
	if rep.big && bytes.Contains(rep.began, []byte(`"result"`)) {
		f.Listed = true
		f.Why = append(f.Why, "tools/list: more than 64 KiB, names not read")
		return
	}
	tools := rep.result.Get("tools")
	if tools.Kind() != rawjson.Array {
		return
	}
	f.Listed = true
	for t := range tools.Items() {
		if name := text(t.Get("name")); name != "" && len(f.Tools) < maxTools {
			f.Tools = append(f.Tools, name)
		}
	}
	f.Why = append(f.Why, "tools/list without authentication")
}

// foreignOrigin repeats the question with an Origin that no server can know. A
// server MUST answer it with 403 (MCP, transports, security).
func (l *ladder) foreignOrigin(ctx context.Context, path string, f *Found) string {
	m, head := l.c.modernRequest("server/discover")
	if f.Verdict == Legacy {
		if l.gentle {
			return originUnknown
		}
		m, head = initialize(), map[string]string{}
	}
	head["Origin"] = foreign
	rep, err := l.c.post(ctx, path, m, head, nil)
	if err != nil {
		return originUnknown
	}
	return originVerdict(rep.status, rep.spoken && f.Open)
}

func (l *ladder) foreignGet(ctx context.Context, path string) string {
	head := accept("text/event-stream")
	head["Origin"] = foreign
	a, err := l.c.ask(ctx, http.MethodGet, path, head, nil)
	if err != nil {
		return originUnknown
	}
	a.close()
	return originVerdict(a.status, a.status == http.StatusOK)
}

func originVerdict(status int, served bool) string {
	switch {
	case status == http.StatusForbidden:
		return originRefused
	case served:
		return originAccepted
	default:
		return originUnknown
	}
}
