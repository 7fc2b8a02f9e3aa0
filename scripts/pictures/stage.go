package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// stage is a running demonstration with what its pages lack.
type stage struct {
	program, dir      string // dir is ours: a home, and manifests
	data              string // of the gateway
	agents, operators string // addresses
	token             string // of the person who looks
	denied            string // the decision of a call
	approve           string // the page of a request
	closers           []func()
}

func (s *stage) end() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// play starts the demonstration and fills it.
func play(ctx context.Context, program string) (_ *stage, err error) {
	s := &stage{program: program}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "rutile-pictures-"); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() { _ = os.RemoveAll(s.dir) })
	for name, text := range home {
		file := filepath.Join(s.dir, "home", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			return nil, err
		}
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	up := httptest.NewServer(deploy())
	s.closers = append(s.closers, up.CloseClientConnections)
	if err := s.apply(ctx, strings.ReplaceAll(manifests, "URL", up.URL)); err != nil {
		return nil, err
	}
	return s, s.happen(ctx)
}

var ready = regexp.MustCompile(`ready agents=(\S+) operators=(\S+)`)

// start runs `rutile up --demo` until its script is over.
func (s *stage) start(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.program, "up", "--demo", "--offline", "--listen-agents", "127.0.0.1:0", "--listen-operators", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if m := ready.FindStringSubmatch(line); m != nil {
			s.agents, s.operators = m[1], strings.Replace(m[2], "127.0.0.1", "localhost", 1) // where passkeys work
		}
		if _, rest, ok := strings.Cut(line, "--data "); ok {
			s.data, _, _ = strings.Cut(rest, " ")
			go func() { _, _ = io.Copy(io.Discard, out) }() // it may say more
			return nil
		}
	}
	return errors.New("the demonstration ended")
}

// rutile runs a command against the demonstration and returns what it prints.
func (s *stage) rutile(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.program, append([]string{"--data", s.data}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &said, append(os.Environ(), "HOME="+filepath.Join(s.dir, "home"))
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("rutile %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func (s *stage) apply(ctx context.Context, text string) error {
	file := filepath.Join(s.dir, "shop.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := s.rutile(ctx, "apply", "-f", file)
	return err
}

// call calls a tool as the agent for somebody and returns the answer.
func (s *stage) call(ctx context.Context, person, server, tool, args string) (string, error) {
	token, err := s.rutile(ctx, "agent", "token", "release-bot", "--server", server, "--subject", person)
	if err != nil {
		return "", err
	}
	const meta = `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"release-bot","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.agents+"/mcp/"+server, strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":%s}}`, tool, args, meta)))
	if err != nil {
		return "", err
	}
	for k, v := range map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool} {
		req.Header.Set(k, v)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req) // ctx bounds it
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

var requestID = regexp.MustCompile(`req_[0-9A-Z]+`)

// happen has an agent work: calls, a denial, a request that was approved, one that
// waits, a call in flight; and a machine is looked through.
func (s *stage) happen(ctx context.Context) error {
	var err error
	if s.token, err = s.rutile(ctx, "user", "token", "create", "kim"); err != nil {
		return err
	}
	for range 3 {
		if _, err := s.call(ctx, "lee", "deploy", "status", `{"service":"shop"}`); err != nil {
			return err
		}
	}
	if _, err := s.call(ctx, "lee", "tickets", "create_ticket", `{"title":"the shop is slow","priority":"critical"}`); err != nil {
		return err
	}
	asked, err := s.call(ctx, "lee", "deploy", "release", `{"service":"shop","version":"4.1.0","note":"prices with tax"}`)
	if err != nil {
		return err
	}
	if _, err := s.rutile(ctx, "request", "approve", requestID.FindString(asked), "--reason", "as planned for Tuesday"); err != nil {
		return err
	}
	if _, err := s.call(ctx, "lee", "deploy", "release", `{"service":"shop","version":"4.1.0","note":"prices with tax"}`); err != nil {
		return err
	}
	if asked, err = s.call(ctx, "lee", "deploy", "release", `{"service":"shop","version":"4.2.0","note":"prices with tax, and the new cart"}`); err != nil {
		return err
	}
	s.approve = "/approve/" + requestID.FindString(asked)
	if _, err := s.rutile(ctx, "discover", "--home", filepath.Join(s.dir, "home"), "--fail-on", "none"); err != nil {
		return err
	}
	flight, stop := context.WithCancel(ctx)
	s.closers = append(s.closers, stop)
	go func() { _, _ = s.call(flight, "lee", "deploy", "watch", `{"service":"shop"}`) }() // until the end
	out, err := s.rutile(ctx, "-o", "json", "audit", "search", "--outcome", "deny", "--tool", "create_ticket", "--limit", "1")
	if err != nil {
		return err
	}
	s.denied = regexp.MustCompile(`dec_[0-9A-Z]+`).FindString(out)
	return nil
}

// home is of somebody whose clients are configured with servers nobody registered.
var home = map[string]string{
	".cursor/mcp.json":                  `{"mcpServers":{"github":{"command":"npx","args":["-y","@modelcontextprotocol/server-github"],"env":{"GITHUB_PERSONAL_ACCESS_TOKEN":"ghp_0123456789abcdefghijABCDEFGHIJ012345"}},"files":{"command":"npx","args":["-y","@modelcontextprotocol/server-filesystem@2026.8.31","/home"]}}}`,
	".claude.json":                      `{"mcpServers":{"github":{"command":"npx","args":["-y","@modelcontextprotocol/server-github@2025.4.8"]},"tracker":{"type":"http","url":"https://mcp.example.com/mcp"}}}`,
	".codeium/windsurf/mcp_config.json": `{"mcpServers":{"postgres":{"command":"docker","args":["run","-i","--rm","mcp/postgres","postgresql://shop:tea4two@db.example.com/shop"]}}}`,
	".gemini/settings.json":             `{"mcpServers":{`,
}

const manifests = `kind: User
id: kim
name: Kim Ha-eun
roles: [admin, approver]
---
kind: User
id: lee
name: Lee Min-jun
roles: [operator]
---
kind: User
id: park
name: Park Seo-yeon
roles: [auditor]
---
kind: Team
id: demo-team
members: [kim, lee]
---
kind: Agent
id: release-bot
owner: demo-team
purpose: brings releases of the shop to production
runtime: claude-code
riskTier: 2
tools: ["deploy/status", "deploy/watch", "notes/read_note", "tickets/create_ticket"]
---
kind: Server
id: deploy
owner: demo-team
transport: {http: {url: "URL"}}
state: sanctioned
---
kind: Server
id: warehouse
owner: demo-team
transport: {http: {url: "URL/warehouse"}}
state: discovered
---
kind: Entitlement
id: releases
owner: demo-team
purpose: bring a release to production
agents: [release-bot]
tools: ["deploy/release"]
maxTTL: 30m
approve: quorum:1
`

// deploy is a server with a tool that takes its time.
func deploy() http.Handler {
	tool := func(name, description string, readOnly bool, params ...string) map[string]any {
		props := map[string]any{}
		for _, p := range params {
			props[p] = map[string]any{"type": "string"}
		}
		return map[string]any{"name": name, "description": description, "inputSchema": map[string]any{"type": "object", "properties": props, "required": params}, "annotations": map[string]any{"readOnlyHint": readOnly, "openWorldHint": false}}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct{ Name string }
		}
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		result := map[string]any{"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
		switch m.Method {
		case "server/discover":
			result["supportedVersions"], result["capabilities"] = []string{"2026-07-28"}, map[string]any{"tools": map[string]any{}}
		case "tools/list":
			result["tools"] = []any{tool("status", "Which version of a service runs.", true, "service"), tool("watch", "Waits until a service is up.", true, "service"), tool("release", "Brings a version of a service to production.", false, "service", "version", "note")}
		default:
			if m.Params.Name == "watch" {
				<-r.Context().Done()
			}
			result["content"] = []any{map[string]any{"type": "text", "text": "shop 4.1.0 is up"}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": result}) // the caller may have gone
	})
}

// first is the address of the first link of a page that begins with something.
func (c *camera) first(at, sel string) (string, error) {
	if err := c.visit(at); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q).getAttribute('href')", sel)))
}

// shots are the pictures there are.
func (s *stage) shots(c *camera) ([]shot, error) {
	var list []shot
	add := func(name, path string) { list = append(list, shot{name: name, path: path}) }
	for _, x := range []struct{ name, at, sel string }{
		{"found", "/console/inventory", `a[href*="server-github"]`},
		{"session", "/console/live", `td a[href^="/console/sessions/"]`},
		{"event", "/console/evidence?tool=release&outcome=permit", `td a[href^="/console/evidence/"]`},
		{"finding", "/console/findings", `td a[href^="/console/findings/"]`},
		{"grant", "/console/grants", `td a[href^="/console/grants/"]`},
	} {
		path, err := c.first(s.operators+x.at, x.sel)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		add(x.name, path)
	}
	add("overview", "/console/")
	add("live", "/console/live")
	add("requests", "/console/requests")
	add("request", s.approve)
	add("findings", "/console/findings")
	add("reviews", "/console/reviews")
	add("review", "/console/reviews/agent/release-bot")
	add("inventory", "/console/inventory")
	add("sources", "/console/sources")
	add("servers", "/console/servers")
	add("server", "/console/servers/notes")
	add("server-access", "/console/servers/deploy/access")
	add("tool", "/console/tool?name=read_note&server=notes")
	add("agents", "/console/agents")
	add("agent", "/console/agents/release-bot")
	add("agent-access", "/console/agents/release-bot/access")
	add("people", "/console/people")
	add("person", "/console/people/lee")
	add("rights", "/console/roles")
	add("policies", "/console/policies")
	add("policy", "/console/policies/ticket-priority")
	add("grants", "/console/grants")
	add("break-glass", "/console/break-glass")
	add("evidence", "/console/evidence")
	add("decision", "/console/decisions/"+s.denied)
	add("compliance", "/console/compliance")
	add("account", "/console/account")
	list = append(list,
		shot{name: "simulator", path: "/console/simulator?policy=ticket-priority", before: func(c *camera) error {
			const sel = "#cedar"
			if err := c.do(chromedp.SetValue(chromedp.CSS(sel), `@id("ticket-priority")`+"\n"+`forbid (principal, action == Mcp::Action::"tickets/create_ticket", resource);`+"\n")); err != nil {
				return err
			}
			return c.click(`form[action="/console/simulator"] button`)
		}},
		shot{name: "risk", path: "/console/risk", before: func(c *camera) error { return c.click(`form[action="/console/risk"] button`) }},
	)
	for _, name := range []string{"overview", "decision", "request", "inventory", "findings", "live"} {
		for _, x := range list {
			if x.name == name {
				list = append(list, shot{name: name + "-dark", path: x.path, dark: true})
			}
		}
	}
	for _, x := range list {
		if x.name == "overview" {
			list = append(list, shot{name: "overview-ko", path: x.path, korean: true})
		}
	}
	// Last, for it ends the session.
	list = append(list, shot{name: "sign-in", path: "/console/account", before: func(c *camera) error {
		if err := c.click(`form[action="/approve/sign-out"] button`); err != nil {
			return err
		}
		return c.visit(s.operators + "/console/")
	}})
	return list, nil
}
