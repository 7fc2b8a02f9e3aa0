package signal

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Subject is who an event is about: a simple identifier (RFC 9493), aliases of one, or
// the parts of a complex subject (SSF 1.0, section 3.2).
type Subject struct {
	Format string             `json:"format,omitempty"`
	Words  map[string]string  `json:"words,omitempty"`  // of a simple identifier
	Any    []Subject          `json:"any,omitempty"`    // aliases
	Parts  map[string]Subject `json:"parts,omitempty"`  // of a complex one: user, session, device …
	Direct *Direct            `json:"direct,omitempty"` // ours, as a webhook names it
}

// Direct names something of ours.
type Direct struct {
	Kind string `json:"kind"` // agent, session or user
	ID   string `json:"id"`
}

// formats are the simple identifiers, with the members that make them.
var formats = map[string][]string{ //nolint:gochecknoglobals // a table
	"account": {"uri"}, "email": {"email"}, "iss_sub": {"iss", "sub"}, "opaque": {"id"}, "phone_number": {"phone_number"}, "did": {"url"}, "uri": {"uri"}, "jwt_id": {"iss", "jti"}, "saml_assertion_id": {"issuer", "assertion_id"},
}

// complexParts are the members of a complex subject.
var complexParts = []string{"user", "device", "session", "application", "tenant", "org_unit", "group"} //nolint:gochecknoglobals // a table

const (
	maxWord    = 512
	maxAliases = 16
)

var errSubject = errors.New("the subject cannot be read") //nolint:gochecknoglobals // a sentinel

// readSubject reads a subject; members it does not know are left out.
func readSubject(raw json.RawMessage, depth int) (Subject, error) {
	var m map[string]json.RawMessage
	if depth > 2 || json.Unmarshal(raw, &m) != nil || m == nil {
		return Subject{}, errSubject
	}
	format, _ := text(m["format"])
	if depth == 0 && (format == "complex" || format == "") {
		s := Subject{Format: "complex", Parts: map[string]Subject{}}
		for _, name := range complexParts {
			if m[name] == nil {
				continue
			}
			part, err := readSubject(m[name], 1)
			if err != nil {
				return Subject{}, err
			}
			s.Parts[name] = part
		}
		if len(s.Parts) == 0 {
			return Subject{}, errSubject
		}
		return s, nil
	}
	if format == "aliases" && depth < 2 {
		var list []json.RawMessage
		if json.Unmarshal(m["identifiers"], &list) != nil || len(list) == 0 || len(list) > maxAliases {
			return Subject{}, errSubject
		}
		s := Subject{Format: format}
		for _, one := range list {
			alias, err := readSubject(one, 2)
			if err != nil {
				return Subject{}, err
			}
			s.Any = append(s.Any, alias)
		}
		return s, nil
	}
	words := formats[format]
	if words == nil {
		return Subject{}, errSubject
	}
	s := Subject{Format: format, Words: map[string]string{}}
	for _, w := range words {
		v, ok := text(m[w])
		if !ok || v == "" {
			return Subject{}, errSubject
		}
		s.Words[w] = v
	}
	return s, nil
}

// text reads a string that can be shown and compared.
func text(raw json.RawMessage) (string, bool) {
	var s string
	if raw == nil || json.Unmarshal(raw, &s) != nil || !printable(s) {
		return "", false
	}
	return s, true
}

func printable(s string) bool {
	return len(s) <= maxWord && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Keys are what a Match may name a subject by: its format and its words with | between
// them, such as email:ann@example.com, opaque:device-7 or iss_sub:https://…|4711. An
// address of mail is in lower case (Fold). A | in any word but the last is of no key, as
// it would be that of another subject too.
func (s *Subject) Keys() []string {
	if len(s.Any) > 0 {
		var out []string
		for i := range s.Any {
			out = append(out, s.Any[i].Keys()...)
		}
		return out
	}
	if len(s.Words) == 0 {
		return nil
	}
	var words []string
	for i, w := range formats[s.Format] {
		if i < len(formats[s.Format])-1 && strings.Contains(s.Words[w], "|") {
			return nil
		}
		words = append(words, s.Words[w])
	}
	key := s.Format + ":" + strings.Join(words, "|")
	if s.Format == "email" {
		key = Fold(key)
	}
	return []string{key}
}

// Fold is an address of mail in lower case. A letter that would become one of ASCII and is
// none, such as the sign for kelvin, stays: who has such an address is somebody else.
func Fold(address string) string {
	return strings.Map(func(r rune) rune {
		if lower := unicode.ToLower(r); r < utf8.RuneSelf || lower >= utf8.RuneSelf {
			return lower
		}
		return r
	}, address)
}

// Text is a subject in words, for people.
func (s *Subject) Text() string {
	if s.Direct != nil {
		return s.Direct.Kind + " " + s.Direct.ID
	}
	if len(s.Parts) == 0 {
		return strings.Join(s.Keys(), " or ")
	}
	var out []string
	for _, name := range complexParts {
		if p, ok := s.Parts[name]; ok {
			out = append(out, name+" "+strings.Join(p.Keys(), " or "))
		}
	}
	return strings.Join(out, ", ")
}
