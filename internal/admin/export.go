package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Export writes the present state as manifests, pins included: what Apply
// reads. Applying it to an empty store and exporting again gives the same bytes.
// Definitions that wait for approval are not in it; they are no decision.
func (a *Admin) Export(ctx context.Context) ([]byte, error) {
	if err := a.Refresh(ctx); err != nil {
		return nil, err
	}
	cur := a.current.Load()
	e := &emitter{}
	for _, u := range cur.View.Users() {
		e.user(u)
	}
	for _, t := range cur.View.Teams() {
		e.document(kindTeam, t.ID)
		e.list(0, "members", t.Members)
	}
	for _, agent := range cur.View.Agents() {
		e.agent(agent)
	}
	for _, s := range cur.View.Servers() {
		e.server(s, cur.View.Tools(s.ID))
	}
	for _, id := range keysOf(cur.Facts) {
		e.fact(cur.Facts[id])
	}
	for _, p := range cur.Policies {
		e.policy(p)
	}
	for _, id := range keysOf(cur.Rights) {
		e.entitlement(cur.Rights[id])
	}
	for _, id := range keysOf(cur.Sources) {
		e.source(cur.Sources[id])
	}
	for _, id := range keysOf(cur.Webhooks) {
		e.webhook(cur.Webhooks[id])
	}
	for _, id := range keysOf(cur.Sinks) {
		e.sink(cur.Sinks[id])
	}
	for _, id := range keysOf(cur.Signals) {
		e.signal(cur.Signals[id])
	}
	for _, id := range keysOf(cur.Mails) {
		e.mail(cur.Mails[id])
	}
	for _, id := range keysOf(cur.Labels) {
		e.label(cur.Labels[id])
	}
	return []byte(e.String()), nil
}

func (e *emitter) agent(a registry.Agent) {
	e.document(kindAgent, a.ID)
	e.text(0, "owner", a.Owner)
	e.text(0, "purpose", a.Purpose)
	e.text(0, "runtime", a.Runtime)
	e.text(0, "model", a.Model)
	e.text(0, "class", a.Class)
	e.number(0, "riskTier", a.RiskTier)
	if !a.Expires.IsZero() {
		e.line(0, "expires", a.Expires.UTC().AddDate(0, 0, -1).Format(time.DateOnly))
	}
	e.list(0, "tools", a.Tools)
	e.list(0, "dataScopes", a.DataScopes)
	own := slices.DeleteFunc(slices.Clone(a.Keys), func(k json.RawMessage) bool {
		return slices.ContainsFunc(a.Enrolled, func(x registry.EnrolledKey) bool { return x.JWK == string(k) })
	})
	if len(own) > 0 {
		e.open(0, "keys")
		for _, k := range own {
			e.item(1, "jwk", string(k))
		}
	}
	if len(a.Enrolled) > 0 {
		e.open(0, "enrolled")
		for _, k := range a.Enrolled {
			e.item(1, "jwk", k.JWK)
			e.text(2, "at", k.At.UTC().Format(time.RFC3339Nano))
			e.text(2, "by", k.By)
		}
	}
	if a.Wrapped {
		e.line(0, "wrapped", "true")
	}
	e.text(0, "state", string(a.State))
	e.text(0, "stateWhy", a.StateWhy)
}

func (e *emitter) server(s registry.Server, tools []registry.Tool) {
	e.document(kindServer, s.ID)
	e.text(0, "owner", s.Owner)
	e.open(0, "transport")
	if h := s.Transport.HTTP; h != nil {
		e.open(1, "http")
		e.text(2, "url", h.URL)
		if h.SSE {
			e.line(2, "sse", "true")
		}
		e.mapping(2, "headers", h.Headers)
		if t := h.TLS; t != nil {
			e.open(2, "tls")
			e.text(3, "ca", t.CA)
			e.text(3, "cert", t.Cert)
			e.text(3, "key", t.Key)
			e.text(3, "serverName", t.ServerName)
		}
		e.text(2, "proxy", h.Proxy)
	}
	if x := s.Transport.Stdio; x != nil {
		e.open(1, "stdio")
		e.text(2, "command", x.Command)
		e.list(2, "args", x.Args)
		e.mapping(2, "env", x.Env)
		e.text(2, "dir", x.Dir)
		e.confine(2, x.Confine)
		e.text(2, "process", string(x.Process))
		e.duration(2, "startTimeout", x.StartTimeout)
		e.duration(2, "idleTimeout", x.IdleTimeout)
	}
	if c := s.Credential; c != nil {
		e.open(0, "credential")
		e.text(1, "ref", c.Ref)
		e.text(1, "header", c.Header)
		e.text(1, "env", c.Env)
		e.text(1, "value", c.Value)
		e.mapping(1, "also", c.Also)
		e.mapping(1, "files", c.Files)
		e.mapping(1, "args", c.Args)
	}
	e.list(0, "dataScopes", s.DataScopes)
	if len(s.Classes) > 0 {
		e.open(0, "classes")
		for _, name := range keysOf(s.Classes) {
			e.class(1, name, s.Classes[name])
		}
	}
	e.text(0, "pinning", s.Pinning)
	if s.Wrapped {
		e.line(0, "wrapped", "true")
	}
	e.text(0, "inspection", s.Inspection)
	if len(s.Restore) > 0 {
		e.open(0, "restore")
		for _, name := range keysOf(s.Restore) {
			e.list(1, name, s.Restore[name])
		}
	}
	if len(s.Labels) > 0 {
		e.open(0, "labels")
		for _, name := range keysOf(s.Labels) {
			e.list(1, name, s.Labels[name])
		}
	}
	e.text(0, "description", s.Description)
	e.text(0, "version", s.Version)
	if s.RiskTier > 0 {
		e.number(0, "riskTier", s.RiskTier)
	}
	if !s.Expires.IsZero() {
		e.line(0, "expires", s.Expires.UTC().AddDate(0, 0, -1).Format(time.DateOnly))
	}
	e.text(0, "replacement", s.Replacement)
	if !s.Ends.IsZero() {
		e.line(0, "ends", s.Ends.UTC().AddDate(0, 0, -1).Format(time.DateOnly))
	}
	e.text(0, "state", string(s.State))
	e.text(0, "stateWhy", s.StateWhy)
	if len(s.Baseline) > 0 {
		e.open(0, "baseline")
		for _, kind := range slices.Sorted(maps.Keys(s.Baseline)) {
			e.text(1, string(kind), s.Baseline[kind].UTC().Format(time.RFC3339Nano))
		}
	}
	e.pins(tools)
}

func (e *emitter) pins(tools []registry.Tool) {
	tools = slices.DeleteFunc(slices.Clone(tools), func(t registry.Tool) bool { return t.PinDigest == "" && !held(t.State) })
	if len(tools) == 0 {
		return
	}
	e.open(0, "pins")
	for _, t := range tools {
		e.item(1, "kind", string(t.Kind()))
		e.text(2, "name", t.Bare())
		e.text(2, "state", string(t.State))
		if t.PinDigest == "" {
			continue
		}
		e.class(2, "class", t.Class)
		e.text(2, "classBy", t.ClassBy)
		e.text(2, "approvedBy", t.ApprovedBy)
		if !t.ApprovedAt.IsZero() {
			e.text(2, "approvedAt", t.ApprovedAt.UTC().Format(time.RFC3339Nano))
		}
		var accepted []string
		for _, f := range t.Accepted {
			if f.Tier != "" {
				accepted = append(accepted, f.Tier+" "+f.Key())
			}
		}
		slices.Sort(accepted)
		e.list(2, "accepted", slices.Compact(accepted))
		e.text(2, "digest", t.PinDigest)
		e.text(2, "definition", string(t.Pinned))
	}
}

func (e *emitter) policy(p policy.Policy) {
	e.document(kindPolicy, p.ID)
	e.text(0, "layer", p.Layer)
	e.text(0, "state", p.State)
	if !literal(p.Cedar) {
		e.text(0, "cedar", p.Cedar)
		return
	}
	sign := "|"
	if !strings.HasSuffix(p.Cedar, "\n") {
		sign = "|-"
	}
	e.line(0, "cedar", sign)
	for l := range strings.SplitSeq(strings.TrimSuffix(p.Cedar, "\n"), "\n") {
		if l != "" {
			e.b.WriteString("  " + l)
		}
		e.b.WriteByte('\n')
	}
}

// literal reports whether text comes back unchanged from a literal block.
func literal(s string) bool {
	body := strings.TrimSuffix(s, "\n")
	if body == "" || strings.HasSuffix(body, "\n") || body[0] == ' ' || body[0] == '\t' || body[0] == '\n' {
		return false
	}
	for _, r := range body {
		if r != '\n' && r != '\t' && !visible(r) {
			return false
		}
	}
	// A line of nothing but blanks would have to be told from an empty one.
	for l := range strings.SplitSeq(body, "\n") {
		if l != "" && strings.TrimLeft(l, " \t") == "" {
			return false
		}
	}
	return true
}

// emitter writes the YAML of exports: one layout, so that equal states are equal
// bytes.
type emitter struct{ b strings.Builder }

// String returns what was written.
func (e *emitter) String() string { return e.b.String() }

func (e *emitter) document(kind, id string) {
	if e.b.Len() > 0 {
		e.b.WriteString("---\n")
	}
	e.line(0, "kind", kind)
	e.text(0, "id", id)
}

// line writes a value that needs no quoting.
func (e *emitter) line(depth int, key, value string) {
	fmt.Fprintf(&e.b, "%s%s: %s\n", indent(depth), scalar(key), value)
}

// text writes a value, nothing if it is empty.
func (e *emitter) text(depth int, key, value string) {
	if value != "" {
		e.line(depth, key, scalar(value))
	}
}

func (e *emitter) number(depth int, key string, n int) { e.line(depth, key, strconv.Itoa(n)) }

func (e *emitter) open(depth int, key string) {
	fmt.Fprintf(&e.b, "%s%s:\n", indent(depth), scalar(key))
}

// item writes a list item that starts with a member.
func (e *emitter) item(depth int, key, value string) {
	fmt.Fprintf(&e.b, "%s- %s: %s\n", indent(depth), scalar(key), scalar(value))
}

func (e *emitter) list(depth int, key string, values []string) {
	if len(values) == 0 {
		return
	}
	e.open(depth, key)
	for _, v := range values {
		fmt.Fprintf(&e.b, "%s- %s\n", indent(depth+1), scalar(v))
	}
}

func (e *emitter) mapping(depth int, key string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	e.open(depth, key)
	for _, k := range keysOf(m) {
		e.line(depth+1, k, scalar(m[k]))
	}
}

func (e *emitter) class(depth int, key string, c registry.ToolClass) {
	e.line(depth, key, fmt.Sprintf("{class: %s, tier: %d}", scalar(c.Class), c.Tier))
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// plainScalar are the words no YAML reader takes for anything but text.
var plainScalar = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)

// scalar writes s so that it is read back as the same text.
func scalar(s string) string {
	if plainScalar.MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case visible(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// visible reports whether r is safe to write as itself.
func visible(r rune) bool { return r == ' ' || unicode.IsPrint(r) && !hidden(r) }
