package admin

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rutile/internal/registry"
)

// Bounds of what a manifest may say about confinement.
const (
	maxPaths = 256
	maxPorts = 256
	maxCount = 1_000_000
	maxBytes = 1 << 50
)

// confine reads what a process is granted besides what every program needs.
func (o object) confine() *registry.Confine {
	n := o.members["confine"]
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		if n.Value != "off" {
			o.fail("confine", "must be off, or a mapping such as {read: [/srv/docs], network: none}")
		}
		return &registry.Confine{Off: true}
	}
	c, ok := o.sub("confine", "bestEffort", "read", "exec", "write", "network", "sockets", "limits")
	if !ok {
		return nil
	}
	return &registry.Confine{
		BestEffort: c.flag("bestEffort"), Read: c.paths("read"), Exec: c.paths("exec"), Write: c.paths("write"),
		Network: c.network(), Sockets: c.flag("sockets"), Limits: c.limits(),
	}
}

// flag reads true or false, false if the key is missing.
func (o object) flag(key string) bool {
	n := o.members[key]
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
		o.fail(key, "must be true or false")
	}
	return n.Value == "true"
}

// paths reads absolute paths of which each opens itself and all beneath.
func (o object) paths(key string) []string {
	list := o.set(key)
	if len(list) > maxPaths {
		o.fail(key, "more than %d paths: grant the directory they are in", maxPaths)
	}
	for _, p := range list {
		switch {
		case p == "":
		case !filepath.IsAbs(p):
			o.fail(key, "%q is not an absolute path; ~ and variables are not expanded", clip(p))
		case filepath.Clean(p) != p:
			o.fail(key, "%q is not written plainly: use %q", clip(p), clip(filepath.Clean(p)))
		case p == "/":
			o.fail(key, "the whole machine cannot be granted; write confine: off if that is meant")
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

// network reads none, any, or what may be connected to and listened on.
func (o object) network() *registry.Network {
	n := o.members["network"]
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		switch n.Value {
		case "none":
			return &registry.Network{}
		case "any":
			return &registry.Network{Connect: registry.Ports{Any: true}, Listen: registry.Ports{Any: true}}
		}
		o.fail("network", "must be none, any, or a mapping such as {connect: [53, 443]}")
		return nil
	}
	s, ok := o.sub("network", "connect", "listen")
	if !ok {
		return nil
	}
	return &registry.Network{Connect: s.ports("connect"), Listen: s.ports("listen")}
}

func (o object) ports(key string) registry.Ports {
	n := o.members[key]
	switch {
	case n == nil:
		return registry.Ports{}
	case n.Kind == yaml.ScalarNode && (n.Value == "any" || n.Value == "none"):
		return registry.Ports{Any: n.Value == "any"}
	case n.Kind != yaml.SequenceNode || len(n.Content) > maxPorts:
		o.fail(key, "must be any, none, or a list of at most %d ports", maxPorts)
		return registry.Ports{}
	}
	var out registry.Ports
	for i, c := range n.Content {
		v, err := strconv.Atoi(c.Value)
		field := fmt.Sprintf("%s[%d]", join(o.path, key), i)
		switch {
		case c.Kind != yaml.ScalarNode || c.Tag != "!!int" || err != nil || v < 1 || v > 65535:
			o.d.fail(c, field, "must be a port from 1 to 65535")
		case slices.Contains(out.List, v):
			o.d.fail(c, field, "%d is there twice: remove one", v)
		default:
			out.List = append(out.List, v)
		}
	}
	slices.Sort(out.List)
	return out
}

func (o object) limits() *registry.Limits {
	l, ok := o.sub("limits", "processes", "files", "memory", "fileSize")
	if !ok {
		return nil
	}
	out := registry.Limits{
		Processes: l.count("processes", 1), Files: l.count("files", 16), Memory: l.bytes("memory"), FileSize: l.bytes("fileSize"),
	}
	if out == (registry.Limits{}) {
		return nil
	}
	return &out
}

const unlimited = "unlimited"

func (o object) count(key string, low int) int {
	n := o.members[key]
	if n == nil {
		return 0
	}
	if n.Kind == yaml.ScalarNode && n.Value == unlimited {
		return registry.Unlimited
	}
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v < low || v > maxCount {
		o.fail(key, "must be unlimited or a whole number from %d to %d", low, maxCount)
		return 0
	}
	return v
}

// size is a unit of amounts of bytes.
type size struct {
	unit string
	n    int64
}

// sizes returns the units, the largest first.
func sizes() []size { return []size{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}} }

func (o object) bytes(key string) int64 {
	n := o.members[key]
	if n == nil {
		return 0
	}
	if n.Kind == yaml.ScalarNode && n.Value == unlimited {
		return registry.Unlimited
	}
	for _, s := range sizes() {
		digits, ok := strings.CutSuffix(n.Value, s.unit)
		if !ok || n.Kind != yaml.ScalarNode {
			continue
		}
		if v, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64); err == nil && v > 0 && v <= maxBytes/s.n {
			return v * s.n
		}
	}
	o.fail(key, "must be unlimited or an amount such as 512MiB or 4GiB")
	return 0
}

// duration reads a time such as 30s, 0 if the key is missing.
func (o object) duration(key string, low, high time.Duration) time.Duration {
	n := o.members[key]
	if n == nil {
		return 0
	}
	v, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < low || v > high {
		o.fail(key, "must be a time from %s to %s, such as 30s or 10m", low, high)
		return 0
	}
	return v
}

// confine writes what was granted, as confine reads it.
func (e *emitter) confine(depth int, c *registry.Confine) {
	switch {
	case c == nil:
		return
	case c.Off:
		e.line(depth, "confine", "off")
		return
	}
	inner := &emitter{}
	if c.BestEffort {
		inner.line(depth+1, "bestEffort", "true")
	}
	inner.list(depth+1, "read", c.Read)
	inner.list(depth+1, "exec", c.Exec)
	inner.list(depth+1, "write", c.Write)
	if n := c.Network; n != nil {
		inner.open(depth+1, "network")
		inner.line(depth+2, "connect", portsText(n.Connect))
		inner.line(depth+2, "listen", portsText(n.Listen))
	}
	if c.Sockets {
		inner.line(depth+1, "sockets", "true")
	}
	if l := c.Limits; l != nil {
		inner.open(depth+1, "limits")
		for _, x := range []struct {
			key  string
			text string
		}{
			{"processes", countText(l.Processes)}, {"files", countText(l.Files)}, {"memory", bytesText(l.Memory)}, {"fileSize", bytesText(l.FileSize)},
		} {
			if x.text != "" {
				inner.line(depth+2, x.key, x.text)
			}
		}
	}
	if inner.b.Len() == 0 {
		e.line(depth, "confine", "{}") // demands the default profile
		return
	}
	e.open(depth, "confine")
	e.b.WriteString(inner.String())
}

func (e *emitter) duration(depth int, key string, d time.Duration) {
	if d != 0 {
		e.line(depth, key, d.String())
	}
}

func portsText(p registry.Ports) string {
	if p.Any {
		return "any"
	}
	words := make([]string, len(p.List))
	for i, port := range p.List {
		words[i] = strconv.Itoa(port)
	}
	if len(words) == 0 {
		return "none"
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func countText(n int) string {
	switch n {
	case 0:
		return ""
	case registry.Unlimited:
		return unlimited
	default:
		return strconv.Itoa(n)
	}
}

func bytesText(n int64) string {
	switch n {
	case 0:
		return ""
	case registry.Unlimited:
		return unlimited
	}
	for _, s := range sizes() {
		if n%s.n == 0 {
			return strconv.FormatInt(n/s.n, 10) + s.unit
		}
	}
	return strconv.FormatInt(n, 10) // not reached: what is read is whole units
}

// confineDangers says what is unsafe about how a process is held.
func confineDangers(s *registry.Stdio) []string {
	var out []string
	c := s.Confine
	if c != nil && c.Off {
		out = append(out, "confine: off lets it do on this machine whatever the gateway's user may, with the gateway's own data too")
	}
	if c != nil && c.Sockets {
		out = append(out, "confine.sockets lets it reach every unix socket of the gateway's user, which may be the gateway's own")
	}
	if s.Process == registry.ProcessServer {
		out = append(out, "process: server has all agents and people share one process: what one of them does in it, the others may see")
	}
	return out
}
