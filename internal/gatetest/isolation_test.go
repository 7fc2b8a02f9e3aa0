package gatetest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// However many servers hang when the gateway starts, the others are looked at
// soon.
func TestHungServersDelayNoOther(t *testing.T) {
	t.Parallel()
	hung, good := newPeer(t, v2026), newPeer(t, v2026)
	hung.handle("server/discover", func(x *exchange) { <-x.r.Context().Done() })
	data := t.TempDir()
	r := rigAt(t, data, "127.0.0.1:0")
	text := "kind: Server\nid: z\nowner: team\nstate: sanctioned\ntransport: {http: {url: \"" + good.URL + "/mcp\"}}\n"
	for i := range 20 {
		text += fmt.Sprintf("---\nkind: Server\nid: a%d\nowner: team\nstate: sanctioned\ntransport: {http: {url: %q}}\n", i, fmt.Sprint(hung.URL, "/mcp?", i))
	}
	r.apply(text)
	r.stop()
	if len(good.got("tools/list")) != 0 {
		t.Fatal("it was listed before the restart")
	}
	start := time.Now()
	rigAt(t, data, "127.0.0.1:0")
	for len(good.got("tools/list")) == 0 {
		if time.Since(start) > 30*time.Second { // one that hangs is given up after a minute
			t.Fatal("the server behind twenty that hang was not listed")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := len(hung.got("server/discover")); n < 16 {
		t.Errorf("%d of the others were tried first: the test shows nothing", n)
	}
}

// A stream may begin with a byte order mark, in as many pieces as it likes, on
// a call that runs by itself too.
func TestByteOrderMarkInPieces(t *testing.T) {
	t.Parallel()
	for _, up := range []string{v2026, v2511} {
		p := newPeer(t, up)
		p.handle("tools/call", func(x *exchange) {
			x.sse()
			for _, b := range []string{"\xef", "\xbb", "\xbf"} {
				_, _ = io.WriteString(x.w, b)
				x.w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
			x.text("after the mark")
		})
		r, token := governPeer(t, p, askPolicy("elicitation"))
		u := turn{r: r, token: token, server: "up", id: "1", tool: "echo", args: `{}`, caps: allCaps}
		for name, got := range map[string]reply{"modern": r.call(token, "up", "echo", `{}`), "asked": u.send(), "legacy": r.legacy(token, "up", v2511, `{}`).call("echo", `{}`)} {
			if !strings.Contains(got.body, "after the mark") {
				t.Errorf("%s to %s: answered %d %s", name, up, got.status, got.body)
			}
		}
	}
}
