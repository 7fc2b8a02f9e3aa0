// Package managed writes the policies with which administrators hold the clients of
// a fleet to the gateway: files a management tool puts where users cannot change
// them.
//
// A policy names servers at the gateway and nothing else, and MUST hold no secret.
// It writes text only: where it goes, and whether a client obeys, is for the
// client. What could not be confirmed of a form is said beside it.
package managed

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"rutile/internal/access"
)

// Server is one server a client may use.
type Server struct {
	ID   string
	Name string // in the client, where it differs
}

// Gateway is what clients are held to.
type Gateway struct {
	// URL is the agents' address, without a slash at the end.
	URL string
	// Command, if not empty, is the shim instead of an address: the program and its
	// arguments, to which the id of the server is added.
	Command []string
	Servers []Server
}

// File is one file of a policy.
type File struct {
	Name  string   `json:"name"`
	Paths []string `json:"paths"` // where it goes, by system
	Text  string   `json:"text"`
}

// Policy is what a client is managed with.
type Policy struct {
	Client string `json:"client"`
	Files  []File `json:"files"`
	// Notes say what is done elsewhere, and Unconfirmed what of it no document of
	// the maker was found for.
	Notes       []string `json:"notes,omitempty"`
	Unconfirmed []string `json:"unconfirmed,omitempty"`
}

// Clients are those there is a policy for.
func Clients() []string { return slices.Sorted(maps.Keys(writers())) }

func writers() map[string]func(Gateway) Policy {
	return map[string]func(Gateway) Policy{
		"claude-code": claudeCode, "vscode": vscode, "copilot-cli": copilot, "gemini-cli": gemini, "codex": codex,
	}
}

// For writes the policy of one client.
func For(client string, g Gateway) (Policy, error) {
	write := writers()[client]
	if write == nil {
		return Policy{}, access.Errorf(access.CodeUsage, "no managed policy is known for %q; known are %s", client, strings.Join(Clients(), ", "))
	}
	g.Servers = slices.Clone(g.Servers)
	slices.SortFunc(g.Servers, func(a, b Server) int { return strings.Compare(a.ID, b.ID) })
	p := write(g)
	p.Client = client
	return p, nil
}

func (g *Gateway) address(s Server) string { return g.URL + "/mcp/" + s.ID }

func (g *Gateway) argv(s Server) []string { return append(slices.Clone(g.Command), s.ID) }

func text(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return ""
	}
	return string(b) + "\n"
}

// entries are the servers as most clients configure them; url is the client's name
// for an address, and kind its word for HTTP, "" for none.
func (g *Gateway) entries(url, kind string) map[string]any {
	out := map[string]any{}
	for _, s := range g.Servers {
		e := map[string]any{}
		if len(g.Command) > 0 {
			argv := g.argv(s)
			e["command"], e["args"] = argv[0], argv[1:]
		} else {
			e[url] = g.address(s)
			if kind != "" {
				e["type"] = kind
			}
		}
		out[s.ID] = e
	}
	return out
}

// allowed are the servers as Claude Code and Copilot match them: by what is reached
// or started, never by a name anybody can give.
func (g *Gateway) allowed() []any {
	out := []any{}
	if len(g.Command) == 0 {
		return append(out, map[string]any{"serverUrl": g.URL + "/mcp/*"})
	}
	for _, s := range g.Servers {
		out = append(out, map[string]any{"serverCommand": g.argv(s)})
	}
	return out
}

func claudeCode(g Gateway) Policy {
	return Policy{
		Files: []File{
			{
				Name:  "managed-mcp.json",
				Paths: []string{"/etc/claude-code/managed-mcp.json", "/Library/Application Support/ClaudeCode/managed-mcp.json", `C:\Program Files\ClaudeCode\managed-mcp.json`},
				Text:  text(map[string]any{"mcpServers": g.entries("url", "http")}),
			},
			{
				Name:  "managed-settings.json",
				Paths: []string{"/etc/claude-code/managed-settings.json", "/Library/Application Support/ClaudeCode/managed-settings.json", `C:\Program Files\ClaudeCode\managed-settings.json`},
				Text:  text(map[string]any{"allowManagedMcpServersOnly": true, "allowedMcpServers": g.allowed(), "deniedMcpServers": []any{}}),
			},
		},
		Notes: []string{
			"with managed-mcp.json users have these servers and no others; leave it out to let them configure servers that the lists allow",
			"merge the second into the managed settings you have",
		},
	}
}

func vscode(g Gateway) Policy {
	return Policy{
		Files: []File{{
			Name:  "policy.json",
			Paths: []string{"/etc/vscode/policy.json", "a configuration profile (macOS)", "group policy (Windows)"},
			Text:  text(map[string]any{"ChatMCP": "registry", "McpGalleryServiceUrl": g.URL}),
		}},
		Notes: []string{
			"the settings behind the policies are chat.mcp.access and chat.mcp.gallery.serviceUrl",
			"it matches servers by their names in the registry, so that editing a file gets around it: it distributes and does not enforce",
			"the registry is served below " + g.URL + "/v0.1",
		},
		Unconfirmed: []string{"the word of the policy ChatMCP for the registry alone: the setting has registry, some documents of the policy say registryOnly", "the path of the policy file on Linux"},
	}
}

func copilot(g Gateway) Policy {
	return Policy{
		Files: []File{{
			Name:  "managed-settings.json",
			Paths: []string{"the .github-private repository of the enterprise, or by device management"},
			Text:  text(map[string]any{"allowedMcpServers": g.allowed(), "deniedMcpServers": []any{}}),
		}},
		Notes: []string{
			"where the registry is used instead: in the policies of Copilot set the MCP registry URL to " + g.URL + " and restrict access to registry servers; its maker advises against both at once",
			"the registry must be reachable over HTTPS",
		},
		Unconfirmed: []string{"the path of the file on users' machines"},
	}
}

func gemini(g Gateway) Policy {
	names := []string{}
	for _, s := range g.Servers {
		names = append(names, s.ID)
	}
	return Policy{
		Files: []File{{
			Name:  "settings.json",
			Paths: []string{"/etc/gemini-cli/settings.json", "/Library/Application Support/GeminiCli/settings.json", `C:\ProgramData\gemini-cli\settings.json`},
			Text:  text(map[string]any{"mcp": map[string]any{"allowed": names}, "mcpServers": g.entries("httpUrl", "")}),
		}},
		Notes: []string{"servers of users are merged with these and only allowed by name: a user who gives another server one of these names is overridden by this file"},
	}
}

func codex(g Gateway) Policy {
	var need, have strings.Builder
	need.WriteString("# Which servers may be used. Without one here all are switched off.\n[mcp_servers]\n")
	for _, s := range g.Servers {
		need.WriteString("\n[mcp_servers." + s.ID + ".identity]\n")
		have.WriteString("[mcp_servers." + s.ID + "]\n")
		if len(g.Command) == 0 {
			need.WriteString("url = " + quoted(g.address(s)) + "\n")
			have.WriteString("url = " + quoted(g.address(s)) + "\n\n")
			continue
		}
		argv := g.argv(s)
		var args, match []string
		for _, a := range argv[1:] {
			args = append(args, quoted(a))
			match = append(match, `{ match = "exact", value = `+quoted(a)+` }`)
		}
		need.WriteString("command = { executable = " + quoted(argv[0]) + ", args = [" + strings.Join(match, ", ") + "] }\n")
		have.WriteString("command = " + quoted(argv[0]) + "\nargs = [" + strings.Join(args, ", ") + "]\n\n")
	}
	return Policy{
		Files: []File{
			{Name: "requirements.toml", Paths: []string{"/etc/codex/requirements.toml"}, Text: need.String()},
			{Name: "managed_config.toml", Paths: []string{"/etc/codex/managed_config.toml"}, Text: strings.TrimSuffix(have.String(), "\n")},
		},
		Notes:       []string{"the first says what may be used, the second configures it for everybody"},
		Unconfirmed: []string{"the paths on Windows", "since which version arguments are matched too; earlier ones match the command alone"},
	}
}

// quoted is text as TOML has it: a basic string is a JSON string but for what is
// never in an address or a path.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
}
