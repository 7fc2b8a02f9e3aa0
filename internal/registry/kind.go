package registry

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"rutile/internal/access"
)

// Kind says what a pinned definition describes.
type Kind string

// The kinds of definition.
const (
	KindTool         Kind = "tool"
	KindPrompt       Kind = "prompt"
	KindResource     Kind = "resource"
	KindTemplate     Kind = "template"
	KindInstructions Kind = "instructions"
	// KindCapabilities is what a server declares that it can do (MCP, initialize and
	// server/discover).
	KindCapabilities Kind = "capabilities"
)

// OfServer reports whether a server has one definition of this kind, without a
// name.
func (k Kind) OfServer() bool { return k == KindInstructions || k == KindCapabilities }

// Bounds of what a server may list.
const (
	MaxDefinitions = 10_000  // of one kind and server
	MaxName        = 128     // bytes of the name of a tool or prompt
	MaxURI         = 4096    // bytes of the URI of a resource or template
	MaxDefinition  = 1 << 18 // bytes of one definition
)

// NameOf returns the Tool.Name under which the definition called name is kept.
// A tool keeps its name; every other kind is kept as "#kind/name". No tool name
// may start with "#", so the kinds never meet.
func NameOf(kind Kind, name string) string {
	if kind == KindTool || kind == "" {
		return name
	}
	return "#" + string(kind) + "/" + name
}

// Kind returns what the definition describes.
func (t Tool) Kind() Kind { k, _ := t.split(); return k }

// Usual reports whether t is the approved capabilities of a server. Every server
// has them: they count where they are not what was approved.
func (t Tool) Usual() bool { return t.State == ToolApproved && t.Kind() == KindCapabilities }

// Bare returns the name the server gave the definition, or its URI.
func (t Tool) Bare() string { _, n := t.split(); return n }

func (t Tool) split() (Kind, string) {
	if rest, ok := strings.CutPrefix(t.Name, "#"); ok {
		kind, name, _ := strings.Cut(rest, "/")
		return Kind(kind), name
	}
	return KindTool, t.Name
}

// ValidName says why name cannot be the name of a definition of this kind, nil
// if it can. Names that could be taken for another action ("prompts/x" is the
// action of the prompt x) are refused, and so are characters nobody sees.
func ValidName(kind Kind, name string) error {
	limit := MaxName
	switch kind {
	case KindTool, KindPrompt:
	case KindResource, KindTemplate:
		limit = MaxURI
	case KindInstructions, KindCapabilities:
		if name != "" {
			return access.Errorf(access.CodeUpstream, "%s have no name", kind)
		}
		return nil
	default:
		return access.Errorf(access.CodeUpstream, "unknown kind of definition %q", string(kind))
	}
	switch {
	case name == "":
		return access.Errorf(access.CodeUpstream, "the name is empty")
	case len(name) > limit:
		return access.Errorf(access.CodeTooLarge, "the name has %d bytes, more than %d", len(name), limit)
	case !utf8.ValidString(name):
		return access.Errorf(access.CodeUpstream, "the name is not UTF-8")
	}
	for _, r := range name {
		if !unicode.IsGraphic(r) || unicode.Is(unicode.Bidi_Control, r) || r != ' ' && unicode.IsSpace(r) {
			return access.Errorf(access.CodeUpstream, "the name holds the invisible character %U", r)
		}
	}
	if kind == KindTool {
		if name[0] == '#' || strings.ContainsRune(name, '*') {
			return access.Errorf(access.CodeUpstream, "a tool name must not start with # or hold *")
		}
		for _, p := range []string{"prompts/", "resources/", "requests/"} {
			if strings.HasPrefix(name, p) {
				return access.Errorf(access.CodeUpstream, "a tool name must not start with %q", p)
			}
		}
		// What a server is asked about itself is an action by its method.
		if slices.Contains([]string{"tools/list", "server/discover", "subscriptions/listen", "logging/setLevel"}, name) {
			return access.Errorf(access.CodeUpstream, "a tool must not be called like the method %q", name)
		}
	}
	return nil
}
