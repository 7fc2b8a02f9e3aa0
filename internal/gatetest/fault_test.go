package gatetest_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// faults are the ways a server fails, and what the client is told of each.
func faults() map[string]struct {
	kind string
	do   func(x *exchange)
} {
	type fault = struct {
		kind string
		do   func(x *exchange)
	}
	const canary = "upstream-text-canary"
	const (
		bad, down = "upstream_malformed", "upstream_unavailable"
	)
	ok := `"result":{"resultType":"complete","content":[{"type":"text","text":"` + canary + `"}]`
	raw := func(s string) func(x *exchange) {
		return func(x *exchange) { x.message(strings.ReplaceAll(s, "ID", x.id)) }
	}
	event := func(s string) func(x *exchange) {
		return func(x *exchange) { x.sse(); x.event(strings.ReplaceAll(s, "ID", x.id)); x.text(canary) }
	}
	return map[string]fault{
		"cut before the headers":   {down, func(x *exchange) { x.cut() }},
		"cut in the middle":        {down, func(x *exchange) { x.w.Header().Set("Content-Length", "1000"); x.status(200, canary); x.cut() }},
		"reset before the headers": {down, func(x *exchange) { x.reset() }},
		"reset mid-stream":         {down, func(x *exchange) { x.sse(); x.progress(1); x.reset() }},
		"ends mid-stream":          {bad, func(x *exchange) { x.sse(); x.progress(1) }},
		"cut mid-stream":           {down, func(x *exchange) { x.sse(); x.progress(1); x.cut() }},
		"cut mid-event": {down, func(x *exchange) {
			x.sse()
			_, _ = io.WriteString(x.w, `data: {"jsonrpc":"2.0","id":`+x.id+`,`+ok+`}}`)
			x.w.(http.Flusher).Flush()
			x.cut()
		}},
		"empty":                                  {bad, raw(``)},
		"no JSON":                                {bad, raw(canary)},
		"an array":                               {bad, raw(`[{"jsonrpc":"2.0","id":ID,` + ok + `}}]`)},
		"trailing data":                          {bad, raw(`{"jsonrpc":"2.0","id":ID,` + ok + `}}{}`)},
		"byte order mark":                        {bad, raw("\ufeff" + `{"jsonrpc":"2.0","id":ID,` + ok + `}}`)},
		"not UTF-8":                              {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{"x":"` + "\xff" + canary + `"}}`)},
		"duplicate result":                       {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{},` + ok + `}}`)},
		"duplicate key in result":                {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{"content":[],"c\u006fntent":["` + canary + `"]}}`)},
		"duplicate in another case":              {bad, raw(`{"jsonrpc":"2.0","id":ID,"Result":{},` + ok + `}}`)},
		"result in another case":                 {bad, raw(`{"jsonrpc":"2.0","id":ID,"Result":{"content":["` + canary + `"]}}`)},
		"content in another case":                {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{"Content":["` + canary + `"]}}`)},
		"too deep":                               {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{"x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}}`)},
		"no version":                             {bad, raw(`{"id":ID,` + ok + `}}`)},
		"another id":                             {bad, raw(`{"jsonrpc":"2.0","id":"` + canary + `",` + ok + `}}`)},
		"no id":                                  {bad, raw(`{"jsonrpc":"2.0",` + ok + `}}`)},
		"result and error":                       {bad, raw(`{"jsonrpc":"2.0","id":ID,"error":{"code":1,"message":"` + canary + `"},` + ok + `}}`)},
		"neither":                                {bad, raw(`{"jsonrpc":"2.0","id":ID}`)},
		"a result that is no object":             {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":["` + canary + `"]}`)},
		"an error that is no object":             {bad, raw(`{"jsonrpc":"2.0","id":ID,"error":"` + canary + `"}`)},
		"an error without code":                  {bad, raw(`{"jsonrpc":"2.0","id":ID,"error":{"message":"` + canary + `"}}`)},
		"an error that is no object, without id": {bad, raw(`{"jsonrpc":"2.0","error":"` + canary + `"}`)},
		"an error without code or id":            {bad, raw(`{"jsonrpc":"2.0","id":null,"error":{"message":"` + canary + `"}}`)},
		"a result without an object, without id": {bad, raw(`{"jsonrpc":"2.0","result":"` + canary + `"}`)},
		"an unknown member":                      {bad, raw(`{"jsonrpc":"2.0","id":ID,"` + canary + `":1,` + ok + `}}`)},
		"an input request in another case":       {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","inputRequests":{"a":{"method":"` + canary + `","Method":"b"}}}}`)},
		"two input requests that fold":           {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","inputRequests":{"` + canary + `":{},"` + strings.ToUpper(canary) + `":{}}}}`)},
		"an event with an unknown member":        {bad, event(`{"jsonrpc":"2.0","method":"notifications/message","` + canary + `":1}`)},
		"an event with a list for params":        {bad, event(`{"jsonrpc":"2.0","method":"notifications/message","params":["` + canary + `"]}`)},
		"an event with two levels":               {bad, event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"debug","Level":"error","data":"` + canary + `"}}`)},
		"an event with data in another case":     {bad, event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","Data":"` + canary + `"}}`)},
		"a request with two modes":               {bad, event(`{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{"mode":"form","m\u004fde":"url","url":"` + canary + `"}}`)},
		"an unknown result type":                 {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"` + canary + `"}}`)},
		"a request for an answer":                {bad, raw(`{"jsonrpc":"2.0","id":ID,"method":"` + canary + `"}`)},
		"an event that is no JSON":               {bad, event(canary)},
		"an event with duplicates":               {bad, event(`{"jsonrpc":"2.0","method":"notifications/message","method":"` + canary + `"}`)},
		"an event with a bad id":                 {bad, event(`{"jsonrpc":"2.0","id":{"` + canary + `":1},"method":"ping"}`)},
		"a huge answer":                          {bad, raw(`{"jsonrpc":"2.0","id":ID,"result":{"x":"` + strings.Repeat("a", 300<<10) + `"}}`)},
		"a huge answer of known size": {bad, func(x *exchange) {
			x.w.Header().Set("Content-Length", "99999999")
			x.status(200, canary)
			x.w.(http.Flusher).Flush()
			x.gone()
			x.cut()
		}},
		"a huge event": {bad, event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"x":"` + strings.Repeat("a", 300<<10) + `"}}`)},
		"a huge line": {bad, func(x *exchange) {
			x.sse()
			_, _ = io.WriteString(x.w, ": "+strings.Repeat("a", 400<<10)+"\n\n")
		}},
		"another content type": {bad, func(x *exchange) {
			x.w.Header().Set("Content-Type", "text/html")
			x.w.WriteHeader(200)
			_, _ = io.WriteString(x.w, canary)
		}},
		"no content type": {bad, func(x *exchange) { x.w.Header()["Content-Type"] = nil; x.w.WriteHeader(200) }},
		"accepted":        {bad, func(x *exchange) { x.w.WriteHeader(202) }},
		"an error page":   {bad, func(x *exchange) { x.status(500, `{"x":"`+canary+`"}`) }},
		"a challenge": {down, func(x *exchange) {
			x.status(401, `{"jsonrpc":"2.0","id":`+x.id+`,"error":{"code":-32001,"message":"`+canary+`"}}`)
		}},
		"busy":       {down, func(x *exchange) { x.status(503, canary) }},
		"a redirect": {bad, func(x *exchange) { x.w.Header().Set("Location", x.p.URL+"/elsewhere"); x.w.WriteHeader(307) }},
	}
}

// reset ends the connection with a TCP reset.
func (x *exchange) reset() {
	c, _, err := x.w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// Whatever a server does, the client gets a JSON-RPC error of ours, nothing of
// the server's, and the next call works.
func TestServerFaults(t *testing.T) {
	t.Parallel()
	for _, up := range []string{v2026, v2511} {
		p := newPeer(t, up)
		r, token := governPeer(t, p, "", func(o *daemon.Options) { o.MCP.MaxResult = 256 << 10 })
		old := r.legacy(token, "up", v2511, `{}`)
		for name, f := range faults() {
			t.Run(up+" "+name, func(t *testing.T) {
				if up == v2511 && name == "an unknown result type" {
					return // a legacy result has no type
				}
				for era, do := range map[string]func() reply{
					"modern": func() reply {
						return post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), modernProgressing())
					},
					"legacy": func() reply { return old.request("tools/call", `{`+progressing+`}}`) },
				} {
					p.handle("tools/call", f.do)
					n := len(p.got("tools/call"))
					got := do()
					if got.status != 200 || got.msg.code() != -32603 || got.msg.kind() != f.kind {
						t.Errorf("%s: answered %d %s, want kind %s", era, got.status, got.body, f.kind)
					}
					if strings.Contains(got.body, "canary") {
						t.Errorf("%s: relayed %s", era, got.body)
					}
					if sent := len(p.got("tools/call")); sent != n+1 {
						t.Errorf("%s: the call was sent %d times", era, sent-n)
					}
					p.handle("tools/call", nil)
					if got := do(); got.msg.Result == nil {
						t.Errorf("%s: the next call answered %d %s", era, got.status, got.body)
					}
				}
			})
		}
	}
}

// A server that is silent is given up; one that makes progress is waited for,
// but not for ever.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	for _, up := range []string{v2026, v2511} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, up)
			r, token := governPeer(t, p, "", func(o *daemon.Options) {
				o.MCP.CallTimeout, o.MCP.CallMax = time.Second, 5*time.Second
			})
			old := r.legacy(token, "up", v2511, `{}`)
			for name, tt := range map[string]struct {
				do   func(x *exchange)
				kind string
			}{
				"silent":            {func(x *exchange) { x.gone() }, "upstream_timeout"},
				"silent mid-stream": {func(x *exchange) { x.sse(); x.progress(1); x.gone() }, "upstream_timeout"},
				"silent mid-body": {func(x *exchange) {
					x.w.Header().Set("Content-Type", "application/json")
					x.w.Header().Set("Content-Length", "1000")
					_, _ = io.WriteString(x.w, "{")
					x.w.(http.Flusher).Flush()
					x.gone()
				}, "upstream_timeout"},
				"progress": {func(x *exchange) {
					x.sse()
					for i := range 12 { // longer than CallTimeout in all, each far below it
						x.progress(i)
						time.Sleep(100 * time.Millisecond)
					}
					x.text("done")
				}, ""},
				"progress for ever": {func(x *exchange) {
					x.sse()
					for i := 0; x.r.Context().Err() == nil && i < 200; i++ {
						x.progress(i)
						time.Sleep(50 * time.Millisecond)
					}
				}, "upstream_timeout"},
			} {
				t.Run(name, func(t *testing.T) {
					p.handle("tools/call", tt.do)
					for era, do := range map[string]func() reply{
						"modern": func() reply {
							return post(t, r.url("up"), modernHeaders(token, "tools/call", "echo"), modernProgressing())
						},
						"legacy": func() reply { return old.request("tools/call", `{`+progressing+`}}`) },
					} {
						from, start := r.d.Evidence.Size(), time.Now()
						got := do()
						if got.msg.kind() != tt.kind || (tt.kind == "") != (got.msg.Result != nil) {
							t.Errorf("%s: answered %d %s", era, got.status, got.body)
						}
						if took := time.Since(start); took > 20*time.Second {
							t.Errorf("%s: took %s", era, took)
						}
						want := map[string]string{"": "ok", "upstream_timeout": "timeout"}[tt.kind]
						if l := r.since(from); len(l) != 2 || l[1].Status != want {
							t.Errorf("%s: recorded %+v, want %s", era, l, want)
						}
					}
				})
			}
		})
	}
}
