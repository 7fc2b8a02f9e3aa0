package gatetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/daemon"
)

// TestLoad runs 64 clients of four kinds for a few seconds: every answer is the
// right one, and afterwards nothing is left over.
func TestLoad(t *testing.T) {
	const clients, length = 64, 3 * time.Second
	modern, legacy := newPeer(t, v2026), newPeer(t, v2511)
	for _, p := range []*peer{modern, legacy} {
		p.handle("tools/call", func(x *exchange) {
			var m struct {
				Arguments struct {
					Text string `json:"text"`
				} `json:"arguments"`
			}
			_ = json.Unmarshal([]byte(x.params), &m)
			switch {
			case strings.HasPrefix(m.Arguments.Text, "stream"):
				x.sse()
				for i := range 3 {
					x.progress(i)
				}
			case strings.HasPrefix(m.Arguments.Text, "fault"):
				x.status(500, "no")
				return
			}
			x.text(m.Arguments.Text)
		})
	}
	r := startRig(t, nil, func(c *daemon.Config) { c.Log.Level = "error" })
	text := botAndServer(modern.URL+"/mcp", `["*/*"]`) +
		"---\nkind: Server\nid: old\nowner: team\ntransport: {http: {url: \"" + legacy.URL + "/mcp\"}}\nstate: sanctioned\n"
	for i := range clients {
		text += fmt.Sprintf("---\nkind: Agent\nid: a%d\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"*/echo\"]\n", i)
	}
	r.apply(text, "up", "old")
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	before := runtime.NumGoroutine()
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	var wg sync.WaitGroup
	var done, wrong atomic.Int64
	report := func(format string, args ...any) {
		if wrong.Add(1) <= 5 {
			t.Errorf(format, args...)
		}
	}
	var all []*loader
	for i := range clients {
		c := &loader{http: &http.Client{Transport: transport}, agent: fmt.Sprintf("a%d", i), server: []string{"up", "old"}[i%2], legacy: i%4 > 1, report: report}
		c.url, c.token = r.url(c.server), r.token(c.agent, c.server)
		all = append(all, c)
	}
	end := time.Now().Add(length)
	for _, c := range all {
		wg.Go(func() {
			defer c.close()
			for n := 0; n < 2 || time.Now().Before(end); n++ {
				c.step(n)
				done.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d requests in %s, %d wrong", done.Load(), length, wrong.Load())
	if done.Load() < clients*2 {
		t.Errorf("only %d requests were served", done.Load())
	}
	transport.CloseIdleConnections()
	eventually(t, "every session ended", func() bool { return r.d.Proxy.Sessions() == 0 })
	// Idle connections are kept on purpose; without them nothing is left.
	modern.CloseClientConnections()
	legacy.CloseClientConnections()
	eventually(t, "every goroutine of a request ended", func() bool { return runtime.NumGoroutine() <= before+5 })
	from := r.leaves(0)
	intents, outcomes := 0, 0
	for _, l := range from {
		switch l.Type {
		case "intent":
			intents++
		case "outcome":
			outcomes++
		}
	}
	if intents == 0 || intents != outcomes {
		t.Errorf("%d intents and %d outcomes", intents, outcomes)
	}
}

// loader is one client under load.
type loader struct {
	http          *http.Client
	url, token    string
	agent, server string
	legacy        bool
	session       string
	report        func(string, ...any)
}

func (c *loader) step(n int) {
	text := []string{"plain", "stream", "fault", "plain", "plain"}[n%5] + fmt.Sprint("-", c.agent, "-", n)
	switch {
	case n%7 == 3:
		c.expect("tools/list", "", `{}`, n, "echo")
	case n%11 == 5:
		c.expect("tools/call", "absent", `{"name":"absent","arguments":{}}`, n, "Unknown tool")
	case strings.HasPrefix(text, "fault"):
		c.expect("tools/call", "echo", `{"name":"echo","arguments":{"text":"`+text+`"}}`, n, "upstream_malformed")
	default:
		c.expect("tools/call", "echo", `{"name":"echo","arguments":{"text":"`+text+`"},"_meta":{"progressToken":`+fmt.Sprint(n)+`}}`, n, `"text":"`+text+`"`)
	}
}

// expect sends a request and requires that its answer holds want and its id.
func (c *loader) expect(method, name, params string, n int, want string) {
	h := modernHeaders(c.token, method, name)
	if c.legacy {
		if c.session == "" && !c.open() {
			return
		}
		h.Set("Mcp-Session-Id", c.session)
		h.Set("Mcp-Protocol-Version", v2511)
	} else if strings.Contains(params, `"_meta":{`) {
		params = strings.Replace(params, `"_meta":{`, strings.TrimSuffix(meta, "}")+`,`, 1)
	} else {
		params = strings.TrimSuffix(params, "}") + map[bool]string{true: "", false: ","}[params == "{}"] + meta + "}"
	}
	id := fmt.Sprintf(`"%s-%d"`, c.agent, n)
	_, body := c.send(h, `{"jsonrpc":"2.0","id":`+id+`,"method":"`+method+`","params":`+params+`}`)
	if !strings.Contains(body, want) || !strings.Contains(body, `"id":`+id) {
		c.report("%s %s of %s at %s (legacy %v) answered %q, want %q", method, params, c.agent, c.server, c.legacy, body, want)
	}
}

func (c *loader) open() bool {
	h := modernHeaders(c.token, "initialize", "")
	h.Del("Mcp-Protocol-Version")
	head, body := c.send(h, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"l","version":"1"}}}`)
	if c.session = head.Get("Mcp-Session-Id"); c.session == "" {
		c.report("initialize of %s at %s answered %s", c.agent, c.server, body)
		return false
	}
	return true
}

func (c *loader) send(h http.Header, body string) (http.Header, string) {
	req, err := http.NewRequest(http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		c.report("%v", err)
		return http.Header{}, ""
	}
	req.Header = h
	resp, err := c.http.Do(req)
	if err != nil {
		c.report("%s: %v", c.agent, err)
		return http.Header{}, ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.report("%s: reading the answer: %v", c.agent, err)
	}
	return resp.Header, string(raw)
}

func (c *loader) close() {
	if c.session == "" {
		return
	}
	req, err := http.NewRequest(http.MethodDelete, c.url, nil)
	if err != nil {
		return
	}
	req.Header = http.Header{"Authorization": {"Bearer " + c.token}, "Mcp-Session-Id": {c.session}}
	if resp, err := c.http.Do(req); err == nil {
		resp.Body.Close()
	}
}

// A stop lets calls in flight finish, refuses new ones, and cuts what does not
// end within the bound; each has its outcome.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	for _, up := range []string{v2026, v2511} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, up)
			data := t.TempDir()
			r := startRig(t, nil, func(c *daemon.Config) { c.Data = data })
			r.apply(botAndServer(p.URL+"/mcp", `["up/*"]`), "up")
			token := r.token("bot", "up")
			old := r.legacy(token, "up", v2511, `{}`)
			busy, finish := make(chan bool, 4), make(chan bool)
			p.handle("tools/call", func(x *exchange) {
				busy <- true
				if strings.Contains(x.params, "for ever") {
					<-x.r.Context().Done()
					return
				}
				<-finish
				x.text("finished")
			})
			from := r.d.Evidence.Size()
			answered := make(chan [2]string, 4)
			client := &http.Client{}
			for _, text := range []string{"short", "for ever"} {
				for era, h := range map[string]http.Header{"modern": modernHeaders(token, "tools/call", "echo"), "legacy": old.headers()} {
					body := `{"jsonrpc":"2.0","id":"` + text + `","method":"tools/call","params":{"name":"echo","arguments":{"text":"` + text + `"}}}`
					if era == "modern" {
						body = modernBody(`"`+text+`"`, "tools/call", `"name":"echo","arguments":{"text":"`+text+`"}`)
					}
					req, err := http.NewRequest(http.MethodPost, r.url("up"), strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					req.Header = h
					go func() {
						resp, err := client.Do(req)
						if err != nil {
							answered <- [2]string{text, "cut"}
							return
						}
						defer resp.Body.Close()
						raw, _ := io.ReadAll(resp.Body)
						answered <- [2]string{text, string(raw)}
					}()
					<-busy
				}
			}
			start, stopped := time.Now(), make(chan error, 1)
			go func() { stopped <- r.d.Close(context.Background()) }()
			eventually(t, "new calls are refused", func() bool {
				c, err := net.Dial("tcp", strings.TrimPrefix(r.d.AgentsURL, "http://"))
				if err == nil {
					c.Close()
				}
				return err != nil
			})
			close(finish)
			for range 4 {
				a := <-answered
				if finished := strings.Contains(a[1], "finished"); finished != (a[0] == "short") {
					t.Errorf("the call %q ended with %q", a[0], a[1])
				}
			}
			if err := <-stopped; err != nil {
				t.Errorf("stopping: %v", err)
			}
			if took := time.Since(start); took > daemon.StopTimeout+patience {
				t.Errorf("the stop took %s", took)
			}
			status := map[string]int{}
			again := rigAt(t, data, "127.0.0.1:0")
			for _, l := range again.leaves(from) {
				if l.Type == "outcome" {
					status[l.Status]++
				}
			}
			if status["ok"] != 2 || status["cancelled"]+status["unknown"]+status["orphaned"] != 2 {
				t.Errorf("the outcomes are %v", status)
			}
		})
	}
}
