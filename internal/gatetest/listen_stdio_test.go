package gatetest_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shares are the manifests of a child of 2026-07-28 by who shares its process.
func shares(part, notes string) map[string]string {
	own := stdioManifest(part, notes, "sanctioned")
	return map[string]string{
		"principal": own,
		"server":    strings.Replace(own, "{stdio: {", "{stdio: {process: server, ", 1),
	}
}

// listensSent are the listens for resources a child got.
func listensSent(t *testing.T, notes string) (sent []string) {
	t.Helper()
	for _, l := range noted(t, notes, "got") {
		if strings.Contains(l, `"subscriptions/listen"`) && strings.Contains(l, "resourceSubscriptions") {
			sent = append(sent, l)
		}
	}
	return sent
}

// A modern client listens at a process of 2026-07-28, its own or everybody's: it
// hears what it asked for under its own id, and of nothing it may not read or
// another listens to. The server is told when it goes.
func TestListenAtAProcessOf2026(t *testing.T) {
	t.Parallel()
	for _, sharing := range []string{"principal", "server"} {
		for _, endpoint := range []string{"up", ""} {
			t.Run(sharing+" "+endpoint, func(t *testing.T) {
				t.Parallel()
				notes := filepath.Join(t.TempDir(), "notes")
				r := newRig(t)
				r.apply(shares("modern listens resources", notes)[sharing]+eve+noSecret, "up")
				at := func(uri string) string { return uri }
				if endpoint == "" {
					at = func(uri string) string { return "rutile+up:" + uri }
				}
				want := func(uris ...string) string {
					for i := range uris {
						uris[i] = at(uris[i])
					}
					raw, _ := json.Marshal(uris)
					return `{"resourceSubscriptions":` + string(raw) + `}`
				}
				if got := r.modern(r.token("bot", "up"), "server/discover", "", ""); !strings.Contains(got.body, `"subscribe":true`) || !strings.Contains(got.body, `"listChanged":true`) {
					t.Errorf("advertised is %s", got.body)
				}
				tell := func(what string) {
					t.Helper()
					for _, agent := range []string{"bot", "eve"} { // at a process of its own each, or twice at one
						if got := r.call(r.token(agent, "up"), "up", "do", do("listens", what)); !strings.Contains(got.body, what) {
							t.Fatalf("answered %s", got.body)
						}
						if sharing == "server" {
							return
						}
					}
				}
				tell("nothing yet")
				one, ack := listens(t, r, "bot", endpoint, `"s"`, want("test://a", "test://secret"))
				if ack != acknowledges(want("test://a"), `"s"`) {
					t.Errorf("acknowledged %s", ack)
				}
				two, ack := listens(t, r, "bot", endpoint, `9007199254740993`, want("test://b", "test://a"))
				if ack != acknowledges(want("test://b", "test://a"), `9007199254740993`) {
					t.Errorf("acknowledged %s", ack)
				}
				hers, ack := listens(t, r, "eve", endpoint, `7`, want("test://secret", "test://c"))
				if ack != acknowledges(want("test://c"), `7`) {
					t.Errorf("acknowledged %s", ack)
				}
				for _, uri := range []string{"test://secret", "test://else", "test://a", "test://c"} {
					tell("shout " + uri)
				}
				tell("stray test://b")
				tell("test://b")
				hears(t, one, at("test://a"), `"s"`)
				hears(t, two, at("test://a"), `9007199254740993`)
				hears(t, two, at("test://b"), `9007199254740993`)
				hears(t, hers, at("test://c"), `7`)
				gone := len(noted(t, notes, `got {"jsonrpc":"2.0","method":"notifications/cancelled"`))
				one.cancel()
				eventually(t, "the server is told that a client went away", func() bool {
					return len(noted(t, notes, `got {"jsonrpc":"2.0","method":"notifications/cancelled"`)) == gone+1
				})
				tell("test://a")
				hears(t, two, at("test://a"), `9007199254740993`)
				tell("shout test://c")
				hears(t, hers, at("test://c"), `7`)
				sent := listensSent(t, notes)
				if len(sent) != 3 {
					t.Errorf("the server got %d listens: %q", len(sent), sent)
				}
				for _, l := range sent {
					if strings.Contains(l, "secret") {
						t.Errorf("it was asked for what may not be read: %s", l)
					}
				}
			})
		}
	}
}

// What is of a listen is of no call, and what is of a call of no listen.
func TestListenAtAProcessIsNoCall(t *testing.T) {
	t.Parallel()
	r, token, _ := stdioRig(t, "modern listens resources", "sanctioned", "")
	s, _ := listens(t, r, "bot", "up", `"s"`, wantsA)
	with := strings.Replace(modernBody("1", "tools/call", `"name":"do","arguments":`+do("progress", "x")), `"_meta":{`, `"_meta":{"progressToken":"p",`, 1)
	got := post(t, r.url("up"), modernHeaders(token, "tools/call", "do"), with)
	if !strings.Contains(got.body, `"progressToken":"p"`) {
		t.Errorf("progress beside a listen is lost: %s", got.body)
	}
	if got := r.call(token, "up", "do", do("listens", "test://a")); strings.Contains(got.body, "updated") {
		t.Errorf("the call is told of an update: %s", got.body)
	}
	hears(t, s, "test://a", `"s"`)
	c := r.legacy(token, "up", v2511, `{}`) // bridged, over the same process
	if got := c.request("tools/call", `{"name":"do","arguments":`+do("listens", "stray test://a")+`}`); strings.Contains(got.body, "updated") || !strings.Contains(got.body, "stray") {
		t.Errorf("a legacy call is told of an update: %s", got.body)
	}
	r.call(token, "up", "do", do("listens", "changed tools"))
	notices(t, s, `"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}`)
}

// A listen outlives its process: the next is sent it too, and the client told that
// it may have missed something.
func TestListenOutlivesItsProcessOf2026(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"up", ""} {
		at, id := "test://a", `"s"`
		if endpoint == "" {
			at = "rutile+up:test://a"
		}
		want := `{"resourceSubscriptions":["` + at + `"]}`
		t.Run("died "+endpoint, func(t *testing.T) {
			t.Parallel()
			notes := filepath.Join(t.TempDir(), "notes")
			r := newRig(t)
			r.apply(stdioManifest("modern listens resources", notes, "sanctioned"), "up")
			token := r.token("bot", "up")
			r.call(token, "up", "do", do("", ""))
			s, ack := listens(t, r, "bot", endpoint, id, want)
			if ack != acknowledges(want, id) {
				t.Fatalf("acknowledged %s", ack)
			}
			for range 2 {
				r.call(token, "up", "do", do("die", ""))
				hears(t, s, at, id)
				r.call(token, "up", "do", do("listens", "test://a"))
				hears(t, s, at, id)
			}
			if n := len(listensSent(t, notes)); n != 3 {
				t.Errorf("it was listened to %d times", n)
			}
		})
		t.Run("rotated "+endpoint, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			notes := filepath.Join(t.TempDir(), "notes")
			r.secret("key", "first-listen-canary")
			r.apply(strings.Replace(stdioManifest("modern listens resources", notes, "sanctioned"), "\nstate:", "\ncredential: {ref: key, env: GATETEST_KEY}\nstate:", 1), "up")
			token := r.token("bot", "up")
			r.call(token, "up", "do", do("", ""))
			s, _ := listens(t, r, "bot", endpoint, id, want)
			if _, err := r.d.Admin.RotateCredential(t.Context(), operator, "key", []byte("second-listen-canary")); err != nil {
				t.Fatal(err)
			}
			r.call(token, "up", "do", do("", "")) // the process is replaced at the next call
			hears(t, s, at, id)
			if got := r.call(token, "up", "do", do("listens", "test://a")); !strings.Contains(got.body, "test://a") {
				t.Errorf("answered %s", got.body)
			}
			hears(t, s, at, id)
			server, _ := r.d.Admin.Current().View.Server("up")
			eventually(t, "no process holds what was replaced", func() bool {
				st, _ := r.d.Proxy.Processes(server)
				return st.Running <= 2 // bot's, and the one that lists
			})
		})
	}
}

// A listen at a process ends with its result when the server ends it, when it no
// longer tells, is no longer permitted or is another, and with a stop.
func TestListenAtAProcessEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *rig, token, notes string){
		"finished":  func(r *rig, token, _ string) { r.call(token, "up", "do", do("listens", "finish")) },
		"cancelled": func(r *rig, token, _ string) { r.call(token, "up", "do", do("listens", "cancel")) },
		"deaf": func(r *rig, token, notes string) {
			if err := os.WriteFile(notes+".deaf", nil, 0o600); err != nil {
				r.t.Fatal(err)
			}
			r.call(token, "up", "do", do("die", ""))
		},
		"legacy by now": func(r *rig, token, notes string) {
			r.apply(stdioManifest("legacy resources", notes, "sanctioned"))
		},
		"forbidden": func(r *rig, _, _ string) {
			r.apply("kind: Policy\nid: away\ncedar: |\n  forbid (principal == Mcp::Agent::\"bot\", action, resource);\n")
		},
		"a resource forbidden": func(r *rig, token, _ string) {
			r.apply("kind: Policy\nid: away\ncedar: |\n  forbid (principal, action == Mcp::Action::\"up/resources/read\", resource);\n")
			r.call(token, "up", "do", do("die", ""))
		},
		"stopped": func(r *rig, _, _ string) { r.d.Proxy.Drain() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			notes := filepath.Join(t.TempDir(), "notes")
			r := newRig(t)
			r.apply(stdioManifest("modern listens resources", notes, "sanctioned"), "up")
			token := r.token("bot", "up")
			s, ack := listens(t, r, "bot", "up", `"s"`, wantsA)
			if ack != acknowledges(wantsA, `"s"`) {
				t.Fatalf("acknowledged %s", ack)
			}
			end(r, token, notes)
			ends(t, s, `"s"`)
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		r, token, _ := stdioRig(t, "modern", "sanctioned", "")
		got := post(t, r.url("up"), modernHeaders(token, "subscriptions/listen", ""), modernBody(`"s"`, "subscriptions/listen", `"notifications":`+wantsA))
		if got.msg.code() != -32601 || string(got.msg.ID) != `"s"` {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	})
}

// A process that says a thousand times that a resource changed, to a client that
// does not read, holds up nobody.
func TestFloodOfAProcessOf2026IsBounded(t *testing.T) {
	t.Parallel()
	r, token, _ := stdioRig(t, "modern listens resources", "sanctioned", "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url("up"), strings.NewReader(modernBody(`"z"`, "subscriptions/listen", `"notifications":`+wantsA)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = modernHeaders(token, "subscriptions/listen", "")
	resp, err := http.DefaultClient.Do(req) // it never reads
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s, _ := listens(t, r, "bot", "up", `"s"`, wantsA)
	for range 3 {
		if got := r.call(token, "up", "do", do("listens", "flood test://a")); !strings.Contains(got.body, "flood") {
			t.Fatalf("the flood is answered %s", got.body)
		}
	}
	hears(t, s, "test://a", `"s"`)
	go func() {
		for range s.events { // what else comes of it
		}
	}()
	if got := r.call(token, "up", "do", do("", "after")); !strings.Contains(got.body, "after") {
		t.Errorf("after the flood: %s", got.body)
	}
}

// A process of 2026-07-28 says that its lists changed only to who listens, so the
// gateway does while a client of the aggregate has a stream open.
func TestAggregateHearsAProcessOf2026(t *testing.T) {
	t.Parallel()
	notes := filepath.Join(t.TempDir(), "notes")
	r := newRig(t)
	r.apply(shares("modern listens resources", notes)["server"], "up")
	token := r.token("bot", "up")
	s, _ := listens(t, r, "bot", "", `"s"`, `{"toolsListChanged":true}`)
	defer s.cancel()
	ours := func() (n int) {
		for _, l := range noted(t, notes, "got") {
			if strings.Contains(l, `"subscriptions/listen"`) {
				n++
			}
		}
		return n
	}
	eventually(t, "the process is listened to", func() bool { return ours() == 1 })
	r.call(token, "up", "do", do("drift", ""))
	r.call(token, "up", "do", do("listens", "changed tools"))
	notices(t, s, "notifications/tools/list_changed")
	if n := ours(); n != 1 {
		t.Errorf("it is listened to %d times", n)
	}
	s.cancel()
	eventually(t, "nobody is listened for any more", func() bool {
		return len(noted(t, notes, `got {"jsonrpc":"2.0","method":"notifications/cancelled"`)) == 1
	})
}
