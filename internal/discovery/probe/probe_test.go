package probe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/discovery/probe"
	"rutile/internal/gatetest"
)

// verdicts are servers, honest and hostile, and what they are taken for.
func verdicts(t *testing.T) []struct {
	name   string
	server *recorder
	want   probe.Verdict // "" for none
	check  func(f probe.Found) string
} {
	elsewhere := serve(t, "127.0.5.99", false, rpc("", map[string]string{"server/discover": discovered}))
	t.Cleanup(func() {
		if got := elsewhere.log(); len(got) > 0 {
			t.Errorf("a redirect to another host was followed: %v", got[0])
		}
	})
	html := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>welcome, everything is fine</html>")
	})
	type row = struct {
		name   string
		server *recorder
		want   probe.Verdict
		check  func(f probe.Found) string
	}
	host := 0
	at := func(secure bool, h http.Handler) *recorder {
		host++
		return serve(t, fmt.Sprintf("127.0.5.%d", 10+host), secure, h)
	}
	return []row{
		{"modern", at(false, rpc("/mcp", map[string]string{"server/discover": discovered, "tools/list": listed})), probe.Modern, func(f probe.Found) string {
			return differ("name, tools and capabilities", []string{f.Name, f.Tools[0], f.Capabilities[0], f.URL[strings.LastIndex(f.URL, "/"):]}, []string{"mini", "add", "tools", "/mcp"})
		}},
		{"modern over TLS", at(true, rpc("/api/mcp", map[string]string{"server/discover": discovered})), probe.Modern, func(f probe.Found) string {
			if f.TLS == nil || !f.TLS.SelfSigned || !slices.Contains(f.TLS.Names, "example.com") {
				return fmt.Sprintf("certificate %+v", f.TLS)
			}
			return differ("listed", f.Listed, false)
		}},
		{"other versions", at(false, rpc("/", map[string]string{"server/discover": `400 "error":{"code":-32022,"message":"no","data":{"supported":["2027-01-01"]}}`})), probe.Modern, nil},
		{"only legacy versions", at(false, rpc("/mcp", map[string]string{"server/discover": `400 "error":{"code":-32022,"message":"no","data":{"supported":["2025-11-25"]}}`})), probe.Legacy, nil},
		{"header mismatch", at(false, rpc("/mcp", map[string]string{"server/discover": `400 "error":{"code":-32020,"message":"no"}`})), probe.Modern, nil},
		{"no discovery", at(false, rpc("/mcp", map[string]string{"server/discover": `404 "error":{"code":-32601,"message":"no"}`})), probe.Modern, nil},
		{"legacy without sessions", at(false, rpc("/mcp", map[string]string{"initialize": initialized, "tools/list": listed})), probe.Legacy, nil},
		{"protected", at(false, protected("/mcp", `{"resource":"https://mcp.example.com/mcp","authorization_servers":["https://as.example.com"],"scopes_supported":["mcp:tools"]}`)), probe.Protected, func(f probe.Found) string {
			return differ("open and issuers", fmt.Sprint(f.Open, f.Issuers), "false [https://as.example.com]")
		}},
		{"protected, not MCP", at(false, protected("/v1/mcp", `{"resource":"https://api.example.com/photos","scopes_supported":["photos.read"]}`)), probe.Probable, nil},
		{"asks for a password", at(false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		})), "", nil},
		{"catch-all", at(false, html), "", nil},
		{"not found", at(false, http.NotFoundHandler()), "", nil},
		{"honeypot", at(false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,`+discovered+`}`)
		})), probe.Suspect, nil},
		{"another JSON-RPC service", at(false, rpc("", map[string]string{"server/discover": `"error":{"code":-32601,"message":"no"}`, "initialize": `"error":{"code":-32601,"message":"no"}`})), "", nil},
		{"agent card", at(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/.well-known/agent-card.json" {
				http.NotFound(w, r)
				return
			}
			_, _ = io.WriteString(w, `{"name":"helper","version":"2","skills":[]}`)
		})), probe.Agent, func(f probe.Found) string { return differ("name", f.Name, "helper") }},
		{"events", at(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/sse" || r.Method != http.MethodGet {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: endpoint\ndata: /messages?sessionId=1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})), probe.SSE, nil},
		{"events that lead elsewhere", at(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/sse" || r.Method != http.MethodGet {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: endpoint\ndata: "+elsewhere.URL+"/messages\n\n")
		})), probe.Suspect, nil},
		{"other events", at(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: tick\ndata: 1\n\n")
			if r.Method == http.MethodGet && r.URL.Path == "/mcp" {
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}
		})), "", nil},
		{"slow", at(false, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })), "", nil},
		{"trickling", at(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"jsonrpc":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})), "", nil},
		{"huge", at(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			chunk := []byte(strings.Repeat(" ", 32<<10))
			for r.Context().Err() == nil {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})), "", nil},
		{"redirecting to metadata", at(false, http.RedirectHandler("http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)), "", nil},
		{"redirecting to another host", at(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
		})), "", nil},
		{"redirecting in circles", at(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
		})), "", nil},
	}
}

func differ[T any](what string, got, want T) string {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		return fmt.Sprintf("%s: %s, want %s", what, g, w)
	}
	return ""
}

// protected asks for a token at a path and publishes metadata.
func protected(path, metadata string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/oauth-protected-resource" + path:
			_, _ = io.WriteString(w, metadata)
		case path:
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="http://`+r.Host+`/.well-known/oauth-protected-resource`+path+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			http.NotFound(w, r)
		}
	})
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	rows := verdicts(t)
	var targets []string
	for _, r := range rows {
		targets = append(targets, r.server.Listener.Addr().String())
	}
	report, err := probe.Run(t.Context(), probe.Config{Version: "test", Contact: "security@example.com", Enumerate: true}, targets)
	if err != nil {
		t.Fatal(err)
	}
	if sum := report.Closed + report.Silent + report.Refused + report.Open; sum != len(rows) || !report.Complete || report.Done != len(rows) {
		t.Errorf("%d places end as %+v", len(rows), report)
	}
	for _, r := range rows {
		var got []probe.Found
		for _, f := range report.Found {
			if f.Address.String() == r.server.Listener.Addr().String() {
				got = append(got, f)
			}
		}
		switch {
		case r.want == "" && len(got) == 0:
		case r.want == "" || len(got) != 1 || got[0].Verdict != r.want:
			t.Errorf("%s: found %+v, want %q", r.name, got, r.want)
		case r.check != nil && r.check(got[0]) != "":
			t.Errorf("%s: %s", r.name, r.check(got[0]))
		}
		harmless(t, r.name, r.server)
	}
}

// harmless holds a probed server's own log against the rules of a probe.
func harmless(t *testing.T, name string, r *recorder) {
	t.Helper()
	opened, ended := map[string]bool{}, map[string]bool{}
	for _, s := range r.log() {
		for _, h := range []string{"Authorization", "Cookie", "Proxy-Authorization", "Referer"} {
			if s.header.Get(h) != "" {
				t.Errorf("%s: %s %s carries %s", name, s.method, s.path, h)
			}
		}
		if !slices.Contains([]string{"", "server/discover", "initialize", "notifications/initialized", "tools/list"}, s.rpc) {
			t.Errorf("%s: %s was sent", name, s.rpc)
		}
		if !slices.Contains([]string{"GET", "POST", "DELETE"}, s.method) {
			t.Errorf("%s: %s was sent", name, s.method)
		}
		if !strings.HasPrefix(s.header.Get("User-Agent"), "rutile-discovery/test (+security@example.com)") {
			t.Errorf("%s: the agent calls itself %q", name, s.header.Get("User-Agent"))
		}
		if s.session != "" && s.method == "POST" {
			opened[s.session] = true
		}
		if s.method == "DELETE" && s.status < 300 {
			ended[s.header.Get("Mcp-Session-Id")] = true
		}
	}
	for s := range opened {
		if !ended[s] {
			t.Errorf("%s: session %s was left open", name, s)
		}
	}
}

func TestRealServersAreFoundAndLeftAsTheyWere(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	rows := []struct {
		name   string
		server *recorder
		want   probe.Verdict
	}{
		{"Go SDK, stateless", front(t, "127.0.5.60", gatetest.EverythingHTTP(t, true)), probe.Modern},
		{"Go SDK, sessions", front(t, "127.0.5.61", gatetest.EverythingHTTP(t, false)), probe.Legacy},
		{"npm", front(t, "127.0.5.62", gatetest.EverythingNPM(t, npm)), probe.Legacy},
		{"npm, HTTP+SSE", front(t, "127.0.5.63", gatetest.EverythingSSE(t, npm)), probe.SSE},
	}
	var targets []string
	for _, r := range rows {
		targets = append(targets, r.server.Listener.Addr().String())
	}
	for _, gentle := range []bool{true, false} {
		report, err := probe.Run(t.Context(), probe.Config{Version: "test", Contact: "security@example.com", Enumerate: true, CheckOrigin: true, Gentle: gentle}, targets)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			i := slices.IndexFunc(report.Found, func(f probe.Found) bool { return f.Address.String() == r.server.Listener.Addr().String() })
			switch {
			case gentle:
				for _, s := range r.server.log() {
					if s.rpc == "initialize" || s.session != "" && s.method == "POST" && r.want == probe.Modern {
						t.Errorf("%s: a gentle probe sent %s", r.name, s.rpc)
					}
				}
			case i < 0 || report.Found[i].Verdict != r.want:
				t.Errorf("%s: found %+v, want %q", r.name, report.Found, r.want)
			case !report.Found[i].Listed || len(report.Found[i].Tools) < 5:
				t.Errorf("%s: listed %v of %q", r.name, report.Found[i].Tools, report.Found[i].Why)
			case report.Found[i].Origin == "":
				t.Errorf("%s: its answer to a foreign origin is not told", r.name)
			}
			harmless(t, r.name, r.server)
		}
	}
}

func TestOriginIsJudgedByTheAnswer(t *testing.T) {
	t.Parallel()
	guarded := rpc("/mcp", map[string]string{"server/discover": discovered})
	rows := map[string]*recorder{
		"refused": serve(t, "127.0.5.70", false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Origin") != "" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			guarded.ServeHTTP(w, r)
		})),
		"accepted": serve(t, "127.0.5.71", false, guarded),
	}
	for want, r := range rows {
		report, err := probe.Run(t.Context(), probe.Config{CheckOrigin: true}, []string{r.URL + "/mcp"})
		if err != nil || len(report.Found) != 1 || report.Found[0].Origin != want {
			t.Errorf("found %+v, %v, want an origin that is %s", report.Found, err, want)
		}
	}
}

func TestInterruptedRunKeepsAndResumes(t *testing.T) {
	t.Parallel()
	var targets []string
	for i := range 6 {
		s := serve(t, fmt.Sprintf("127.0.5.%d", 80+i), false, rpc("/mcp", map[string]string{"server/discover": discovered}))
		targets = append(targets, s.URL)
	}
	ctx, stop := context.WithCancel(t.Context())
	var saved probe.State
	cfg := probe.Config{
		Save: func(s probe.State) error { saved = s; return nil },
		Progress: func(_, _, found int) {
			if found > 0 {
				stop()
			}
		},
	}
	first, err := probe.Run(ctx, cfg, targets)
	if !errors.Is(err, context.Canceled) || len(first.Found) == 0 || first.Complete {
		t.Fatalf("an interrupted run gives %+v, %v", first, err)
	}
	if len(first.Found) == len(targets) {
		t.Fatal("nothing was left to resume")
	}
	cfg.Progress, cfg.Resume = nil, &saved
	rest, err := probe.Run(t.Context(), cfg, targets)
	if err != nil || len(rest.Found) != len(targets) || !rest.Complete || rest.Done != rest.Places || rest.Open != len(targets) {
		t.Errorf("resumed, it found %d of %d: %+v, %v", len(rest.Found), len(targets), rest, err)
	}
	cfg.Resume = &saved
	if _, err := probe.Run(t.Context(), cfg, targets[:1]); err == nil {
		t.Error("the state of other targets was accepted")
	}
}

func TestHoneypotOnMostPortsIsDoubted(t *testing.T) {
	t.Parallel()
	var targets []string
	for range 9 {
		targets = append(targets, serve(t, "127.0.5.90", false, rpc("", map[string]string{"server/discover": discovered})).URL+"/mcp")
	}
	report, err := probe.Run(t.Context(), probe.Config{}, targets)
	if err != nil || len(report.Found) != 9 {
		t.Fatalf("found %+v, %v", report, err)
	}
	for _, f := range report.Found {
		if f.Verdict != probe.Suspect {
			t.Errorf("%s is %s", f.URL, f.Verdict)
		}
	}
}

// A server that is left alone because it is slow still gets its session ended.
func TestSessionOfASlowServerIsEnded(t *testing.T) {
	t.Parallel()
	hang := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	s := serve(t, "127.0.5.96", false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/.well-known/agent-card.json":
			hang(w, r)
		case r.Method == http.MethodDelete:
		case strings.Contains(string(body), "initialize"):
			w.Header().Set("Mcp-Session-Id", "slow")
			hang(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	if _, err := probe.Run(t.Context(), probe.Config{Version: "test", Contact: "security@example.com"}, []string{s.URL + "/mcp"}); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.log(), func(q seen) bool { return q.session == "slow" }) {
		t.Fatal("no session was opened")
	}
	harmless(t, "slow", s)
}

func TestPaceIsKept(t *testing.T) {
	t.Parallel()
	s := serve(t, "127.0.5.95", false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNotFound)
	}))
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	report, err := probe.Run(ctx, probe.Config{}, []string{s.URL})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%+v, %v", report, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.accepted) < 3 {
		t.Fatalf("only %d connections", len(s.accepted))
	}
	// A connection is accepted after it began, so that two can be seen closer
	// together than they began; over all of them that evens out but for one.
	if got, least := s.accepted[len(s.accepted)-1].Sub(s.accepted[0]), time.Duration(len(s.accepted)-2)*500*time.Millisecond; got < least {
		t.Errorf("%d connections in %v, at most 2 a second are allowed", len(s.accepted), got)
	}
}
