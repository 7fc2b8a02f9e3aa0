package access

import "strings"

// Words that labels of servers and tools (dataScopes, labels) may be which are no
// private scope.
const (
	LabelUntrusted = "untrusted" // what it sends may be anybody's words
	LabelPublic    = "public"    // everybody may know it
)

// Touched is what the session of a request has touched, as policies read it in
// context.session. The gate sets it; nil means that nobody looked.
type Touched struct {
	// Taint is what may have told the agent what to do, sorted: "untrusted", "finding"
	// where inspection found something, and "server:ID" of each source.
	Taint []string
	// Labels are the private scopes it has seen something of, sorted.
	Labels []string
	// Flow is where the values of the request come from, by the name of the fact; nil
	// where nothing was found again.
	Flow map[string]FactValue
	// Leaves are the values of the arguments that were found again.
	Leaves []FlowLeaf
	// Causes are the calls that raised them.
	Causes []Cause
	// Err says why it cannot be told, "" if it can. Policies that read it err then.
	Err string
}

// Cause is the call that first raised a taint or label of a session.
type Cause struct {
	Word     string `json:"word"`             // the taint or label
	Server   string `json:"server,omitempty"` // whose answer it was
	Tool     string `json:"tool,omitempty"`
	Private  bool   `json:"private,omitempty"` // it is a label, not a taint
	Decision string `json:"decision"`
	Leaf     uint64 `json:"-"` // of its intent, with its hash
	Hash     []byte `json:"-"`
}

// FlowLeaf is a value of the arguments that came from an earlier result, without the
// value.
type FlowLeaf struct {
	Pointer   string   `json:"pointer"` // RFC 6901, in the arguments
	Role      string   `json:"role"`    // recipient, content or selector
	Kind      string   `json:"kind"`    // as email, url, text
	Start     int      `json:"start"`   // bytes of the unescaped value that were found again
	End       int      `json:"end"`
	Call      string   `json:"call"` // the decision whose result it came from
	Server    string   `json:"server"`
	Tool      string   `json:"tool,omitempty"`
	Untrusted bool     `json:"untrusted,omitempty"`
	Scopes    []string `json:"scopes,omitempty"` // private ones
	Tier      string   `json:"tier,omitempty"`   // what inspection found in that result
	Asked     string   `json:"asked,omitempty"`  // yes, no or unknown
	// Foreign says that the result was another agent's, which handed on the work.
	Foreign bool `json:"foreign,omitempty"`
}

// Clean reports whether nothing was touched: no rule about it can match.
func (t *Touched) Clean() bool {
	return t == nil || len(t.Taint) == 0 && len(t.Labels) == 0 && len(t.Flow) == 0 && t.Err == ""
}

// Source says where the value came from, for people.
func (l *FlowLeaf) Source() string {
	out := "what "
	if l.Tool != "" {
		out += "tool " + l.Tool
	} else {
		out += "a resource"
	}
	out += " of server " + l.Server + " returned (call " + l.Call + ")"
	if l.Untrusted {
		out += ", which anybody may have written"
	}
	if len(l.Scopes) > 0 {
		out += ", labelled " + strings.Join(l.Scopes, ", ")
	}
	if l.Tier != "" {
		out += "; inspection found something in it (" + l.Tier + ")"
	}
	return out
}
