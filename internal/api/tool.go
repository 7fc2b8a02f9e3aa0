package api

import (
	"cmp"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// toolName returns the name a definition is kept under. A name that already
// says its kind ("#prompt/x") stands as it is.
func toolName(kind registry.Kind, name string) string {
	if strings.HasPrefix(name, "#") {
		return name
	}
	return registry.NameOf(kind, name)
}

func (a *API) tools(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor", "state", "server", "kind")
	if err != nil {
		return nil, err
	}
	view := a.deps.Admin.Current().View
	servers := view.Servers()
	if id := q.Get("server"); id != "" {
		s, ok := view.Server(id)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "server %q is not registered: see rutile server list", id)
		}
		servers = []registry.Server{s}
	}
	var all []Tool
	for _, s := range servers {
		for _, t := range view.Tools(s.ID) {
			if (q.Get("state") == "" || q.Get("state") == string(t.State)) && (q.Get("kind") == "" || q.Get("kind") == string(t.Kind())) {
				all = append(all, viewTool(view, t))
			}
		}
	}
	return paged(all, func(t Tool) string { return t.Server + "/" + registry.NameOf(t.Kind, t.Name) }, q.Get("cursor"), limit)
}

// viewTool is a definition without its text.
func viewTool(v *registry.View, t registry.Tool) Tool {
	_, st := v.Callable(t.Server, t.Name)
	out := Tool{
		Server: t.Server, Kind: t.Kind(), Name: t.Bare(), State: t.State, Callable: st.OK, Why: st.Why, Class: v.Class(t), ClassBy: t.ClassBy,
		PinDigest: t.PinDigest, SeenDigest: t.SeenDigest, ApprovedBy: t.ApprovedBy, ApprovedAt: t.ApprovedAt, FirstSeen: t.FirstSeen, LastSeen: t.LastSeen,
		Accepted: t.Accepted, Drift: t.Drift,
	}
	if t.Found != nil && t.Found.Digest == t.SeenDigest {
		out.Tier, out.Findings = t.Found.Tier, t.Found.Findings
	}
	return out
}

// findingsOf are the listed definitions of a server that are worth a look, worst
// first.
func findingsOf(v *registry.View, server string) []ToolFindings {
	var out []ToolFindings
	for _, t := range v.Tools(server) {
		if t.Found != nil && t.Found.Tier != "" && t.Found.Digest == t.SeenDigest {
			out = append(out, ToolFindings{t.Kind(), t.Bare(), t.State, t.Found.Tier, t.Found.Findings})
		}
	}
	// "block" sorts before "review".
	slices.SortStableFunc(out, func(a, b ToolFindings) int { return cmp.Compare(a.Tier, b.Tier) })
	return out
}

func (a *API) findTool(server, name string) (Tool, error) {
	view := a.deps.Admin.Current().View
	t, ok := view.Tool(server, name)
	if !ok {
		return Tool{}, access.Errorf(access.CodeNotFound, "server %q has no definition %q: see rutile tool list %s", server, name, server)
	}
	out := viewTool(view, t)
	out.Pinned, out.Seen = t.Pinned, t.Seen
	if a.deps.Conduct != nil && t.Kind() == registry.KindTool {
		out.Conduct = a.deps.Conduct(server, name)
	}
	return out, nil
}

// named reads which definition is asked for.
func (c *call) named() (server, name string, err error) {
	q, _, err := c.query("name", "kind")
	if err != nil {
		return "", "", err
	}
	return c.PathValue("server"), toolName(registry.Kind(q.Get("kind")), q.Get("name")), nil
}

func (a *API) tool(c *call) (any, error) {
	server, name, err := c.named()
	if err != nil {
		return nil, err
	}
	return answerOf(a.findTool(server, name))
}

func (a *API) toolDiff(c *call) (any, error) {
	server, name, err := c.named()
	if err != nil {
		return nil, err
	}
	return answerOf(a.deps.Admin.DiffTool(server, name))
}

// verbRelearn is no change of state: what is usual of a tool is learned anew.
const verbRelearn registry.Verb = "relearn"

func (a *API) changeTool(c *call) (any, error) {
	verb, err := c.verb(registry.VerbApprove, registry.VerbQuarantine, registry.VerbBlock, registry.VerbRelease, registry.VerbRetire, verbRelearn)
	if err != nil {
		return nil, err
	}
	var in ToolChange
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	server, name := c.PathValue("server"), toolName(in.Kind, in.Name)
	switch verb {
	case verbRelearn:
		_, err = a.deps.Admin.RelearnTool(c.Context(), c.actor, server, name, in.Reason)
	case registry.VerbApprove:
		if in.Digest == "" {
			return nil, access.Errorf(access.CodeInvalid, "name the digest of the definition that was reviewed, as the diff shows it: what is listed may have changed since")
		}
		_, err = a.deps.Admin.ApproveTool(c.Context(), c.actor, server, name, admin.Approval{Digest: in.Digest, Class: in.Class, Reason: in.Reason})
	default:
		_, err = a.deps.Admin.ChangeTool(c.Context(), c.actor, server, name, verb, in.Reason)
	}
	if err != nil {
		return nil, err
	}
	return answerOf(a.findTool(server, name))
}
