package inventory

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// Suggestion says that two servers may be one, and why. It decides nothing: a
// person merges.
type Suggestion struct {
	From string `json:"from"`
	Into string `json:"into"`
	Rule string `json:"rule"`
	Why  string `json:"why"`
}

// The rules of suggestions. What a server says of itself is none.
const (
	RuleEntryPoint = "entry-point" // another program of one package
	RuleEndpoint   = "endpoint"    // another path of one address
)

// endpoints are paths by which one server answers several protocols.
var endpoints = []string{"", "/mcp", "/sse", "/messages", "/mcp/sse", "/api/mcp", "/v1/mcp"}

// maxSuggestions bounds how many are made at a time.
const maxSuggestions = 1000

// Suggest proposes merges among servers, none that stands or that a person took
// back.
func Suggest(all []Entry, merges []Merge) []Suggestion {
	known := map[[2]string]bool{}
	for i := range merges {
		m := &merges[i]
		known[[2]string{m.From, m.Into}], known[[2]string{m.Into, m.From}] = true, true
	}
	first := map[string]string{}
	var out []Suggestion
	for i := range all { // sorted by key: the shorter comes first
		key := all[i].Key
		family, rule, why := familyOf(key)
		if family == "" {
			continue
		}
		into, ok := first[family]
		if !ok {
			first[family] = key
			continue
		}
		if !known[[2]string{key, into}] && len(out) < maxSuggestions {
			out = append(out, Suggestion{From: key, Into: into, Rule: rule, Why: why})
		}
	}
	slices.SortFunc(out, func(a, b Suggestion) int {
		return cmp.Or(strings.Compare(a.Into, b.Into), strings.Compare(a.From, b.From))
	})
	return out
}

// familyOf is what keys have in common that may be one server.
func familyOf(key string) (family, rule, why string) {
	if strings.HasPrefix(key, "pkg:") {
		bare, _, _ := strings.Cut(key, "#")
		return bare, RuleEntryPoint, "another program of the same package"
	}
	if !strings.HasPrefix(key, "http://") && !strings.HasPrefix(key, "https://") {
		return "", "", ""
	}
	u, err := url.Parse(key)
	if err != nil || !slices.Contains(endpoints, strings.TrimSuffix(u.Path, "/")) {
		return "", "", ""
	}
	return u.Scheme + "://" + u.Host, RuleEndpoint, "another usual path of the same address"
}
