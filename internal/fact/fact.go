// Package fact keeps what policies may read of the past: declared counters and
// memories, each a fact with a name (access.md 2.9).
//
// A limit is counted in the store and is exact across calls in flight, restarts
// and nodes; a rate is counted in the memory of one node; a prior remembers that
// something was done, a taint that something was seen. What a fact hangs on MUST
// be minted or verified by the gateway, never chosen by the caller, and a fact
// that cannot be computed MUST be an error of it, never a default. The package
// decides nothing: policies read the values.
package fact

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// Type says how a fact comes about.
type Type string

// The types.
const (
	Limit Type = "limit" // counted in the store: exact
	Rate  Type = "rate"  // counted in the memory of each node: soft
	Prior Type = "prior" // an earlier call of the kind ended well
	Taint Type = "taint" // the session has seen something
)

// Types returns every type.
func Types() []string {
	return []string{string(Limit), string(Rate), string(Prior), string(Taint)}
}

// The states of a fact. A retired one is not there for policies.
const (
	Active  = "active"
	Retired = "retired"
)

// Fact is a declared fact. A person declares it in a manifest.
type Fact struct {
	ID      string `json:"id"`
	Owner   string `json:"owner"` // accountable
	Purpose string `json:"purpose,omitempty"`
	Type    Type   `json:"type"`
	On      On     `json:"on"`
	// Seconds is how long a call counts, or a prior call is remembered.
	Seconds int64 `json:"seconds,omitempty"`
	// Key says what has a counter of its own, out of Parts, sorted.
	Key     []string  `json:"key,omitempty"`
	Agg     Agg       `json:"agg,omitzero"`   // of a limit or a rate
	Bind    []Bind    `json:"bind,omitempty"` // of a prior
	State   string    `json:"state"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// On says which calls a fact is about. Empty members do not restrict.
type On struct {
	Server      string `json:"server,omitempty"` // id, "*" for any run of characters
	Tool        string `json:"tool,omitempty"`   // name, "*" likewise; then only tools
	Action      string `json:"action,omitempty"` // group: call, read, write, destroy, egress
	ResultLabel string `json:"resultLabel,omitempty"`
}

// Bind says that an argument of the earlier call must equal one of this call.
type Bind struct {
	Earlier string `json:"earlier"` // JSON pointers
	Now     string `json:"now"`
}

// Agg says what is counted.
type Agg struct {
	Func string `json:"func,omitempty"` // count, sum, hundredths, distinct
	At   string `json:"at,omitempty"`   // JSON pointer, but of count
}

// The functions of Agg.
const (
	Count      = "count"
	Sum        = "sum"        // of whole numbers
	Hundredths = "hundredths" // a sum of numbers with up to two decimal places, in hundredths
	Distinct   = "distinct"
)

// String is the aggregate as manifests write it: count, sum(/at), hundredths(/at),
// distinct(/at).
func (a Agg) String() string {
	if a.At == "" {
		return a.Func
	}
	return a.Func + "(" + a.At + ")"
}

// ParseAgg reads what String writes.
func ParseAgg(s string) (Agg, error) {
	if s == Count {
		return Agg{Func: Count}, nil
	}
	name, rest, ok := strings.Cut(s, "(")
	at, end := strings.CutSuffix(rest, ")")
	if !ok || !end || !slices.Contains([]string{Sum, Hundredths, Distinct}, name) {
		return Agg{}, access.Errorf(access.CodeInvalid, "%.64q is no aggregate: write count, sum(/argument), hundredths(/argument) or distinct(/argument)", s)
	}
	if _, err := parsePointer(at); err != nil {
		return Agg{}, access.Errorf(access.CodeInvalid, "%.64q: %w; write for example sum(/amount)", s, err)
	}
	return Agg{Func: name, At: at}, nil
}

// Parts are what a key may be made of, in their order.
func Parts() []string {
	return []string{"agent", "subject", "session", "task", "server", "tool"}
}

var idForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// ValidID reports whether s may name a fact, which policies read as
// context.facts.NAME: [a-z][a-z0-9_]{0,62} and no word of Cedar.
func ValidID(s string) bool {
	reserved := []string{"true", "false", "if", "then", "else", "in", "is", "like", "has"}
	return idForm.MatchString(s) && !slices.Contains(reserved, s)
}

// Counts reports whether the value of the fact is a number; else it is true or
// false.
func (f *Fact) Counts() bool { return f.Type == Limit || f.Type == Rate }

// Bounds of the time a fact looks back.
const (
	MinWindow = time.Second
	MaxWindow = 31 * 24 * time.Hour
	MaxRate   = 24 * time.Hour // what memory keeps
)

// buckets is into how many steps a window is cut: what is older than the window
// counts for up to one step more, never less.
const buckets = 60

// Step is the granularity of the window of a limit, in seconds.
func (f *Fact) Step() int64 { return max(1, (f.Seconds+buckets-1)/buckets) }

// Check returns what is wrong with a fact, member by member.
func (f *Fact) Check() map[string]string {
	bad := map[string]string{}
	no := func(member, format string, args ...any) {
		if bad[member] == "" {
			bad[member] = fmt.Sprintf(format, args...)
		}
	}
	f.checkOn(no)
	counts := f.Counts()
	switch {
	case f.Type == Taint:
	case len(f.Key) == 0:
		no("key", "is required: name what is counted apart, out of %s", strings.Join(Parts(), ", "))
	}
	for _, k := range f.Key {
		if !slices.Contains(Parts(), k) {
			no("key", "%.40q cannot be part of a key: a key is made of what the gateway has verified (%s), because a caller would escape a counter whose key it can choose", k, strings.Join(Parts(), ", "))
		}
	}
	longest := MaxWindow
	if f.Type == Rate {
		longest = MaxRate
	}
	if d := time.Duration(f.Seconds) * time.Second; f.Type != Taint && (f.Seconds <= 0 || d > longest) {
		member := "window"
		if f.Type == Prior {
			member = "within"
		}
		no(member, "must be from %s to %s for a %s", MinWindow, longest, f.Type)
	}
	if counts && f.Agg.Func == "" {
		no("agg", "is required: write count, sum(/argument), hundredths(/argument) or distinct(/argument)")
	}
	for _, b := range f.Bind {
		for _, at := range []string{b.Earlier, b.Now} {
			if _, err := parsePointer(at); err != nil {
				no("bind", "%.64q: %s; write for example {/customer: /customer}", at, err)
			}
		}
	}
	if f.Type == Prior && len(f.Bind) == 0 && !slices.ContainsFunc(f.Key, func(k string) bool { return k == "session" || k == "task" || k == "agent" || k == "subject" }) {
		no("key", "must hold agent, subject, session or task where nothing is bound")
	}
	return bad
}

func (f *Fact) checkOn(no func(member, format string, args ...any)) {
	on := f.On
	switch {
	case on == On{}:
		no("on", "is required: name server, tool, action or resultLabel")
	case on.Tool != "" && on.Server == "":
		no("on.server", "is required with tool: a tool of another server may have the same name")
	case on.ResultLabel != "" && f.Type != Taint:
		no("on.resultLabel", "is known only after a call, so only a taint can be about it")
	}
	if on.Action != "" && !slices.Contains([]string{"call", "read", "write", "destroy", "egress"}, on.Action) {
		no("on.action", "%.40q is no group of actions: use call, read, write, destroy or egress", on.Action)
	}
}
