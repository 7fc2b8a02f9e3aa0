package process

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Strengths of the evidence (discovery.md 3).
const (
	provenStrength  = 0.9 // by name, parent and by connection
	joinedStrength  = 0.7 // by connection, and name or parent
	parentStrength  = 0.6 // by name and parent
	argumentsAlone  = 0.5
	maxRecognisable = 64 << 10
)

// clients are the programs of the clients whose children are looked at, by the
// ids of the table of clients: names of programs, and parts of the path of a
// script that an interpreter runs.
var clients = []struct {
	id       string
	programs []string
	scripts  []string
}{
	{"claude-code", []string{"claude"}, []string{"@anthropic-ai/claude-code/", "/bin/claude"}},
	{"claude-desktop", []string{"claude-desktop", "claude desktop", "claude helper", "claude.exe"}, nil},
	{"vscode", []string{"code", "code-insiders", "code helper", "code helper (plugin)", "codium", "vscodium"}, []string{"/.vscode-server/", "/out/bootstrap-fork"}},
	{"cursor", []string{"cursor", "cursor helper", "cursor helper (plugin)", "cursor-agent"}, []string{"/.cursor-server/"}},
	{"windsurf", []string{"windsurf", "windsurf helper", "windsurf helper (plugin)"}, []string{"/.windsurf-server/"}},
	{"zed", []string{"zed", "zed-editor", "zeditor"}, nil},
	{"goose", []string{"goose", "goosed"}, nil},
	{"codex", []string{"codex"}, []string{"@openai/codex/", "/bin/codex"}},
	{"gemini-cli", []string{"gemini"}, []string{"@google/gemini-cli/", "/bin/gemini"}},
	{"qwen-code", []string{"qwen"}, []string{"@qwen-code/", "/bin/qwen"}},
	{"copilot-cli", []string{"copilot"}, []string{"@github/copilot/", "/bin/copilot"}},
	{"opencode", []string{"opencode"}, []string{"/opencode-ai/", "/bin/opencode"}},
	{"crush", []string{"crush"}, nil},
	{"kiro", []string{"kiro", "kiro-cli"}, nil},
	{"amazon-q", []string{"q", "qchat"}, nil},
	{"amp", []string{"amp"}, []string{"@sourcegraph/amp/"}},
	{"warp", []string{"warp", "warp-terminal"}, nil},
	{"lm-studio", []string{"lm-studio", "lm studio", "lmstudio"}, nil},
	{"jan", []string{"jan"}, nil},
	{"cherry-studio", []string{"cherrystudio", "cherry studio"}, nil},
	{"jetbrains-ai", []string{"idea", "pycharm", "goland", "webstorm", "phpstorm", "rider", "clion", "rubymine", "rustrover", "datagrip"}, nil},
	{"trae", []string{"trae"}, nil},
	{"qoder", []string{"qoder"}, nil},
	{"antigravity", []string{"antigravity"}, nil},
	{"librechat", nil, []string{"/librechat/"}},
}

// Gateway is the client of servers that Rutile itself started.
const Gateway = "rutile"

// runners start servers that are no programs of their own.
var runners = []string{"npx", "npm", "pnpm", "pnpx", "yarn", "bunx", "uvx", "uv", "pipx", "node", "nodejs", "python", "python3", "deno", "bun", "dotnet", "java", "docker", "podman"}

// languageServers use the same words and are none of ours: they speak LSP.
var languageServers = regexp.MustCompile(`(?i)(^|[/\\@ ._-])(` +
	`[a-z]*-?language-?server(-[a-z]+)?|languageserver|[a-z]*langserver[a-z]*|tsserver|typescript-language-server|vtsls|gopls|rust-analyzer|pyright[a-z-]*|basedpyright[a-z-]*|pylsp|pylance|jedi-language-server|ruff-lsp|clangd|jdtls|` +
	`eslint_d|eslintserver|bash-language-server|yaml-language-server|vscode-(json|html|css|eslint|markdown)-language[a-z-]*|vue-language-server|svelteserver|tailwindcss-language[a-z-]*|lua-language-server|` +
	`intelephense|solargraph|ruby-lsp|omnisharp|metals|kotlin-language-server|elixir-ls|hls|haskell-language-server|texlab|taplo|marksman|terraform-ls|tflint|dockerfile-language[a-z-]*|docker-langserver|` +
	`graphql-lsp|ansible-language-server|astro-ls|biome|denols|emmet-ls|helm_ls|nil|nixd|ocamllsp|sourcekit-lsp|zls|copilot-language-server|typingsinstaller|prettierd` +
	`)([/\\. _-]|$)`)

// named are words in a command line that say MCP.
var named = regexp.MustCompile(`(?i)(^|[^a-z0-9])(mcp|mcps|fastmcp|supergateway)([^a-z0-9]|$)|@modelcontextprotocol/|mcp-server-|-mcp-server|mcp-remote|mcp[-_]proxy|model-?context-?protocol`)

// programOf is the name of a program, in lower case and without what Windows adds.
func programOf(s string) string {
	s = strings.ToLower(path.Base(strings.ReplaceAll(s, `\`, "/")))
	for _, end := range []string{".exe", ".cmd", ".bat"} {
		s = strings.TrimSuffix(s, end)
	}
	return s
}

// words are the arguments, one for one. Programs that write their title over
// their arguments, as npm does, are taken apart at spaces.
func (p *Proc) words() []string {
	if len(p.Args) == 1 && strings.HasPrefix(p.Args[0], "npm exec ") {
		return strings.Fields(p.Args[0])
	}
	return p.Args
}

// Command is the command line a describer reads: npm's own title for what npx
// was asked is turned back.
func (p *Proc) Command() (command string, args []string) {
	w := p.words()
	if len(w) == 0 {
		return p.Exe, nil
	}
	if len(w) > 2 && w[0] == "npm" && w[1] == "exec" {
		return "npx", w[2:]
	}
	return w[0], w[1:]
}

// clientOf is the id of the client a process is, "" if it is none.
func clientOf(p *Proc) string {
	w := p.words()
	names := []string{programOf(p.Exe)}
	script := ""
	if len(w) > 0 {
		names = append(names, programOf(w[0]))
	}
	if len(w) > 1 && slices.ContainsFunc(names, func(n string) bool {
		return slices.Contains(runners, strings.TrimRight(n, "0123456789.")) || n == "node"
	}) {
		for _, a := range w[1:] {
			if !strings.HasPrefix(a, "-") {
				script = strings.ReplaceAll(a, `\`, "/")
				break
			}
		}
	}
	script = strings.ToLower(script)
	if slices.Contains(names, Gateway) && (len(w) < 2 || w[1] != "connect") { // its shim is a server to its client
		return Gateway
	}
	for _, c := range clients {
		if slices.ContainsFunc(names, func(n string) bool { return n != "" && slices.Contains(c.programs, n) }) {
			return c.id
		}
		if slices.ContainsFunc(c.scripts, func(s string) bool {
			return strings.HasSuffix("/"+script, s) || strings.HasSuffix(s, "/") && strings.Contains(script, s)
		}) {
			return c.id
		}
	}
	return ""
}

// launcher reports whether a process may stand between a client and its server.
func launcher(p *Proc) bool {
	w := p.words()
	if len(w) == 0 {
		return false
	}
	name := programOf(w[0])
	return slices.Contains(runners, strings.TrimRight(name, "0123456789.")) || slices.Contains([]string{"sh", "bash", "zsh", "dash", "ash", "env", "sudo", "cmd", "nice", "nohup", "setsid", "timeout", "tini", "dumb-init"}, name)
}

// runs reports whether a process is run by one of the runners, in the form that
// talks over standard streams.
func runs(p *Proc) bool {
	w := p.words()
	if len(w) == 0 {
		return false
	}
	switch name := strings.TrimRight(programOf(w[0]), "0123456789."); name {
	case "java":
		return slices.Contains(w, "-jar")
	case "docker", "podman":
		return slices.Contains(w, "run") && slices.ContainsFunc(w, func(a string) bool {
			return a == "-i" || a == "--interactive" || len(a) > 1 && a[0] == '-' && a[1] != '-' && strings.Contains(a, "i")
		})
	default:
		return len(w) > 1 && slices.Contains(runners, name)
	}
}

// recognise judges one process, nil if it is no server.
func (t *Table) recognise(p *Proc) *Server {
	w := p.words()
	line := strings.Join(w, " ")
	if len(w) == 0 || len(line) > maxRecognisable || clientOf(p) != "" {
		return nil
	}
	says := sayMCP(w)
	if denied(w) && !says { // there are MCP servers about language servers
		return nil
	}
	s := &Server{Proc: p, PIDs: []int{p.PID}}
	client := t.clientAbove(p)
	with := client
	if client != nil {
		s.Client = clientOf(client)
	} else if with = t.Procs[p.Parent]; with == nil || !says {
		with = &Proc{}
	}
	joined, known := t.joined(p.PID, with.PID)
	stdio := slices.Contains(w, "--stdio") && runs(p)
	switch {
	case client != nil && joined && (says || programOf(w[0]) == Gateway):
		s.Strength = provenStrength
	case client != nil && (says || stdio && !known):
		s.Strength = parentStrength
	case client != nil && joined && runs(p), client == nil && says && joined && !shell(w):
		s.Strength = joinedStrength
	case client == nil && says && !shell(w):
		s.Strength = argumentsAlone
	default:
		return nil
	}
	if says {
		s.Why = append(s.Why, "its command line says MCP")
	}
	if client != nil {
		s.Why = append(s.Why, s.Client+" started it")
	}
	if s.Joined = joined; joined {
		s.Why = append(s.Why, "its standard input and output end at the process that started it")
	}
	return s
}

// clientAbove is the client that started a process, itself or through launchers
// that stand between them; nil if there is none.
func (t *Table) clientAbove(p *Proc) *Proc {
	at := t.Procs[p.Parent]
	for range maxDepth {
		if at == nil {
			return nil
		}
		if clientOf(at) != "" {
			return at
		}
		if !launcher(at) {
			return nil
		}
		at = t.Procs[at.Parent]
	}
	return nil
}

func (t *Table) joined(child, parent int) (yes, known bool) {
	if t.ends == nil {
		return false, false
	}
	return t.ends.joined(child, parent)
}

// denied reports whether the program or the script that runs is a language
// server. What comes after that is its own and hides nothing.
func denied(w []string) bool {
	for i, a := range w[:min(len(w), 4)] {
		if languageServers.MatchString(programOf(a)) {
			return true
		}
		if i == 0 && !slices.Contains(runners, programOf(a)) {
			return false
		}
		if i > 0 && !strings.HasPrefix(a, "-") && !slices.Contains([]string{"exec", "x", "dlx", "run", "tool"}, a) {
			return false
		}
	}
	return false
}

// sayMCP reports whether a command line says MCP where it names what runs: not
// in the value of a setting, nor in a folder that happens to be called so.
func sayMCP(w []string) bool {
	for i, a := range w {
		if i > 0 && strings.ContainsAny(a, " \n") && !strings.HasPrefix(w[0], "npm exec") {
			continue // a text, such as a script after -c
		}
		if strings.Contains(a, "@modelcontextprotocol/") {
			return true
		}
		if !strings.HasPrefix(a, "-") && named.MatchString(tail(a)) {
			return true
		}
	}
	return false
}

// tail is what of a path names a program: its last three elements, which hold
// the package of what node and python run.
func tail(a string) string {
	parts := strings.Split(strings.ReplaceAll(a, `\`, "/"), "/")
	return strings.Join(parts[max(0, len(parts)-3):], "/")
}

// readers are programs that have MCP in their arguments because somebody reads,
// edits or looks for it.
var readers = []string{"sh", "bash", "zsh", "dash", "fish", "ash", "vim", "nvim", "vi", "emacs", "nano", "less", "more", "cat", "tail", "head", "grep", "rg", "find", "git", "ssh", "scp", "rsync", "curl", "wget", "tar", "go", "make", "gcc", "man", "sudo", "ps", "pgrep", "watch", "strace", "gdb", "journalctl", "systemctl", "code", "jq", "sed", "awk", "diff", "cp", "mv", "rm", "ls", "tee", "xargs", "kubectl", "golangci-lint", "gofmt", "gopls"}

// shell reports whether a program only has MCP among what it works on.
func shell(w []string) bool { return slices.Contains(readers, programOf(w[0])) }
