package console

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/conduct"
	"rutile/internal/registry"
)

// rowsPerPage is how many rows a page shows; the address says where to go on.
const rowsPerPage = 50

// cursorKey is the part of an address that says where to go on.
const cursorKey = "cursor"

// filter is one choice of a filter.
type filter struct {
	Label, URL string
	Here       bool
}

// choices are the values of a filter, each with the address of what it leaves.
func choices[S ~string](v *visit, key string, values ...S) []filter {
	now := v.q.Get(key)
	out := []filter{{v.words.t("all"), with(v, key, ""), now == ""}}
	for _, x := range values {
		out = append(out, filter{v.words.t(string(x)), with(v, key, string(x)), now == string(x)})
	}
	return out
}

// matches reports whether any of the texts holds what is looked for.
func matches(needle string, in ...string) bool {
	if needle == "" {
		return true
	}
	needle = strings.ToLower(needle)
	return slices.ContainsFunc(in, func(s string) bool { return strings.Contains(strings.ToLower(s), needle) })
}

// cut is the part of a sorted list after the cursor, and the address of the next.
func cut[T any](v *visit, list []T, id func(T) string) ([]T, string) {
	return cutAt(v, cursorKey, list, id)
}

// cutAt is cut for one of several lists of a page, with a cursor of its own.
func cutAt[T any](v *visit, key string, list []T, id func(T) string) ([]T, string) {
	if after := v.q.Get(key); after != "" {
		i, found := slices.BinarySearchFunc(list, after, func(x T, s string) int { return strings.Compare(id(x), s) })
		if found {
			i++
		}
		list = list[i:]
	}
	if len(list) <= rowsPerPage {
		return list, ""
	}
	list = list[:rowsPerPage]
	return list, more(v, key, id(list[len(list)-1]))
}

// more is the address of the next page of a list.
func more(v *visit, key, cursor string) string {
	q := v.URL.Query()
	q.Set(key, cursor)
	return v.URL.Path + "?" + q.Encode()
}

type serverRow struct {
	registry.Server
	Callable bool
	Why      string
	Tools    map[registry.ToolState]int
	Total    int
}

type serversPage struct {
	Search string
	States []filter
	Rows   []serverRow
	Next   string
}

func (c *Console) servers(v *visit) (any, error) {
	view := c.admin.Current().View
	p := serversPage{Search: v.q.Get("q"), States: choices(v, "state", registry.ServerDiscovered, registry.ServerTriaged, registry.ServerSanctioned,
		registry.ServerDeprecated, registry.ServerQuarantined, registry.ServerBlocked, registry.ServerRetired)}
	var all []registry.Server
	for _, s := range view.Servers() {
		if st := v.q.Get("state"); (st == "" || st == string(s.State)) && matches(p.Search, s.ID, s.Owner, target(s)) {
			all = append(all, s)
		}
	}
	all, p.Next = cut(v, all, func(s registry.Server) string { return s.ID })
	for _, s := range all {
		p.Rows = append(p.Rows, rowOf(view, s))
	}
	return p, nil
}

func rowOf(view *registry.View, s registry.Server) serverRow {
	st := view.ServerStanding(s.ID)
	r := serverRow{Server: s, Callable: st.OK, Why: st.Why, Tools: map[registry.ToolState]int{}}
	for _, t := range view.Tools(s.ID) {
		if t.Usual() {
			continue
		}
		r.Tools[t.State]++
		r.Total++
	}
	return r
}

// target is where a server is, in a line.
func target(s registry.Server) string {
	switch {
	case s.Transport.HTTP != nil:
		return s.Transport.HTTP.URL
	case s.Transport.Stdio != nil:
		return strings.Join(append([]string{s.Transport.Stdio.Command}, s.Transport.Stdio.Args...), " ")
	default:
		return ""
	}
}

// Target is where the server is.
func (r serverRow) Target() string { return target(r.Server) }

type serverPage struct {
	serverRow
	Kinds []filter
	Defs  []toolRow
	Next  string
	Verbs []registry.Verb // that its state allows and the visitor may ask for
	// Deprecates says that it may be deprecated too, which needs to be told more.
	Deprecates bool
	Events     string // address of what happened to it
	Access     bool   // the visitor may see who may use it
}

type toolRow struct {
	registry.Tool
	Class registry.ToolClass
	URL   string
}

func (c *Console) server(v *visit) (any, error) {
	view := c.admin.Current().View
	s, ok := view.Server(v.PathValue("id"))
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "server %q is not registered", v.PathValue("id"))
	}
	p := serverPage{serverRow: rowOf(view, s), Events: at("evidence") + "?server=" + s.ID,
		Kinds: choices(v, "tools", registry.ToolApproved, registry.ToolPending, registry.ToolChanged, registry.ToolAbsent, registry.ToolQuarantined, registry.ToolBlocked)}
	var list []registry.Tool
	for _, t := range view.Tools(s.ID) {
		if st := v.q.Get("tools"); st == "" || st == string(t.State) {
			list = append(list, t)
		}
	}
	list, p.Next = cut(v, list, func(t registry.Tool) string { return t.Name })
	for _, t := range list {
		p.Defs = append(p.Defs, toolRow{t, view.Class(t), toolURL(t.Server, t.Name)})
	}
	p.Access = c.may(v, admin.OpRehearse)
	if c.may(v, admin.OpServer) {
		for _, verb := range []registry.Verb{registry.VerbTriage, registry.VerbApprove, registry.VerbRelease, registry.VerbQuarantine, registry.VerbBlock, registry.VerbRetire} {
			if _, err := registry.ChangeServer(s, verb, "", "", v.now); err == nil {
				p.Verbs = append(p.Verbs, verb)
			}
		}
		_, err := registry.ChangeServer(s, registry.VerbDeprecate, "", "", v.now)
		p.Deprecates = err == nil
	}
	return p, nil
}

func (c *Console) changeServer(v *visit, f map[string]string) (string, string, error) {
	id, move := v.PathValue("id"), admin.Move{Verb: registry.Verb(f["verb"]), Reason: f["reason"], Replacement: f["replacement"]}
	to, verb := at("servers", id), move.Verb
	if f["ends"] != "" {
		day, err := time.Parse(time.DateOnly, f["ends"])
		if err != nil {
			return to, "", access.Errorf(access.CodeInvalid, "write a day such as 2027-03-31")
		}
		move.Ends = day.AddDate(0, 0, 1)
	}
	if verb != registry.VerbDeprecate && (f["ends"] != "" || f["replacement"] != "") {
		return to, "", access.Errorf(access.CodeInvalid, "only what is deprecated has an end and a replacement")
	}
	moved, err := c.admin.MoveServer(v.Context(), v.session.actor, id, move)
	if err != nil {
		return to, "", err
	}
	said := v.words.t("Server %s is %s.", id, v.words.t(string(moved.Server.State)))
	if verb == registry.VerbApprove {
		if err := c.work.Learn(v.Context(), id); err != nil {
			said += " " + v.words.t("What it offers could not be listed yet: it is tried again at the first call.")
		}
	}
	return to, said, nil
}

type agentRow struct {
	registry.Agent
	Status registry.AgentState
}

type agentsPage struct {
	Search string
	States []filter
	Rows   []agentRow
	Next   string
}

func (c *Console) agents(v *visit) (any, error) {
	p := agentsPage{Search: v.q.Get("q"), States: choices(v, "state", registry.AgentActive, registry.AgentExpired, registry.AgentSuspended, registry.AgentQuarantined, registry.AgentRetired)}
	var all []agentRow
	for _, a := range c.admin.Current().View.Agents() {
		r := agentRow{a, registry.AgentStatus(a, v.now)}
		if st := v.q.Get("state"); (st == "" || st == string(r.Status)) && matches(p.Search, a.ID, a.Owner, a.Purpose, a.Runtime) {
			all = append(all, r)
		}
	}
	p.Rows, p.Next = cut(v, all, func(r agentRow) string { return r.ID })
	return p, nil
}

type agentPage struct {
	agentRow
	Verbs  []registry.Verb
	Keys   []string // what its keys are called
	Live   int      // calls in flight
	Events string
	Grants string
	Access bool // the visitor may see what it is granted beside what it used
}

func (c *Console) agent(v *visit) (any, error) {
	a, ok := c.admin.Current().View.Agent(v.PathValue("id"))
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "agent %q is not registered", v.PathValue("id"))
	}
	p := agentPage{agentRow: agentRow{a, registry.AgentStatus(a, v.now)}, Events: at("evidence") + "?agent=" + a.ID, Grants: at("grants") + "?agent=" + a.ID}
	p.Access = c.may(v, admin.OpRehearse)
	for _, k := range a.Keys {
		p.Keys = append(p.Keys, keyOf(k))
	}
	for _, r := range c.work.Calls() {
		if r.Who.Actor.Agent == a.ID {
			p.Live++
		}
	}
	if c.may(v, admin.OpAgent) {
		for _, verb := range []registry.Verb{registry.VerbResume, registry.VerbSuspend, registry.VerbQuarantine, registry.VerbRetire} {
			if _, err := registry.ChangeAgent(a, verb, "", "", v.now); err == nil {
				p.Verbs = append(p.Verbs, verb)
			}
		}
	}
	return p, nil
}

func (c *Console) changeAgent(v *visit, f map[string]string) (string, string, error) {
	id := v.PathValue("id")
	a, err := c.admin.ChangeAgent(v.Context(), v.session.actor, id, registry.Verb(f["verb"]), f["reason"])
	if err != nil {
		return at("agents", id), "", err
	}
	return at("agents", id), v.words.t("Agent %s is %s.", id, v.words.t(string(a.State))), nil
}

// toolURL is the address of a definition's page: its name may be any text.
func toolURL(server, name string) string {
	return Home + "tool?" + url.Values{"server": {server}, "name": {name}}.Encode()
}

type toolPage struct {
	registry.Tool
	Class  registry.ToolClass
	Diff   admin.ToolDiff
	Fields []field // of the definition that counts: the approved one, or what was seen
	Verbs  []registry.Verb
	Can    bool   // it may be approved now, by the visitor
	Digest string // of what would be approved
	// Conduct is how it behaved, nil if it was not called lately.
	Conduct *conduct.Summary
	Relearn bool // the visitor may have it learned anew, and something is odd
}

func (c *Console) tool(v *visit) (any, error) {
	view := c.admin.Current().View
	t, ok := view.Tool(v.q.Get("server"), v.q.Get("name"))
	if !ok {
		return nil, access.Errorf(access.CodeNotFound, "this definition is not known")
	}
	p := toolPage{Tool: t, Class: view.Class(t)}
	if c.work.Conduct != nil && t.Kind() == registry.KindTool {
		p.Conduct = c.work.Conduct(t.Server, t.Name)
	}
	var err error
	if p.Diff, err = c.admin.DiffTool(t.Server, t.Name); err != nil {
		return nil, err
	}
	def := t.Pinned
	if len(def) == 0 {
		def = t.Seen
	}
	if p.Fields, err = fieldsOf(v.words, def); err != nil {
		return nil, err
	}
	if !c.may(v, admin.OpTool) {
		return p, nil
	}
	p.Relearn = p.Conduct != nil && len(p.Conduct.Odd) > 0
	if len(t.Seen) > 0 && t.Approvable() {
		p.Can, p.Digest = true, t.SeenDigest
	}
	for _, verb := range []registry.Verb{registry.VerbRelease, registry.VerbQuarantine, registry.VerbBlock, registry.VerbRetire} {
		if _, err := registry.ChangeTool(t, verb); err == nil {
			p.Verbs = append(p.Verbs, verb)
		}
	}
	return p, nil
}

func (c *Console) changeTool(v *visit, f map[string]string) (string, string, error) {
	server, name := f["server"], f["name"]
	to := toolURL(server, name)
	if f["verb"] == "relearn" {
		t, err := c.admin.RelearnTool(v.Context(), v.session.actor, server, name, f["reason"])
		if err != nil {
			return to, "", err
		}
		return to, v.words.t("What is usual of %s is learned anew from its next calls.", line(t.Bare())), nil
	}
	if f["verb"] != string(registry.VerbApprove) {
		t, err := c.admin.ChangeTool(v.Context(), v.session.actor, server, name, registry.Verb(f["verb"]), f["reason"])
		if err != nil {
			return to, "", err
		}
		return to, v.words.t("%s is %s.", line(t.Bare()), v.words.t(string(t.State))), nil
	}
	if f["digest"] == "" {
		return to, "", access.Errorf(access.CodeInvalid, "the form does not say which definition it approves: approve it on its page")
	}
	ap := admin.Approval{Digest: f["digest"], Reason: f["reason"]}
	switch {
	case f["class"] == "" && f["tier"] != "":
		return to, "", access.Errorf(access.CodeInvalid, "with a tier goes a class")
	case f["class"] != "":
		tier, err := strconv.Atoi(f["tier"])
		if err != nil || tier < 0 || tier > 3 {
			return to, "", access.Errorf(access.CodeInvalid, "with a class goes a tier from 0 to 3")
		}
		ap.Class = &registry.ToolClass{Class: f["class"], Tier: tier}
	}
	t, err := c.admin.ApproveTool(v.Context(), v.session.actor, server, name, ap)
	if err != nil {
		return to, "", err
	}
	return to, v.words.t("%s is approved as it was shown, class %s, tier %d.", line(t.Bare()), t.Class.Class, t.Class.Tier), nil
}

// keyOf is what an agent's key is called: its id, type and curve.
func keyOf(raw json.RawMessage) string {
	var k struct{ Kid, Kty, Crv, Alg string }
	if json.Unmarshal(raw, &k) != nil {
		return ""
	}
	return strings.TrimSpace(strings.Join([]string{k.Kty, k.Crv, k.Alg, k.Kid}, " "))
}
