package process_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"rutile/internal/discovery/process"
)

// table makes processes 10, 11, … of command lines; a line begins with the
// number of its parent, and with "=" if its streams end there.
func table(lines ...string) *process.Table {
	t := &process.Table{Procs: map[int]*process.Proc{1: {PID: 1, Args: []string{"init"}}}}
	ends := process.Ends{}
	for i, line := range lines {
		f := strings.Fields(line)
		parent, joined := strings.CutPrefix(f[0], "=")
		p := &process.Proc{PID: 10 + i, Args: f[1:]}
		for _, c := range parent {
			p.Parent = p.Parent*10 + int(c-'0')
		}
		if f[1] == "title" { // a program that writes its title over its arguments
			p.Args = []string{strings.Join(f[2:], " ")}
		}
		for at := p.Parent; joined && at > 1; at = t.Procs[at].Parent {
			ends[[2]int{p.PID, at}] = true
		}
		t.Procs[p.PID] = p
	}
	t.Join(ends)
	return t
}

func TestServersAreRecognised(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines    []string
		pid      int // 0 for none
		client   string
		strength float64
		pids     int
	}{
		"by name, parent and connection": {[]string{"1 /usr/bin/claude", "=10 npx -y @modelcontextprotocol/server-filesystem /srv"}, 11, "claude-code", 0.9, 1},
		"what npx starts is one":         {[]string{"1 node /usr/bin/claude", "=10 title npm exec mcp-server-git --repo /srv", "=11 sh -c mcp-server-git", "=12 node /x/.bin/mcp-server-git --repo /srv"}, 11, "claude-code", 0.9, 3},
		"through a shell":                {[]string{"1 /opt/Cursor", "=10 sh -c x", "=11 uvx mcp-server-git"}, 12, "cursor", 0.9, 1},
		"by connection alone":            {[]string{"1 zed", "=10 node /srv/tools/index.js"}, 11, "zed", 0.7, 1},
		"without connection":             {[]string{"1 zed", "10 uvx mcp-server-git"}, 11, "zed", 0.6, 1},
		"of a program of one's own":      {[]string{"1 python agent.py", "=10 python -m mcp_server_git"}, 11, "", 0.7, 1},
		"module named for it":            {[]string{"1 python agent.py", "=10 python -m my_mcp.server"}, 11, "", 0.7, 1},
		"named program":                  {[]string{"1 python agent.py", "=10 github-mcp-server stdio"}, 11, "", 0.7, 1},
		"arguments only":                 {[]string{"1 /usr/bin/node /opt/mcp/server.js --port 3000"}, 10, "", 0.5, 1},
		"in a container":                 {[]string{"1 claude", "=10 docker run -i --rm ghcr.io/github/github-mcp-server"}, 11, "claude-code", 0.9, 1},
		"the shim":                       {[]string{"1 claude", "=10 /usr/local/bin/rutile connect files"}, 11, "claude-code", 0.9, 1},
		"behind the gateway":             {[]string{"1 rutile up", "=10 npx mcp-server-git"}, 11, process.Gateway, 0.9, 1},
		"a language server":              {[]string{"1 zed", "=10 node /x/node_modules/.bin/typescript-language-server --stdio"}, 0, "", 0, 0},
		"another language server":        {[]string{"1 code", "=10 /x/pyright-langserver --stdio", "=10 gopls"}, 0, "", 0, 0},
		"a server about one":             {[]string{"1 claude", "=10 mcp-language-server --lsp gopls"}, 11, "claude-code", 0.9, 1},
		"a server with such a word":      {[]string{"1 claude", "=10 node /srv/notes/index.js biome"}, 11, "claude-code", 0.7, 1},
		"a test a client runs":           {[]string{"1 claude", "10 node /x/vitest"}, 0, "", 0, 0},
		"a program that reads":           {[]string{"1 bash", "10 vim mcp.json", "10 grep -r mcp /etc", "10 git clone x/mcp-server-git"}, 0, "", 0, 0},
		"a folder":                       {[]string{"1 node /home/mcp/projects/shop/src/index.js"}, 0, "", 0, 0},
		"circle of parents":              {[]string{"11 sh", "10 sh"}, 0, "", 0, 0},
	} {
		got := table(c.lines...).Servers()
		switch {
		case c.pid == 0 && len(got) == 0:
		case len(got) != 1 || got[0].Proc.PID != c.pid || got[0].Client != c.client || got[0].Strength != c.strength || len(got[0].PIDs) != c.pids:
			t.Errorf("%s: %+v, want process %d of %q with %v", name, got, c.pid, c.client, c.strength)
		}
	}
}

func TestSocketsBelongToTheServerAbove(t *testing.T) {
	t.Parallel()
	tab := table("1 claude", "=10 npx mcp-server-x", "=11 node x.js", "1 postgres")
	at := netip.MustParseAddrPort("127.0.0.1:3000")
	tab.Sockets = []process.Socket{{Address: at, PID: 12}, {Address: netip.MustParseAddrPort("127.0.0.1:5432"), PID: 13}}
	if got := tab.Servers(); len(got) != 1 || !slices.Equal(got[0].Listens, []netip.AddrPort{at}) {
		t.Errorf("%+v", got)
	}
}

func TestCommandOfNpmIsTurnedBack(t *testing.T) {
	t.Parallel()
	p := &process.Proc{Args: []string{"npm exec @scope/mcp /srv"}}
	if c, a := p.Command(); c != "npx" || !slices.Equal(a, []string{"@scope/mcp", "/srv"}) {
		t.Errorf("%s %v", c, a)
	}
}
