package registry

import (
	"slices"
	"strings"
	"unicode"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// The classes of a tool: the action groups of policies.
const (
	ClassRead    = "read"
	ClassWrite   = "write"
	ClassDestroy = "destroy"
	ClassEgress  = "egress" // besides one of the others
)

// MaxTier is the highest tier of a tool.
const MaxTier = 3

// Words returns the classes of c: one of read, write and destroy, then egress
// if it applies. It returns an error for anything else, which callers treat as
// a denial.
func (c ToolClass) Words() ([]string, error) {
	class, rest, both := strings.Cut(c.Class, ",")
	rest = strings.TrimSpace(rest)
	if !slices.Contains([]string{ClassRead, ClassWrite, ClassDestroy}, class) || both && rest != ClassEgress {
		return nil, access.Errorf(access.CodeInvalid, "class %q is not read, write or destroy, with \",egress\" after it where it applies", c.Class)
	}
	if c.Tier < 0 || c.Tier > MaxTier {
		return nil, access.Errorf(access.CodeInvalid, "tier %d is not between 0 and %d", c.Tier, MaxTier)
	}
	if both {
		return []string{class, ClassEgress}, nil
	}
	return []string{class}, nil
}

// Class returns the class and tier of t that count: what the server's manifest
// says for its name, else what a person set at approval, else the proposal that
// was accepted. A proposal for a definition that is not the approved one gets a
// tier one higher, and a proposed read of a server with data scopes is a read of
// labelled data.
func (v *View) Class(t Tool) ToolClass {
	s := v.servers[t.Server]
	if c, ok := s.ClassOf(t.Name); ok {
		return c
	}
	if t.ClassBy != "" {
		return t.Class
	}
	c := t.Class
	if c.Tier == 0 && len(s.DataScopes) > 0 {
		c.Tier = 1
	}
	if t.State != ToolApproved && c.Tier < MaxTier {
		c.Tier++
	}
	return c
}

// ClassOf returns the class a person set for a tool name: the exact name wins,
// then the pattern with the most literal characters, then the one that sorts
// first.
func (s Server) ClassOf(name string) (ToolClass, bool) {
	if c, ok := s.Classes[name]; ok {
		return c, true
	}
	best, found := "", false
	for p := range s.Classes {
		if !Match(p, name) {
			continue
		}
		if lp, lb := literals(p), literals(best); !found || lp > lb || lp == lb && p < best {
			best, found = p, true
		}
	}
	return s.Classes[best], found
}

func literals(pattern string) int { return len(pattern) - strings.Count(pattern, "*") }

// ProposeClass proposes the class and tier of a definition from its annotations,
// its name and its arguments (access.md, "Words"). Annotations are claims of the
// server: they can make a proposal milder, never a decision. Anything but a tool
// definition is proposed as read.
func ProposeClass(kind Kind, def rawjson.Value) ToolClass {
	if kind != KindTool {
		return ToolClass{Class: ClassRead}
	}
	ann := def.Get("annotations")
	readOnly, _ := ann.Get("readOnlyHint").Bool()
	destructive, _ := ann.Get("destructiveHint").Bool()
	open, openSaid := ann.Get("openWorldHint").Bool()
	name, _ := def.Get("name").Str()
	words := wordsOf(name)
	c := ToolClass{Class: ClassWrite, Tier: 2}
	switch {
	case destructive || anyOf(words, destroyWords):
		c = ToolClass{Class: ClassDestroy, Tier: 3}
	case readOnly:
		c = ToolClass{Class: ClassRead}
	}
	if anyOf(words, gravestWords) {
		c.Tier = 3
	}
	if sends(def.Get("inputSchema"), 0) || !readOnly && (!openSaid || open) {
		c.Class += "," + ClassEgress
		c.Tier = max(c.Tier, 2)
	}
	return c
}

const (
	destroyWords = " delete del remove rm destroy drop purge wipe erase truncate kill terminate uninstall unlink shred deprovision "
	gravestWords = " pay payment payments transfer refund charge purchase buy withdraw invoice payout secret secrets password passwords credential credentials apikey token tokens privatekey "
	egressWords  = " url urls uri uris href link webhook endpoint callback recipient recipients to cc bcc email emails mail destination dest host hostname address channel domain phone "
)

// execWords name tools that run what they are given.
const execWords = " exec execute run shell bash sh powershell cmd command terminal eval script subprocess spawn "

// Executes reports whether a tool's name says that it runs what it is given.
func Executes(name string) bool { return anyOf(wordsOf(name), execWords) }

func anyOf(words []string, list string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(list, " "+w+" ") })
}

// sends reports whether a schema has an argument that says where something goes.
func sends(schema rawjson.Value, depth int) bool {
	if depth > 8 {
		return true // too deep to be sure
	}
	for k, p := range schema.Get("properties").Members() {
		key, _ := k.Str()
		if anyOf(wordsOf(key), egressWords) || p.Get("format").Equals("uri") || p.Get("format").Equals("email") {
			return true
		}
		if sends(p, depth+1) || sends(p.Get("items"), depth+1) {
			return true
		}
	}
	return false
}

// wordsOf splits an identifier at everything but letters and digits and at case
// changes, in lower case: "deleteFile", "delete_file" and "Delete-File" are the
// same words.
func wordsOf(name string) []string {
	var out []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			out = append(out, b.String())
			b.Reset()
		}
	}
	rs := []rune(name)
	for i, r := range rs {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			flush()
			continue
		}
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1])) {
			flush()
		}
		b.WriteRune(unicode.ToLower(r))
	}
	flush()
	return out
}
