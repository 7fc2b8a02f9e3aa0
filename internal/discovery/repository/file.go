package repository

import (
	"bytes"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"rutile/internal/discovery"
	"rutile/internal/rawjson"
)

// Packages that programs of MCP and A2A are built with.
var sdks = []string{
	"@modelcontextprotocol/sdk", "@modelcontextprotocol/server", "@modelcontextprotocol/client", "fastmcp", "mcp-framework", "@a2a-js/sdk", "@mastra/mcp",
	"a2a-sdk", "mcp", "mcp-use", "pydantic-ai", "langchain-mcp-adapters",
	"github.com/modelcontextprotocol/go-sdk", "github.com/mark3labs/mcp-go", "github.com/a2aproject/a2a-go",
	"rmcp", "io.modelcontextprotocol.sdk", "org.springframework.ai:spring-ai-starter-mcp-server", "ModelContextProtocol",
}

// manifests are files that name what a program is built with, and how a line of
// each names a package.
var manifests = map[string]*regexp.Regexp{
	"package.json":     regexp.MustCompile(`"((?:@[\w.-]+/)?[\w.-]+)"\s*:\s*"[^"]*"`),
	"pyproject.toml":   regexp.MustCompile(`(?m)^\s*["']?([A-Za-z0-9][\w.-]*)(?:\[[\w,-]*\])?["']?\s*(?:[=<>~!@,;"']|$)`),
	"requirements.txt": regexp.MustCompile(`(?m)^\s*([A-Za-z0-9][\w.-]*)(?:\[[\w,-]*\])?\s*(?:[=<>~!@,;#]|$)`),
	"go.mod":           regexp.MustCompile(`(?m)^\s*(?:require\s+)?((?:[\w-]+\.)+[\w-]+/\S+)\s+v`),
	"Cargo.toml":       regexp.MustCompile(`(?m)^\s*([\w-]+)\s*=`),
	"pom.xml":          regexp.MustCompile(`<groupId>\s*([\w.]+)\s*</groupId>`),
	"build.gradle":     regexp.MustCompile(`["']([\w.]+)(?::[\w.-]+){1,2}["']`),
}

// calls are how servers are made in code.
var calls = regexp.MustCompile(`\b(?:FastMCP|McpServer|MCPServer|mcp\.NewServer|server\.NewMCPServer|McpServer\.Create)\(`)

// code are endings of files that are searched for calls.
var code = []string{".py", ".ts", ".mts", ".js", ".mjs", ".go", ".rs", ".java", ".kt", ".cs", ".rb", ".php"}

// file looks at one file.
func (w *walk) file(file string) {
	name := path.Base(file)
	names, listed := manifests[name]
	switch {
	case listed:
		for _, pkg := range w.packages(file, names) {
			w.tree.sdk = append(w.tree.sdk, use{file: file, what: "built with " + pkg, half: w.half(file)})
		}
	case name == "server.json":
		w.declared(file)
	case slices.Contains(code, path.Ext(name)):
		if b := search(file); calls.Match(b) {
			w.tree.sdk = append(w.tree.sdk, use{file: file, what: "makes a server in its code", half: w.half(file)})
		}
	}
	if len(w.tree.sdk) > 100 {
		w.tree.sdk = w.tree.sdk[:100] // the first are as good as any
	}
}

// search is the beginning of a regular file, nil if it cannot be read.
func search(file string) []byte {
	f, err := os.OpenFile(filepath.FromSlash(file), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil
	}
	return b
}

// packages are the SDKs a manifest names.
func (w *walk) packages(file string, names *regexp.Regexp) []string {
	b := search(file)
	var out []string
	for _, m := range names.FindAllSubmatch(b, -1) {
		for _, sdk := range sdks {
			if got := string(m[1]); got == sdk || strings.EqualFold(got, sdk) && path.Base(file) != "go.mod" {
				out = append(out, sdk)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// declared reads a server.json as the official registry takes it: packages and
// addresses of one server. What it says of itself is a claim.
func (w *walk) declared(file string) {
	b := search(file)
	if !bytes.Contains(b, []byte("modelcontextprotocol")) && !bytes.Contains(b, []byte("registryType")) {
		return
	}
	root, err := rawjson.Parse(b, rawjson.Limits{})
	if err != nil {
		w.into.Looked(discovery.Coverage{Place: w.cfg.Paths.Show(file), Outcome: discovery.Unreadable, Why: "no strict JSON"})
		return
	}
	name := textOf(root.Get("name"))
	tell := func(spec discovery.Spec) {
		d := w.cfg.Describe.Describe(spec)
		s := discovery.Sighting{
			Fact: discovery.Sourced, Strength: strengthDeclared, Scope: discovery.ScopeProject, Place: discovery.Place{Path: w.cfg.Paths.Show(file)},
			Name: name, Target: d.Target, Secrets: d.Secrets, Why: []string{"a server.json that declares it"},
			CodeOwners: discovery.CodeOwners(filepath.FromSlash(file)),
		}
		if w.half(file) {
			s.Strength /= 2
		}
		w.tree.n++
		w.into.Saw(s)
		for _, f := range discovery.Judge(&s) {
			w.into.Find(f)
		}
	}
	for p := range root.Get("packages").Items() {
		id, version := textOf(p.Get("identifier")), textOf(p.Get("version"))
		switch textOf(p.Get("registryType")) {
		case "npm":
			tell(discovery.Spec{Command: "npx", Args: []string{id + "@" + version}})
		case "pypi":
			tell(discovery.Spec{Command: "uvx", Args: []string{id + "==" + version}})
		case "nuget":
			tell(discovery.Spec{Command: "dnx", Args: []string{id + "@" + version}})
		case "oci":
			if version != "" && !strings.Contains(path.Base(id), ":") && !strings.Contains(id, "@") {
				id += ":" + version
			}
			tell(discovery.Spec{Command: "docker", Args: []string{"run", id}})
		}
	}
	for r := range root.Get("remotes").Items() {
		if address := textOf(r.Get("url")); address != "" {
			tell(discovery.Spec{URL: address})
		}
	}
}

func textOf(v rawjson.Value) string {
	s, _ := v.Str()
	return s
}
