package credential

import (
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// For says which needs a rule of a source is for.
type For struct {
	// Tools are names of tools, in which * stands for any text.
	Tools []string `json:"tools,omitempty"`
	// Discovery says that the rule is for what no single call is behind: lists,
	// handshakes and the processes of stdio servers.
	Discovery bool `json:"discovery,omitempty"`
}

// meant reports whether a rule is for n. A need without a tool never takes a
// rule of tools, nor the other way round.
func (f For) meant(n Need) bool {
	if n.Tool == "" {
		return f.Discovery
	}
	return n.Kind == access.KindTool && slices.ContainsFunc(f.Tools, func(p string) bool { return glob(p, n.Tool) })
}

func (f For) check() error {
	if len(f.Tools) == 0 && !f.Discovery {
		return access.Errorf(access.CodeInvalid, "is for nothing: name tools, or write discovery: true")
	}
	if slices.Contains(f.Tools, "") {
		return access.Errorf(access.CodeInvalid, "tools has an empty name")
	}
	return nil
}

// noRule refuses a need no rule is for: what is not thought of is not minted.
func noRule(n Need) error {
	switch {
	case n.Tool == "":
		return access.Errorf(access.CodeDenied, "no rule is for lists, handshakes and processes: add one with discovery: true to the credential's manifest")
	case n.Kind != access.KindTool:
		return access.Errorf(access.CodeDenied, "rules are for tools, and this is a %s", n.Kind)
	}
	return access.Errorf(access.CodeDenied, "no rule is for this tool: add one to the credential's manifest")
}

// checkPointer refuses what is no pointer to a member of the arguments.
func checkPointer(p string) error {
	if len(p) < 2 || p[0] != '/' || len(p) > 256 {
		return access.Errorf(access.CodeInvalid, "%q does not point at an argument: write /name or /outer/inner", p)
	}
	for rest := p; ; {
		i := strings.IndexByte(rest, '~')
		if i < 0 {
			return nil
		}
		if rest = rest[i+1:]; rest == "" || rest[0] != '0' && rest[0] != '1' {
			return access.Errorf(access.CodeInvalid, "%q has a ~ that is neither ~0 nor ~1 (RFC 6901)", p)
		}
	}
}

// textAt returns the text at a pointer (RFC 6901, members only). It must be
// there, and no other member may be taken for it by a reader that does not mind
// the case.
func textAt(args rawjson.Value, pointer string) (string, error) {
	v := args
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		key = strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
		if v.Kind() == rawjson.Object && v.FoldDuplicate(false) != "" {
			return "", access.Errorf(access.CodeDenied, "the credential is made for the argument %s, and two arguments there differ only in case", pointer)
		}
		v = v.Get(key)
	}
	s, ok := v.Str()
	if !ok || s == "" {
		return "", access.Errorf(access.CodeDenied, "the credential is made for the argument %s, which must be there and a text", pointer)
	}
	return s, nil
}

// only reports whether s has from 1 to most characters, all letters or digits of
// ASCII or one of more.
func only(s, more string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return true
}

// Span is a time that is written as text, such as 15m.
type Span time.Duration

// MarshalText writes it as Go does.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText reads what MarshalText writes, and refuses what is negative.
func (s *Span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 {
		return access.Errorf(access.CodeInvalid, "%q is no time such as 15m", b)
	}
	*s = Span(d)
	return nil
}
