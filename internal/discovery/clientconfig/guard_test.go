package clientconfig_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
)

// outcomes are how looking at places that are not absent ended.
func outcomes(r *discovery.Report) map[string]discovery.Outcome {
	out := map[string]discovery.Outcome{}
	for _, c := range r.Coverage {
		if c.Outcome != discovery.Absent {
			out[c.Place] = c.Outcome
		}
	}
	return out
}

// A distinct marker stands in every place a secret can: none of them is in what
// discovery returns, in no form.
func TestCanariesStayWhereTheyAre(t *testing.T) {
	m := newMachine(t, clientconfig.Linux)
	n := 0
	var marks []string
	mark := func() string {
		n++
		s := fmt.Sprintf("cAnary%02dzQ7", n)
		marks = append(marks, s)
		return s
	}
	long := func(prefix string) string {
		s := prefix + mark() + "0a1b2c3d4e5f6g7h8i9j"
		return s
	}
	e := func(member string) string {
		return fmt.Sprintf(`{"command": "npx", "args": ["tool@1.0.0"], %s}`, member)
	}
	entries := []string{
		e(`"env": {"A_TOKEN": "` + mark() + `", "PLAIN": "` + mark() + `"}`),
		e(`"headers": {"Authorization": "Bearer ` + mark() + `", "X": "` + mark() + `"}`),
		`{"command": "npx", "args": ["tool@1.0.0", "--token", "` + mark() + `", "--api-key=` + mark() + `", "` + mark() + `", "KEY=` + mark() + `", "--label=` + mark() + `", "-p` + mark() + `"]}`,
		`{"command": "npx", "args": ["tool@1.0.0", "` + long("ghp_") + `", "` + long("sk-") + `", "` + long("") + `", "/srv/` + long("ghp_") + `/x"]}`,
		`{"url": "https://u` + mark() + `:` + mark() + `@x.example.com/p?token=` + mark() + `&x=` + mark() + `&` + mark() + `#` + mark() + `"}`,
		`{"url": "https://x.example.com/s/` + long("") + `/mcp"}`,
		`{"command": "npx", "args": ["tool@1.0.0", "postgres://me:` + mark() + `@db/x?password=` + mark() + `"]}`,
		`{"command": "docker", "args": ["run", "-e", "TOKEN=` + mark() + `", "-eB=` + mark() + `", "--env=C=` + mark() + `", "acme/tool:1.0.0", "` + mark() + `"]}`,
		`{"command": "sh", "args": ["-c", "T=` + mark() + ` exec npx tool@1.0.0 --key ` + mark() + `"]}`,
		`{"command": "sh", "args": ["-c", "curl -H 'X: ` + mark() + `' x | sh"]}`,
		`{"command": "env", "args": ["T=` + mark() + `", "tool", "--x"]}`,
		`{"command": "npx", "args": ["mcp-remote@0.1.2", "https://x.example.com/mcp", "--header", "X-Key: ` + mark() + `", "--header", "` + mark() + `"]}`,
		e(`"oauth": {"clientSecret": "` + mark() + `"}, "apiKey": "` + mark() + `", "deep": {"er": {"password": "` + mark() + `"}}`),
		e(`"env": {"D": "` + mark() + `", "D": "` + mark() + `"}`),
		`{"command": "tool ` + mark() + `"}`,
		`{"command": "powershell", "args": ["-Command", "& tool -Password ` + mark() + `"]}`,
		`{"command": "node", "args": ["-e", "x('` + mark() + `')"]}`,
		`{"url": "https://x.example.com/", "headers": ["Authorization: Bearer ` + mark() + `==", "X-Key:` + mark() + `", "` + mark() + ` ` + mark() + `="]}`,
		e(`"env": ["A_TOKEN=` + mark() + `", "` + mark() + `", {"name": "B_TOKEN", "value": "` + mark() + `"}]`),
		`{"command": "/opt/tool --token ` + mark() + ` | tee /tmp/x"}`,
		`{"command": "/opt/tool --token ` + mark() + `", "args": ["x"]}`,
	}
	var all []string
	for i, one := range entries {
		all = append(all, fmt.Sprintf(`"s%d": %s`, i, one))
	}
	all = append(all, `"`+long("sk-")+`": {"command": "tool"}`)
	m.write(".cursor/mcp.json", "// "+mark()+"\n{\"mcpServers\": {"+strings.Join(all, ",\n")+"}}")
	m.write(".kimi/mcp.json", `{"mcpServers": {"a": {"command": "x", "env": {"T": "`+mark()+`"}}, `+mark()+` oops`)
	m.write(".config/zed/settings.json", `{"context_servers": {"z": {"source": "extension", "settings": {"a": "`+mark()+`", "b": {"c": "`+mark()+`"}}}}}`)
	m.write(".local/share/crush/crush.json", `{"mcp": {"c": {"type": "http", "url": "https://c.example.com/", "oauth_token": {"access_token": "`+mark()+`"}, "oauth_client_secret": "`+mark()+`"}}}`)
	m.write(".codex/config.toml", "[mcp_servers.a]\ncommand = \"x\"\nheaders = {A = \""+mark()+"\"}\nbearer_token = \""+mark()+"\"\n# "+mark()+"\n")
	m.write(".vibe/config.toml", "[[mcp_servers]]\nname = \"a\"\ncommand = "+mark()+"\n")
	m.write(".config/goose/config.yaml", "extensions:\n  a: {cmd: x, type: stdio, envs: {T: "+mark()+"}}\n  b: ["+mark()+"\n")
	m.write(".continue/config.yaml", "mcpServers:\n  - {name: a, url: 'https://a.example.com/', requestOptions: {headers: {A: "+mark()+"}}}\n")
	m.write(".mcp-auth/mcp-remote-1/x_tokens.json", `{"access_token": "`+mark()+`"}`)
	m.write(".claude.json", `{"projects": {"`+m.home+`/p": {"mcpServers": {"a": {"command": "x", "env": {"T": "`+mark()+`"}}}}}, "oauthAccount": "`+mark()+`"}`)
	r := m.discover(t.Context())
	if n := strings.Count(inventory(r), ".cursor/mcp.json#/mcpServers/"); n < len(entries) {
		t.Fatalf("only %d entries were found:\n%s", n, inventory(r))
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Join([][]byte{b, fmt.Appendf(nil, "%+v %#v %s", r, r, inventory(r))}, nil)
	for _, s := range marks {
		for form, text := range map[string]string{"clear": s, "base64": base64.StdEncoding.EncodeToString([]byte(s))[:12], "hex": hex.EncodeToString([]byte(s)), "url": url.QueryEscape(s), "upper": strings.ToUpper(s), "lower": strings.ToLower(s)} {
			if i := bytes.Index(out, []byte(text)); i >= 0 {
				t.Errorf("%s is there in %s: …%s…", s, form, out[max(0, i-150):min(len(out), i+60)])
			}
		}
	}
	if len(marks) < 50 {
		t.Errorf("only %d places were marked", len(marks))
	}
}

// Nothing that is found is started, and nothing is written.
func TestNothingFoundIsRun(t *testing.T) {
	m := newMachine(t, clientconfig.Linux)
	mark := filepath.Join(m.root, "was-run")
	bin := m.write("bin/npx", "#!/bin/sh\ntouch "+mark+"\n")
	if err := os.Chmod(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(bin)+string(os.PathListSeparator)+os.Getenv("PATH"))
	m.write(".cursor/mcp.json", `{"mcpServers": {"a": {"command": "npx", "args": ["x"]}, "b": {"command": "`+bin+`"}, "c": {"command": "sh", "args": ["-c", "touch `+mark+`; $(touch `+mark+`)"]}}}`)
	m.write(".config/crush/crush.json", `{"mcp": {"a": {"command": "$(touch `+mark+`)", "env": {"A": "`+"`touch "+mark+"`"+`"}}}}`)
	m.write(".config/crush/crushrc", "touch "+mark+"\n")
	m.write("p/.crushrc", "touch "+mark+"\n")
	m.write("p/.git/config", "[core]\n\tfsmonitor = touch "+mark+"\n[remote \"origin\"]\n\turl = ext::sh -c touch% "+mark+"\n")
	m.write("p/.mcp.json", `{"mcpServers": {"d": {"command": "./server.sh"}}}`)
	m.write("p/server.sh", "#!/bin/sh\ntouch "+mark+"\n")
	m.paths = []string{filepath.Join(m.home, "p")}
	before := listing(t, m.root)
	r := m.discover(t.Context())
	if len(r.Servers) < 5 {
		t.Fatalf("only %d servers were found:\n%s", len(r.Servers), inventory(r))
	}
	if after := listing(t, m.root); after != before {
		t.Errorf("the machine changed:\n%s\n%s", before, after)
	}
}

// listing is every file with its size and time.
func listing(t *testing.T, dir string) string {
	var b strings.Builder
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, p, info.Size(), info.ModTime(), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What the scanner may not see, what is not a file and what leads elsewhere is
// told in coverage; the rest is found.
func TestUnfriendlyFilesDoNotStopTheRun(t *testing.T) {
	m := newMachine(t, clientconfig.Linux)
	good := `{"mcpServers": {"good": {"command": "npx", "args": ["good@1.0.0"]}}}`
	m.write(".lmstudio/mcp.json", good)
	fifo(t, m, ".cursor/mcp.json")
	huge := m.write(".kimi/mcp.json", "")
	if err := os.Truncate(huge, 1<<30); err != nil { // a hole: nothing is on the disk
		t.Fatal(err)
	}
	m.write(".junie/mcp/mcp.json", "")
	link := func(to, name string) {
		file := m.write(name, "")
		os.Remove(file)
		if err := os.Symlink(to, file); err != nil {
			t.Fatal(err)
		}
	}
	m.write("/etc/shadow.json", good)
	link(filepath.Join(m.root, "etc", "shadow.json"), ".factory/mcp.json")
	link("mcp.json", ".warp/.mcp.json")
	link(".mcp.json", ".warp/mcp.json")
	link(filepath.Join(m.home, ".lmstudio", "mcp.json"), ".abacusai/mcp.json")
	link("nothing", ".codebuddy.json")
	if err := os.MkdirAll(filepath.Join(m.home, ".tome", "mcp_config.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	denied := m.write(".qoder/mcp.json", good)
	if err := os.Chmod(denied, 0); err != nil {
		t.Fatal(err)
	}
	link(m.home, ".claude/plugins/cache/loop")
	r := m.discover(t.Context())
	got := outcomes(r)
	want := map[string]discovery.Outcome{
		"~/.lmstudio/mcp.json": discovery.Read, "~/.cursor/mcp.json": discovery.Skipped, "~/.kimi/mcp.json": discovery.Skipped, "~/.junie/mcp/mcp.json": discovery.Read,
		"~/.factory/mcp.json": discovery.Skipped, "~/.warp/.mcp.json": discovery.Skipped, "~/.abacusai/mcp.json": discovery.Read, "~/.tome/mcp_config.json": discovery.Skipped,
	}
	if os.Getuid() != 0 {
		want["~/.qoder/mcp.json"] = discovery.Denied
	}
	for place, outcome := range want {
		if got[place] != outcome {
			t.Errorf("%s ended as %q, want %q", place, got[place], outcome)
		}
	}
	if len(r.Failed()) > 0 {
		t.Errorf("sources failed: %v", r.Failed())
	}
	for i := range r.Servers {
		for _, s := range r.Servers[i].Sightings() {
			if s.Place.Path == "~/.factory/mcp.json" {
				t.Errorf("a link out of the home was followed")
			}
		}
	}
}

// A run that is interrupted keeps what it found until then.
func TestInterruptKeepsWhatWasFound(t *testing.T) {
	m := newMachine(t, clientconfig.Linux)
	m.write(".abacusai/mcp.json", `{"mcpServers": {"a": {"command": "x"}}}`)
	m.write(".cursor/mcp.json", `{"mcpServers": {"b": {"command": "y"}}}`)
	m.paths = []string{}
	ctx, cancel := context.WithCancel(t.Context())
	src := m.source()
	seen := discovery.Run(ctx, []discovery.Source{src}, now, func(c discovery.Coverage) {
		if c.Outcome == discovery.Read {
			cancel()
		}
	})
	r := seen.Report(discovery.Registry{})
	if !r.Interrupted || len(r.Servers) != 1 || r.Servers[0].Key != "command:x" {
		t.Errorf("interrupted %v, servers %+v", r.Interrupted, r.Servers)
	}
}

// Many projects are looked through in bounded time and memory.
func TestManyProjectsAreOneServer(t *testing.T) {
	m := newMachine(t, clientconfig.Linux)
	const n = 800
	var list []string
	for i := range n {
		m.write(fmt.Sprintf("src/p%04d/.mcp.json", i), `{"mcpServers": {"fs": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem@2025.8.21", "."]}}}`)
		list = append(list, fmt.Sprintf(`"%s/src/p%04d": {}`, m.home, i))
	}
	m.write(".claude.json", `{"projects": {`+strings.Join(list, ",")+`}}`)
	start := time.Now()
	r := m.discover(t.Context())
	t.Logf("%d projects in %v", n, time.Since(start))
	if len(r.Servers) != 1 || len(r.Servers[0].Variants) != 1 || len(r.Servers[0].Sightings()) != n {
		t.Errorf("%d servers, want one with %d sightings", len(r.Servers), n)
	}
}
