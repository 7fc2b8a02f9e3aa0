package policy

import (
	"fmt"
	"slices"
	"strings"

	"rutile/internal/access"
)

// Pattern is one entry of an agent's allow-list.
//
// "server/name" names a tool, "server/prompts/name" a prompt and
// "server/resources/read" the reading of resources. "*" stands for any run of
// characters and is the only special character; everything else, also "?",
// "[" and "\", stands for itself. "server/*" covers the tools, prompts and
// resources of the server, never its requests to the client
// ("server/requests/…"): those need a policy. Any other name covers prompts and
// resources only if it starts with "prompts/" or "resources/": "server/p*" is
// about tools. A "*" before the first "/" matches server ids and never crosses
// the "/".
type Pattern struct{ Server, Name string }

// ParsePattern parses one entry of an allow-list.
func ParsePattern(s string) (Pattern, error) {
	server, name, ok := strings.Cut(s, "/")
	switch {
	case !ok || server == "" || name == "":
		return Pattern{}, fmt.Errorf("%q must be server/name, for example github/list_*", s)
	case !access.ValidID(strings.ReplaceAll(server, "*", "x")):
		return Pattern{}, fmt.Errorf("%q: %q cannot be a server id: lower-case letters, digits and -, or * for any", s, server)
	case strings.HasPrefix(name, "requests/"):
		return Pattern{}, fmt.Errorf("%q: an allow-list cannot cover a server's requests to the client; write a policy", s)
	}
	return Pattern{server, name}, nil
}

// Covers reports whether p covers the action of this kind and target on server.
func (p Pattern) Covers(server string, kind access.Kind, target string) bool {
	if !match(p.Server, server) {
		return false
	}
	switch kind {
	case access.KindTool:
		return !reserved(target) && match(p.Name, target)
	case access.KindPrompt:
		rest, ok := strings.CutPrefix(p.Name, "prompts/")
		return p.Name == "*" || ok && match(rest, target)
	case access.KindResource:
		return p.resources()
	default:
		return false
	}
}

// resources reports whether p covers the reading of resources.
func (p Pattern) resources() bool {
	rest, ok := strings.CutPrefix(p.Name, "resources/")
	return p.Name == "*" || ok && match(rest, "read")
}

// reserved reports whether a tool name could be taken for another action.
func reserved(tool string) bool {
	return strings.HasPrefix(tool, "prompts/") || strings.HasPrefix(tool, "resources/") || strings.HasPrefix(tool, "requests/")
}

// match matches with "*" as the only special character, in time proportional
// to the product of the lengths at worst.
func match(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// expand returns the actions a list covers, by server, sorted. Globs cover what
// the catalog holds; a name without "*" covers itself, known or not, so that it
// can be granted before the server is first seen. The registry still hides what
// nobody approved.
// idle are the globs that cover nothing although their server has tools.
func expand(l AllowList, c *Catalog) (out map[string][]string, idle []string, errs []error) {
	out = make(map[string][]string)
	for _, text := range l.Patterns {
		p, err := ParsePattern(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !strings.Contains(text, "*") {
			out[p.Server] = append(out[p.Server], text)
			continue
		}
		covers, listed := false, false
		for _, s := range c.Servers {
			if match(p.Server, s.ID) {
				open := p.open(s.ID)
				out[s.ID], covers = append(out[s.ID], open...), covers || open != nil
			}
		}
		for _, t := range c.Tools {
			if t.Server == access.OwnServer {
				continue // a pattern is about the servers people registered
			}
			listed = listed || match(p.Server, t.Server)
			if p.Covers(t.Server, t.kind(), t.Name) {
				out[t.Server], covers = append(out[t.Server], t.action()), true
			}
		}
		if listed && !covers {
			idle = append(idle, text)
		}
	}
	for s, actions := range out {
		if len(actions) == 0 {
			delete(out, s)
			continue
		}
		slices.Sort(actions)
		out[s] = slices.Compact(actions)
	}
	return out, idle, errs
}

// open returns the actions p covers on server whatever the catalog holds:
// resources, all prompts, and a name that holds no "*".
func (p Pattern) open(server string) []string {
	var out []string
	if p.resources() {
		out = append(out, server+"/resources/read")
	}
	if p.Name == "*" || p.Name == "prompts/*" {
		out = append(out, promptGroup(server))
	}
	if !strings.Contains(p.Name, "*") && p.Name != "resources/read" {
		out = append(out, server+"/"+p.Name)
	}
	return out
}

// Includes reports whether everything q covers, now or ever, p covers too. It may
// say no where that is so, never yes where it is not.
func (p Pattern) Includes(q Pattern) bool {
	if !match(p.Server, q.Server) {
		return false
	}
	// A "*" of q is matched as a character, which only a "*" of p matches.
	for _, kind := range []string{"prompts/", "resources/"} {
		rest, ok := strings.CutPrefix(q.Name, kind)
		if !ok {
			continue
		}
		own, ok := strings.CutPrefix(p.Name, kind)
		return p.Name == "*" || ok && match(own, rest)
	}
	if q.Name == "*" {
		return p.Name == "*"
	}
	return !reserved(p.Name) && match(p.Name, q.Name)
}
