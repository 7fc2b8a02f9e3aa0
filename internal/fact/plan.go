package fact

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Call is one request as facts see it.
type Call struct {
	Who    access.Identity
	Server string
	Kind   access.Kind
	Target string   // of a tool: its name
	Action string   // the policy name without the server
	Groups []string // of actions it is in, "call" included
	Labels []string // that its results carry
	Args   rawjson.Value
	// Again says that the request goes on with a call that is counted already, or
	// asks after one.
	Again bool
}

// Plan is the facts that are kept: those that some policy reads. It is immutable;
// a nil Plan keeps none.
type Plan struct {
	rules []*rule
	byID  map[string]*rule
}

// rule is a fact made ready.
type rule struct {
	Fact
	at    pointer
	bind  []bound
	table string // of a rate: what its counters are kept under
	tried bool   // only policies that are not enforced read it
}

type bound struct{ earlier, now pointer }

// NewPlan returns a plan of the active facts among those read. One that is not
// well formed is kept and cannot be computed, so that what reads it denies. One
// that is not enforced as well, since only policies that are tried read it, stops
// no call that it cannot count.
func NewPlan(facts map[string]Fact, read, enforced []string) *Plan {
	p := &Plan{byID: map[string]*rule{}}
	for _, id := range slices.Sorted(maps.Keys(facts)) {
		f := facts[id]
		if f.State != Active || !slices.Contains(read, id) {
			continue
		}
		r := newRule(f)
		r.tried = !slices.Contains(enforced, id)
		r.at, _ = parsePointer(f.Agg.At) // checked when it was declared; the zero pointer finds an object, which is no amount
		for _, b := range f.Bind {
			earlier, _ := parsePointer(b.Earlier)
			now, _ := parsePointer(b.Now)
			r.bind = append(r.bind, bound{earlier, now})
		}
		p.rules = append(p.rules, r)
		p.byID[id] = r
	}
	if len(p.rules) == 0 {
		return nil
	}
	return p
}

// newRule names the table of a rate by how it counts: where that changes, it
// counts anew.
func newRule(f Fact) *rule {
	return &rule{Fact: f, table: fmt.Sprintf("%s %s %d %v", f.ID, f.Agg, f.Seconds, f.Key)}
}

// covers reports whether the fact is about the call.
func (r *rule) covers(c *Call) bool {
	on := &r.On
	if on.Server != "" && !match(on.Server, c.Server) {
		return false
	}
	if on.Tool != "" && (c.Kind != access.KindTool || !match(on.Tool, c.Target)) {
		return false
	}
	if on.Action != "" && !slices.Contains(c.Groups, on.Action) {
		return false
	}
	return on.ResultLabel == "" || slices.Contains(c.Labels, on.ResultLabel)
}

// match reports whether name matches pattern, in which "*" stands for any run of
// characters.
func match(pattern, name string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	for _, p := range parts[:len(parts)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}

// key names the counter of a call. No two of them are written alike: every part
// has its name and its length is told by quotes.
func (r *rule) key(c *Call) string {
	parts := r.Key
	if r.Type == Taint {
		parts = []string{"session"}
	}
	b := []byte{'{'}
	for i, p := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(rawjson.AppendString(b, p), ':')
		switch p {
		case "agent":
			b = rawjson.AppendString(b, c.Who.Actor.Agent)
		case "subject":
			b = append(rawjson.AppendString(append(b, '['), c.Who.Subject.Issuer), ',')
			b = append(rawjson.AppendString(b, c.Who.Subject.ID), ']')
		case "session":
			b = rawjson.AppendString(b, c.Who.Session)
		case "task":
			b = rawjson.AppendString(b, c.Who.Task)
		case "server":
			b = rawjson.AppendString(b, c.Server)
		case "tool": // of a resource all that is read of a server: a caller chooses the URI
			b = append(rawjson.AppendString(append(b, '['), c.Server), ',')
			b = append(rawjson.AppendString(b, c.Action), ']')
		}
	}
	return string(append(b, '}'))
}

// amount is what the call adds.
func (r *rule) amount(c *Call) (int64, string) {
	if r.Agg.Func != Sum && r.Agg.Func != Hundredths {
		return 1, ""
	}
	v, err := r.at.find(c.Args)
	if err != nil {
		return 0, r.wrong(r.at, err.Error())
	}
	if v.Kind() != rawjson.Number {
		return 0, r.wrong(r.at, "it is not a number")
	}
	n, ok := v.Int64()
	want := "it is not a whole number of up to 9007199254740991 in plain digits"
	if r.Agg.Func == Hundredths {
		n, ok = hundredths(string(v.Raw()))
		want = "it is not a number of up to 90071992547409.91 in plain digits, with two decimal places at most"
	}
	switch {
	case !ok || n > access.MaxAmount:
		return 0, r.wrong(r.at, want)
	case n < 0 || v.Raw()[0] == '-':
		return 0, r.wrong(r.at, "it is negative")
	}
	return n, ""
}

// hundredths is the value of a JSON number in plain digits, in hundredths.
func hundredths(s string) (int64, bool) {
	whole, places, _ := strings.Cut(s, ".")
	if len(places) > 2 {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+(places + "00")[:2], 10, 64)
	return n, err == nil
}

// scalar is the canonical form of an argument that is compared.
func (r *rule) scalar(at pointer, c *Call) ([]byte, string) {
	v, err := at.find(c.Args)
	if err != nil {
		return nil, r.wrong(at, err.Error())
	}
	switch v.Kind() {
	case rawjson.String, rawjson.Number, rawjson.True, rawjson.False:
		return rawjson.AppendCanonical(nil, v), ""
	default:
		return nil, r.wrong(at, "it is neither a string, a number nor true or false")
	}
}

func (r *rule) wrong(at pointer, why string) string {
	return "fact " + r.ID + " cannot be computed: argument " + at.String() + ": " + why
}
