package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// The entity types and actions policies speak of (access.md 2.2).
const (
	typeAgent      types.EntityType = "Mcp::Agent"
	typeAgentClass types.EntityType = "Mcp::AgentClass"
	typeHuman      types.EntityType = "Mcp::Human"
	typeGroup      types.EntityType = "Mcp::Group"
	typeServer     types.EntityType = "Mcp::Server"
	typeTool       types.EntityType = "Mcp::Tool"
	typeToolClass  types.EntityType = "Mcp::ToolClass"
	typeAction     types.EntityType = "Mcp::Action"

	groupCall     = "call"
	groupRead     = "read"
	groupWrite    = "write"
	groupDestroy  = "destroy"
	groupEgress   = "egress"
	groupDiscover = "discover" // what asks a server about itself and calls nothing
	actionNone    = "rutile/none"
)

func groups() []string {
	return []string{groupCall, groupRead, groupWrite, groupDestroy, groupEgress, groupDiscover}
}

func uid(t types.EntityType, id string) types.EntityUID {
	return types.EntityUID{Type: t, ID: types.String(id)}
}

// groupsOf adds every group an action of these classes is in, direct or not. An
// unknown class counts as every class that forbids look at, because a forbid on
// writes must not miss what nobody understood.
func groupsOf(f *family, classes []string) {
	f.add(uid(typeAction, groupCall))
	for _, c := range classes {
		switch c {
		case groupCall:
		case groupRead, groupWrite, groupEgress:
			f.add(uid(typeAction, c))
		case groupDestroy:
			f.add(uid(typeAction, groupWrite))
			f.add(uid(typeAction, groupDestroy))
		default:
			f.add(uid(typeAction, groupWrite))
			f.add(uid(typeAction, groupDestroy))
			f.add(uid(typeAction, groupEgress))
		}
	}
}

// promptGroup is the action every prompt of a server is in, so that "all
// prompts" needs no list of them. No tool can have this name: the registry
// refuses tools called "prompts/…".
func promptGroup(server string) string { return server + "/prompts/*" }

// humanID makes one id of issuer and subject. Two people never share it: "|"
// is escaped in the issuer, and an id of our own that holds "|" starts with it.
func humanID(s access.Subject) string {
	if s.Issuer == "" {
		if strings.Contains(s.ID, "|") {
			return "|" + s.ID
		}
		return s.ID
	}
	return strings.ReplaceAll(s.Issuer, "|", "%7C") + "|" + s.ID
}

// Groups names the action groups a request of this kind is in, about a definition
// of these classes.
func Groups(kind access.Kind, classes []string) []string {
	switch kind {
	case access.KindServer:
		return []string{groupDiscover}
	case access.KindAsk:
		return []string{groupCall}
	}
	var f family
	groupsOf(&f, classes)
	out := make([]string, len(f.ancestors))
	for i, id := range f.ancestors {
		out[i] = string(id.ID)
	}
	return out
}
