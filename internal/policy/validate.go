package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// validate checks every statement a person wrote against the schema of the
// catalog. What the schema knows for certain is enforced; where it is only an
// approximation the statement passes and Evaluate stays strict.
func (b *builder) validate() {
	context := contextType(b.catalog.Facts)
	v := &validator{builder: b, tools: make(map[string]*toolType), known: resolve(entityTypes()), groups: groupActions(context), context: context, nothing: recordType(nil)}
	b.set.inputs = make(map[string]*typ)
	for _, t := range b.catalog.Tools {
		v.tool(t)
	}
	v.servers = append(v.servers, access.OwnServer)
	for _, s := range b.catalog.Servers {
		v.servers = append(v.servers, s.ID)
	}
	b.set.schema = schemaDigest(b.set.inputs, context)
	seen := make(map[string]*statement)
	for _, s := range b.set.statements {
		if s.list != nil || s.right != "" {
			continue // built from the catalog, with no condition of a person
		}
		v.statement(s)
		v.duplicate(s, seen)
	}
	slices.Sort(b.report.Untyped)
}

// toolType is what is known of the input of one action.
type toolType struct {
	action string
	family family // of the action
	server string
	input  *typ
	uri    bool // the input is the URI of a resource
}

type validator struct {
	*builder
	tools   map[string]*toolType
	order   []*toolType
	servers []string
	known   *resolution
	groups  map[string]actionDef
	context *typ
	asking  *typ // the context of the action "request", once some statement is about it
	nothing *typ // the type of no arguments
}

func (v *validator) tool(t ToolInfo) {
	tt := &toolType{action: t.action(), server: t.Server}
	if v.tools[tt.action] != nil {
		return
	}
	tt.family.self = uid(typeAction, tt.action)
	groupsOf(&tt.family, t.Classes)
	if t.Kind == access.KindPrompt {
		tt.family.add(uid(typeAction, promptGroup(t.Server)))
	} else {
		in, why := inputType(t.InputSchema)
		switch tt.input = in; {
		case in == nil:
			v.report.Untyped = append(v.report.Untyped, fmt.Sprintf("%s: %s", tt.action, why))
		case in.vague():
			v.report.Untyped = append(v.report.Untyped, fmt.Sprintf("%s: parts of its input schema have no type in Cedar", tt.action))
		}
		if in != nil {
			v.set.inputs[tt.action] = in
		}
	}
	v.tools[tt.action] = tt
	v.order = append(v.order, tt)
}

// statement checks one statement, as written and, where some action it is about
// has no type for what it reads, without the conditions that read it.
func (v *validator) statement(s *statement) {
	v.names(s)
	v.labels(s)
	if derived, declared := v.derived(s), v.declared(s); !derived || !declared {
		return
	}
	if s.asking {
		sc := v.askSchema()
		v.check(s, &sc, false)
		if g := s.approve.Group; g != "" && g != GroupOwner && v.catalog.Groups != nil && !slices.Contains(v.catalog.Groups, g) {
			line, col := s.piece.find("@approve")
			v.problem(SeverityWarning, s.source, line, col+1, "no team and no person is called %q, so nothing that needs it can be asked for", g)
		}
		return
	}
	typed, untyped := v.actions(s)
	if typed.asks(s.scope.action) {
		v.check(s, &typed, s.reads.arguments())
	}
	if len(untyped) > 0 {
		sc := schema{known: v.known, actions: untyped}
		for _, msg := range sc.check(withoutInput(s.full)) {
			v.mistake(s, v.types, msg)
		}
	}
}

// asks reports whether anything is asked of an action the scope names.
func (s *schema) asks(d dim) bool {
	if len(d.ids) == 0 {
		return true
	}
	return slices.ContainsFunc(d.ids, func(id types.EntityUID) bool {
		def, ok := s.actions[string(id.ID)]
		return !ok || id.Type != typeAction || def.resources != nil || def.context == nil && slices.Contains(groups(), string(id.ID))
	})
}

// check validates s against typed actions. A read of an optional argument that
// no "has" guards is only a warning: where the argument is missing the policy
// errs, and an error denies.
func (v *validator) check(s *statement, sc *schema, input bool) {
	mistakes := sc.check(s.full)
	if len(mistakes) == 0 {
		return
	}
	if input {
		sc.required = true
		rest := sc.check(s.full)
		for _, msg := range mistakes {
			if !slices.Contains(rest, msg) {
				v.mistake(s, SeverityWarning, msg)
			}
		}
		mistakes = rest
	}
	for _, msg := range mistakes {
		v.mistake(s, v.types, msg)
	}
}

// actions returns the schema s is checked against as written, and the actions
// whose input s reads and the schema does not know.
func (v *validator) actions(s *statement) (typed schema, untyped map[string]actionDef) {
	typed = schema{known: v.known, actions: make(map[string]actionDef, len(v.groups)+1)}
	put := func(t *toolType) {
		def := actionDef{resources: []types.EntityType{typeTool}, context: v.context, input: v.nothing}
		for _, g := range t.family.ancestors {
			def.parents = append(def.parents, string(g.ID))
		}
		if !s.reads.arguments() {
			typed.actions[t.action] = def
			return
		}
		if t.input != nil && s.reads.decided(t.input) {
			def.input, def.arguments = t.input, t.input
			if t.uri {
				def.arguments = uriType
			}
			typed.actions[t.action] = def
			return
		}
		def.input = nil
		if untyped == nil {
			untyped = v.base()
		}
		untyped[t.action] = def
	}
	for name, def := range v.groups {
		typed.actions[name] = def
	}
	for _, id := range s.scope.action.ids {
		name := string(id.ID)
		if _, group := v.groups[name]; id.Type == typeAction && !group && v.tools[name] == nil {
			v.missing(s, name)
			server, _, _ := strings.Cut(name, "/")
			t := &toolType{action: name, server: server, family: family{self: id, ancestors: []types.EntityUID{uid(typeAction, groupCall)}}}
			if name == server+"/resources/read" {
				t.input, t.uri = uriInput, true
			}
			put(t)
		}
	}
	for _, t := range v.order {
		named := s.scope.action.ids != nil && slices.Contains(s.scope.action.ids, t.family.self)
		if named || s.reads.arguments() && v.concerns(s, t) {
			put(t)
		}
	}
	for name, def := range untyped {
		if _, ok := typed.actions[name]; !ok {
			typed.actions[name] = actionDef{parents: def.parents} // named, but nothing to check here
		}
	}
	for name, def := range typed.actions {
		if _, ok := untyped[name]; untyped != nil && !ok {
			untyped[name] = actionDef{parents: def.parents} // checked with the others
		}
	}
	for _, def := range typed.actions {
		v.parents(typed.actions, def)
	}
	for _, def := range untyped {
		v.parents(untyped, def)
	}
	return typed, untyped
}

// base is the groups without the sentinel: for actions whose input has no type.
func (v *validator) base() map[string]actionDef {
	out := make(map[string]actionDef, len(v.groups))
	for name, def := range v.groups {
		if name != actionNone {
			out[name] = def
		}
	}
	return out
}

// parents declares the action groups of single servers that def is in.
func (v *validator) parents(actions map[string]actionDef, def actionDef) {
	for _, p := range def.parents {
		if _, ok := actions[p]; !ok {
			actions[p] = actionDef{}
		}
	}
}

// concerns reports whether the scope of s can match a call of t.
func (v *validator) concerns(s *statement, t *toolType) bool {
	a, r := s.scope.action, s.scope.resource
	if a.ids != nil {
		hit := slices.ContainsFunc(a.ids, func(id types.EntityUID) bool {
			return id == t.family.self || !a.eq && slices.Contains(t.family.ancestors, id)
		})
		if !hit {
			return false
		}
	}
	for _, id := range r.ids {
		switch id.Type {
		case typeServer:
			return string(id.ID) == t.server
		case typeTool:
			return string(id.ID) == t.action
		}
	}
	return true
}

// decided reports whether t types everything r reads of the input.
func (r *reads) decided(t *typ) bool {
	for _, p := range r.paths {
		if readsInput(p) && (len(p) == 1 || !t.decides(p[2:])) {
			return false
		}
		if readsDerived(p) && len(p) > 3 && !t.decides(p[3:]) {
			return false
		}
	}
	return r.input == nil || !r.input.all || len(r.paths) > 0
}

// missing warns about an action nobody knows yet. One that can never be asked is
// a mistake: a forbid on a misspelt group would forbid nothing.
func (v *validator) missing(s *statement, action string) {
	server, name, ok := strings.Cut(action, "/")
	prompt := strings.HasPrefix(name, "prompts/") || name == "resources/read" || strings.HasPrefix(name, "requests/")
	switch {
	case !ok:
		v.mistake(s, v.types, fmt.Sprintf("unknown action `%s`: actions are server/tool, or a group: %s", action, strings.Join(groups(), ", ")))
	case !slices.Contains(v.servers, server):
		v.mistake(s, SeverityWarning, fmt.Sprintf("no server %q is known, so %q is never asked", server, action))
	case !prompt:
		v.mistake(s, SeverityWarning, fmt.Sprintf("server %q has no approved tool %q; the policy waits for it", server, name))
	}
}

// names warns about servers, tools, agents and classes nobody knows.
func (v *validator) names(s *statement) {
	for _, id := range s.scope.resource.ids {
		switch {
		case id.Type == typeServer && !slices.Contains(v.servers, string(id.ID)):
			v.mistake(s, SeverityWarning, fmt.Sprintf("no server %q is known, so the policy never matches", string(id.ID)))
		case id.Type == typeTool && v.tools[string(id.ID)] == nil:
			v.mistake(s, SeverityWarning, fmt.Sprintf("no approved tool %q is known", string(id.ID)))
		}
	}
	if v.catalog.Agents == nil {
		return
	}
	for _, id := range s.scope.principal.ids {
		known := func(a AgentInfo) bool {
			return id.Type == typeAgent && a.ID == string(id.ID) || id.Type == typeAgentClass && a.Class == string(id.ID)
		}
		if (id.Type == typeAgent || id.Type == typeAgentClass) && !slices.ContainsFunc(v.catalog.Agents, known) {
			v.mistake(s, SeverityWarning, fmt.Sprintf("no agent is %s, so the policy never matches", id))
		}
	}
}

// duplicate warns where two statements say the same.
func (v *validator) duplicate(s *statement, seen map[string]*statement) {
	text := fmt.Sprintf("%v %v %s", s.effect, s.approve, s.said)
	if other := seen[text]; other != nil {
		v.mistake(s, SeverityWarning, fmt.Sprintf("says the same as %s and adds nothing", other.id))
		return
	}
	seen[text] = s
}

var quoted = regexp.MustCompile("`([^`]+)`")

// mistake records msg at the first word it quotes that stands in the text.
func (v *validator) mistake(s *statement, sev Severity, msg string) {
	line, col := s.piece.line, s.piece.col
	for _, m := range quoted.FindAllStringSubmatch(msg, -1) {
		word := m[1]
		if i := strings.LastIndexByte(word, '.'); i >= 0 {
			word = word[i+1:]
		}
		if l, c := s.piece.find(word); l != line || c != col {
			line, col = l, c
			break
		}
	}
	v.problem(sev, s.source, line, col, "%s", explainMistake(msg))
}

// explainMistake adds what to do to what the validator says.
func explainMistake(msg string) string {
	switch {
	case strings.HasPrefix(msg, "unable to guarantee safety of access to optional attribute"):
		return msg + "; where it is missing the policy errs and the call is denied: guard it with \"has\""
	case strings.Contains(msg, `Action::"`+actionNone+`" not found`):
		return msg + "; not every action of the scope has it: name the action, or guard it with \"has\""
	case strings.HasPrefix(msg, "unable to find an applicable action"):
		return msg + "; principal is an Mcp::Agent, resource an Mcp::Tool, and an action group needs \"in\", not \"==\""
	case strings.HasPrefix(msg, "unrecognized entity type"):
		return msg + "; known are Mcp::Agent, Mcp::AgentClass, Mcp::Human, Mcp::Group, Mcp::Server, Mcp::Tool, Mcp::ToolClass and Mcp::Action"
	}
	return msg
}
