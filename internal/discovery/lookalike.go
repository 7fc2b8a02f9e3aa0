package discovery

import "strings"

// known are names of servers and bridges that are widely used: what somebody
// would imitate. The list is for comparing, it vouches for nothing.
var known = []string{
	"pkg:npm/%40modelcontextprotocol/server-filesystem", "pkg:npm/%40modelcontextprotocol/server-github", "pkg:npm/%40modelcontextprotocol/server-gitlab",
	"pkg:npm/%40modelcontextprotocol/server-memory", "pkg:npm/%40modelcontextprotocol/server-postgres", "pkg:npm/%40modelcontextprotocol/server-slack",
	"pkg:npm/%40modelcontextprotocol/server-everything", "pkg:npm/%40modelcontextprotocol/server-brave-search", "pkg:npm/%40modelcontextprotocol/server-puppeteer",
	"pkg:npm/%40modelcontextprotocol/server-google-maps", "pkg:npm/%40modelcontextprotocol/server-gdrive", "pkg:npm/%40modelcontextprotocol/server-redis",
	"pkg:npm/%40modelcontextprotocol/server-sequential-thinking", "pkg:npm/%40modelcontextprotocol/server-everart", "pkg:npm/%40modelcontextprotocol/inspector",
	"pkg:npm/%40playwright/mcp", "pkg:npm/%40upstash/context7-mcp", "pkg:npm/%40notionhq/notion-mcp-server", "pkg:npm/%40supabase/mcp-server-supabase",
	"pkg:npm/%40sentry/mcp-server", "pkg:npm/%40stripe/mcp", "pkg:npm/%40azure/mcp", "pkg:npm/%40cloudflare/mcp-server-cloudflare", "pkg:npm/%40smithery/cli",
	"pkg:npm/chrome-devtools-mcp", "pkg:npm/firecrawl-mcp", "pkg:npm/figma-developer-mcp", "pkg:npm/mcp-remote", "pkg:npm/supergateway", "pkg:npm/mcp-server-kubernetes",
	"pkg:npm/tavily-mcp", "pkg:npm/exa-mcp-server", "pkg:npm/postmark-mcp",
	"pkg:pypi/mcp-server-git", "pkg:pypi/mcp-server-fetch", "pkg:pypi/mcp-server-time", "pkg:pypi/mcp-server-sqlite", "pkg:pypi/mcp-proxy", "pkg:pypi/mcp-atlassian",
	"pkg:pypi/mcp-server-qdrant", "pkg:pypi/fastmcp", "pkg:pypi/serena",
	"pkg:docker/mcp/github", "pkg:docker/mcp/filesystem", "pkg:docker/mcp/fetch", "pkg:docker/mcp/postgres", "pkg:docker/github/github-mcp-server?repository_url=ghcr.io",
}

// lookalikes are the known names a package is named almost like: one letter off
// (two in long names), or the same name in a namespace that is not the known one.
func lookalikes(pkg string) []string {
	if pkg == "" {
		return nil
	}
	kind, name, _ := strings.Cut(pkg, "/")
	var out []string
	for _, k := range known {
		if k == pkg {
			return nil
		}
		otherKind, other, _ := strings.Cut(k, "/")
		if kind != otherKind {
			continue
		}
		limit := 1
		if len(other) > 20 {
			limit = 2
		}
		if len(other) >= 8 && near(name, other, limit) || swapped(name, other) {
			out = append(out, k)
		}
	}
	if len(out) > 1 {
		out = out[:1]
	}
	return out
}

// swapped reports whether name is a name of the official namespace that stands
// outside of it.
func swapped(name, other string) bool {
	base, official := strings.CutPrefix(other, "%40modelcontextprotocol/")
	return official && len(base) > len("server-") && name[strings.LastIndexByte(name, '/')+1:] == base
}

// near reports whether a can be made from b by at most limit letters that are
// added, left out, changed or exchanged with their neighbour.
func near(a, b string, limit int) bool {
	if d := len(a) - len(b); d > limit || -d > limit {
		return false
	}
	row := make([]int, len(b)+1)
	var before, twice []int
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		twice, before = before, row
		row = make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], twice[j-2]+1)
			}
		}
	}
	return row[len(b)] <= limit
}
