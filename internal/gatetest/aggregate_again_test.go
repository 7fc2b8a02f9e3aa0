package gatetest_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// quietly is an update as a session's stream has it.
func quietly(uri string) string {
	return `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `"}}`
}

// says waits until a stream says msg, and lets it say that a list changed.
func says(t *testing.T, s *streamed, msg string) {
	t.Helper()
	for {
		switch got := s.soon(); {
		case got == msg:
			return
		case !strings.HasSuffix(got, `list_changed"}`):
			t.Errorf("told %s, want %s", got, msg)
			return
		}
	}
}

// subscribing subscribes a client of the aggregate.
func subscribing(t *testing.T, c *oldClient, uris ...string) {
	t.Helper()
	for _, uri := range uris {
		if got := c.request("resources/subscribe", `{"uri":"`+uri+`"}`); got.msg.Result == nil {
			t.Fatalf("subscribing is answered %d %s", got.status, got.body)
		}
	}
}

// What a client of the aggregate subscribed to outlives the session with the
// server: it is subscribed to again without a word of the client, who is told
// that something may have been missed.
func TestAggregateSubscriptionsOutliveTheirServer(t *testing.T) {
	t.Parallel()
	const uri, missed = "rutile+up:test://a", `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"rutile+up:test://a"}}`
	t.Run("HTTP", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t, v2511)
		p.streams = true
		r, _ := governPeer(t, p, "")
		c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
		s := stream(t, http.MethodGet, r.all(), c.headers(), "")
		subscribing(t, c, uri)
		for range 2 {
			before := p.last("resources/subscribe").session
			p.forget()
			p.CloseClientConnections()
			says(t, s, missed)
			after := p.last("resources/subscribe")
			if after.session == before || !strings.Contains(after.params, `"test://a"`) {
				t.Errorf("subscribed again with %s in %s", after.params, after.session)
			}
			p.to(after.session) <- quietly("test://a")
			says(t, s, missed)
		}
		c.request("resources/unsubscribe", `{"uri":"`+uri+`"}`)
		n := len(p.got("resources/subscribe"))
		p.forget()
		if got := c.call("up__echo", `{}`); got.msg.Result == nil {
			t.Errorf("a call is answered %s", got.body)
		}
		if again := len(p.got("resources/subscribe")); again != n {
			t.Error("what was unsubscribed from is subscribed to again")
		}
	})
	t.Run("stdio", func(t *testing.T) {
		t.Parallel()
		r, _, notes := stdioRig(t, "legacy resources", "sanctioned", "")
		c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
		s := stream(t, http.MethodGet, r.all(), c.headers(), "")
		subscribing(t, c, uri)
		c.call("up__do", do("die", ""))
		says(t, s, missed)
		if n := len(notes("start")); n != 3 { // the look, and two of the client's
			t.Errorf("%d processes were started", n)
		}
		c.call("up__do", do("tell", "test://a"))
		says(t, s, missed)
	})
	t.Run("rotated", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.secret("key", "first-again-canary")
		r.apply(strings.Replace(stdioManifest("legacy resources", filepath.Join(t.TempDir(), "notes"), "sanctioned"), "\nstate:", "\ncredential: {ref: key, env: GATETEST_KEY}\nstate:", 1), "up")
		c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
		s := stream(t, http.MethodGet, r.all(), c.headers(), "")
		subscribing(t, c, uri)
		if _, err := r.d.Admin.RotateCredential(t.Context(), operator, "key", []byte("second-again-canary")); err != nil {
			t.Fatal(err)
		}
		c.call("up__do", do("", "x"))
		says(t, s, missed)
		c.call("up__do", do("tell", "test://a"))
		says(t, s, missed)
	})
	t.Run("no stream", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t, v2511)
		p.streams = true
		r, _ := governPeer(t, p, "")
		c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
		subscribing(t, c, uri)
		p.forget()
		if got := c.call("up__echo", `{}`); got.msg.Result == nil {
			t.Fatalf("a call is answered %s", got.body)
		}
		eventually(t, "it is subscribed to again", func() bool { return len(p.got("resources/subscribe")) == 2 })
		says(t, stream(t, http.MethodGet, r.all(), c.headers(), ""), missed)
	})
	t.Run("not permitted any more", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t, v2511)
		p.streams = true
		r, _ := governPeer(t, p, "")
		c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
		s := stream(t, http.MethodGet, r.all(), c.headers(), "")
		subscribing(t, c, "rutile+up:test://secret", "rutile+up:test://gone", uri)
		r.apply(strings.TrimPrefix(noSecret, "---\n"))
		p.handle("resources/subscribe", func(x *exchange) {
			if strings.Contains(x.params, "gone") {
				x.fault(-32602, "no such resource", "")
				return
			}
			x.result(`{}`)
		})
		n := len(p.got("resources/subscribe"))
		p.forget()
		p.CloseClientConnections()
		says(t, s, missed)
		says(t, s, strings.Replace(missed, "//a", "//gone", 1)) // who reads it learns that
		for _, got := range p.got("resources/subscribe")[n:] {
			if strings.Contains(got.params, "secret") {
				t.Errorf("the server is asked for %s", got.params)
			}
		}
	})
	t.Run("a client that is gone", func(t *testing.T) {
		t.Parallel()
		r, _, notes := stdioRig(t, "legacy resources", "sanctioned", "")
		c := r.legacyAll(r.token("bot", "*"), v2511, `{}`)
		s := stream(t, http.MethodGet, r.all(), c.headers(), "")
		subscribing(t, c, uri)
		s.cancel()
		eventually(t, "the stream is closed", func() bool {
			again := stream(t, http.MethodGet, r.all(), c.headers(), "")
			defer again.cancel()
			return again.status == http.StatusOK
		})
		stream(t, http.MethodDelete, r.all(), c.headers(), "")
		eventually(t, "its process ends", func() bool { return len(notes("end")) == 1 })
		if n := len(notes("start")); n != 2 {
			t.Errorf("%d processes were started", n)
		}
	})
}
