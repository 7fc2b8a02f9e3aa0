package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/grant"
	"rutile/internal/identity"
	"rutile/internal/registry"
	"rutile/internal/revocation"
)

// reach is everything that a revocation ends.
type reach struct {
	target   revocation.Target
	op       Op                 // who may
	sessions identity.Selection // none where it is zero
	grants   func(*grant.Grant) bool
	requests func(*grant.Request) bool
	calls    func(r *access.Request, grant string) bool
	whose    func(who *access.Identity) bool // what servers have for them alone; nil: nothing
	server   string                          // whose processes end, "" for none
	class    access.Class                    // of the denial that a call ends with
	known    bool                            // the target is there
	resumed  bool                            // it was begun before, and may be done in part
	// act does what else there is to do, and says it in sentences; nil for nothing. later
	// has issuers end what they made, and need not be waited for.
	act  func(ctx context.Context, actor Actor, why string) (said []string, later func(context.Context) credential.Ended, err error)
	will []string // what act would say
	undo string
}

// scope returns what revoking id of a kind ends.
func (e *Effects) scope(ctx context.Context, kind, id string) (*reach, error) {
	if kind == "subject" { // as it was called first
		kind = string(revocation.User)
	}
	if id == "" || len(id) > 512 || strings.ContainsFunc(id, hidden) {
		return nil, access.Errorf(access.CodeInvalid, "name the %s to revoke, in at most 512 printable bytes", clip(kind))
	}
	s := &reach{target: revocation.Target{Kind: revocation.Kind(kind), ID: id}, op: OpSession, class: access.ClassAgent}
	switch s.target.Kind {
	case revocation.Tenant:
		return s, e.ofTenant(s)
	case revocation.User, revocation.Agent, revocation.Session:
		return s, e.ofParty(ctx, s)
	case revocation.Grant:
		return s, e.ofGrant(ctx, s)
	case revocation.Server:
		return s, e.ofServer(s)
	case revocation.Tool:
		return s, e.ofTool(s)
	case revocation.Credential:
		return s, e.ofCredential(ctx, s)
	case revocation.Approver:
		return s, e.ofApprover(s)
	default:
		return nil, access.Errorf(access.CodeInvalid, "%q cannot be revoked: kinds are %s. Versions and instances of agents are not told apart", clip(kind), kindsText())
	}
}

func kindsText() string {
	var out []string
	for _, k := range revocation.Kinds() {
		out = append(out, string(k))
	}
	return strings.Join(out[:len(out)-1], ", ") + " and " + out[len(out)-1]
}

func (e *Effects) ofTenant(s *reach) error {
	if s.target.ID != revocation.Everything {
		return access.Errorf(access.CodeInvalid, "the tenant is called %s: rutile revoke tenant %s", revocation.Everything, revocation.Everything)
	}
	s.known, s.op, s.sessions = true, OpOther, identity.Selection{All: true}
	s.grants = func(*grant.Grant) bool { return true }
	s.requests = func(*grant.Request) bool { return true }
	s.calls = func(*access.Request, string) bool { return true }
	s.whose = func(*access.Identity) bool { return true }
	s.undo = "agents sign in anew by themselves; grants are asked for or made anew. Credentials stay sealed, agents and servers registered"
	return nil
}

// ofParty is of an agent, a person whom agents act for, or one session.
func (e *Effects) ofParty(ctx context.Context, s *reach) error {
	id := s.target.ID
	view := e.admin.Current().View
	switch s.target.Kind {
	case revocation.Agent:
		s.sessions.Agent = id
		_, s.known = view.Agent(id)
		s.undo = "the agent signs in anew by itself; to keep it out: rutile agent suspend " + id
	case revocation.User:
		if !strings.Contains(id, "|") {
			_, s.known = view.User(id)
			id = e.issuer + "|" + id
			s.target.ID = id
		}
		s.sessions.Subject = id
		s.undo = "agents that act for the person sign in anew; grants are asked for anew"
	default:
		s.sessions.ID = id
		s.undo = "a session stays ended; its agent opens another when it signs in anew, and its grants stand"
	}
	of := s.sessions
	if !s.known {
		list, err := e.sessions.Of(ctx, of, 1)
		if err != nil {
			return err
		}
		s.known = len(list) > 0
	}
	s.grants = func(g *grant.Grant) bool {
		return of.ID == "" && matches(of, g.Party.Agent, access.Subject{Issuer: g.Party.Issuer, ID: g.Party.Subject})
	}
	s.requests = func(r *grant.Request) bool {
		return (of.ID == "" || of.ID == r.Session) && matches(of, r.Party.Agent, access.Subject{Issuer: r.Party.Issuer, ID: r.Party.Subject})
	}
	s.whose = func(who *access.Identity) bool {
		return (of.ID == "" || of.ID == who.Session) && matches(of, who.Actor.Agent, who.Subject)
	}
	s.calls = func(r *access.Request, _ string) bool { return s.whose(&r.Who) }
	if !s.known {
		s.known = len(e.broker.Falls(s.grants)) > 0
	}
	return nil
}

func (e *Effects) ofGrant(ctx context.Context, s *reach) error {
	_, known, err := e.broker.Archive().Grant(ctx, s.target.ID)
	if err != nil {
		return err
	}
	s.known, s.op, s.class = known, OpGrant, access.ClassApproval
	s.grants = func(g *grant.Grant) bool { return g.ID == s.target.ID }
	tree := map[string]bool{}
	for _, g := range e.broker.Falls(s.grants) {
		tree[g.ID] = true
	}
	s.calls = func(_ *access.Request, grant string) bool { return tree[grant] }
	s.undo = "a grant stays ended; the agent asks anew, or somebody makes another"
	return nil
}

func (e *Effects) ofServer(s *reach) error {
	id := s.target.ID
	old, known := e.admin.Current().View.Server(id)
	s.known, s.op, s.class, s.server = known, OpServer, access.ClassServer, id
	s.grants = func(g *grant.Grant) bool { return g.Target.Server == id }
	s.requests = func(r *grant.Request) bool { return r.Target.Server == id }
	s.calls = func(r *access.Request, _ string) bool { return r.Server == id }
	s.undo = "rutile server approve " + id + " puts it back into use; grants for it are asked for anew"
	if known && can(registry.ServerVerb(old.State, registry.ServerQuarantined)) {
		s.will = []string{"server " + id + " is quarantined, and its processes end"}
	}
	s.act = func(ctx context.Context, actor Actor, why string) ([]string, func(context.Context) credential.Ended, error) {
		if len(s.will) == 0 {
			return nil, nil, nil
		}
		_, err := e.admin.ChangeServer(ctx, actor, id, registry.VerbQuarantine, why)
		return s.will, nil, already(err)
	}
	return nil
}

// already is err, but nil for somebody having been faster.
func already(err error) error {
	if access.CodeOf(err) == access.CodeConflict {
		return nil
	}
	return err
}

// toolTarget splits "server/name" and, where it ends in one, "@sha256:…".
func toolTarget(id string) (server, name, digest string, err error) {
	if i := strings.LastIndex(id, "@sha256:"); i > 0 {
		id, digest = id[:i], id[i+1:]
	}
	server, name, ok := strings.Cut(id, "/")
	if !ok || server == "" || name == "" {
		return "", "", "", access.Errorf(access.CodeInvalid, "name a tool as SERVER/TOOL or SERVER/TOOL@sha256:…, not %q", clip(id))
	}
	return server, name, digest, nil
}

func (e *Effects) ofTool(s *reach) error {
	server, name, digest, err := toolTarget(s.target.ID)
	if err != nil {
		return err
	}
	tool, known := e.admin.Current().View.Tool(server, name)
	if known && digest != "" && digest != tool.PinDigest && digest != tool.SeenDigest {
		return access.Errorf(access.CodeConflict, "%s/%s has another definition than %s: see rutile tool show %s %s", clip(server), clip(name), clip(digest), clip(server), clip(name))
	}
	s.known, s.op, s.class = known, OpTool, access.ClassTool
	s.grants = func(g *grant.Grant) bool { return g.Target.Server == server && nameOf(g.Target) == name }
	s.requests = func(r *grant.Request) bool { return r.Target.Server == server && nameOf(r.Target) == name }
	s.calls = func(r *access.Request, _ string) bool {
		return r.Server == server && registry.NameOf(kindOf(r.Kind), r.Target) == name
	}
	s.undo = fmt.Sprintf("rutile tool release %s %s and then rutile tool approve %s %s; grants for it are asked for anew", server, name, server, name)
	if _, err := registry.ChangeTool(tool, registry.VerbQuarantine); known && err == nil {
		s.will = []string{"tool " + server + "/" + name + " is quarantined"}
	}
	s.act = func(ctx context.Context, actor Actor, why string) ([]string, func(context.Context) credential.Ended, error) {
		if len(s.will) == 0 {
			return nil, nil, nil
		}
		_, err := e.admin.ChangeTool(ctx, actor, server, name, registry.VerbQuarantine, why)
		return s.will, nil, already(err)
	}
	return nil
}

// nameOf is how the registry calls a target.
func nameOf(t grant.Target) string { return registry.NameOf(kindOf(t.Kind), t.Name) }

func (e *Effects) ofCredential(ctx context.Context, s *reach) error {
	id := s.target.ID
	cur := e.admin.Current()
	list, err := e.admin.ListCredentials(ctx)
	if err != nil {
		return err
	}
	s.known = slices.ContainsFunc(list, func(c Credential) bool { return c.ID == id })
	s.op, s.class = OpCredential, access.ClassServer
	servers := map[string]bool{}
	for _, v := range cur.View.Servers() {
		if c := v.Credential; c != nil {
			src := cur.Sources[c.Ref]
			servers[v.ID] = c.Ref == id || slices.Contains(src.Seeds(), id)
		}
	}
	s.calls = func(r *access.Request, _ string) bool { return servers[r.Server] }
	s.undo = "rutile credential set " + id + " (a sealed one), or apply its manifest (a declared one); what was minted of it stays ended"
	if s.known {
		s.will = []string{"credential " + id + " is removed: servers that name it cannot be called with it"}
	}
	s.act = func(ctx context.Context, actor Actor, _ string) ([]string, func(context.Context) credential.Ended, error) {
		end, err := e.admin.removeCredential(ctx, actor, id)
		if access.CodeOf(err) == access.CodeNotFound {
			return nil, nil, nil
		}
		return s.will, end, err
	}
	return nil
}

// ofApprover is of a person as somebody who approves: what they approved ends with
// what they signed in with.
func (e *Effects) ofApprover(s *reach) error {
	id := s.target.ID
	if !strings.Contains(id, ":") {
		id = "user:" + id
		s.target.ID = id
	}
	name, person := strings.CutPrefix(id, "user:")
	user, registered := e.admin.Current().View.User(name)
	by := func(list []grant.Approval) bool {
		return slices.ContainsFunc(list, func(a grant.Approval) bool { return a.By == id })
	}
	s.op, s.class = OpUser, access.ClassApproval
	s.grants = func(g *grant.Grant) bool { return by(g.Approvals) }
	s.requests = func(r *grant.Request) bool { return by(r.Approvals) }
	tree := map[string]bool{}
	for _, g := range e.broker.Falls(s.grants) {
		tree[g.ID] = true
	}
	s.calls = func(_ *access.Request, grant string) bool { return tree[grant] }
	s.known = person && registered || len(tree) > 0 || len(e.broker.Pending(s.requests)) > 0
	s.undo = "the person signs in anew and may approve again; what they approved is asked for anew. To keep them out: rutile user suspend " + name
	if person && registered && len(user.Tokens) > 0 {
		s.will = append(s.will, access.Count(int64(len(user.Tokens)), "personal token")+" of "+name+" ended")
	}
	s.act = func(ctx context.Context, actor Actor, why string) (said []string, _ func(context.Context) credential.Ended, err error) {
		if person && registered {
			n, err := e.admin.endTokens(ctx, actor, name, why)
			if err != nil {
				return nil, nil, err
			}
			if n > 0 {
				said = append(said, access.Count(int64(n), "personal token")+" of "+name+" ended")
			}
		}
		if n := e.people.SignOut(id); n > 0 {
			said = append(said, access.Count(int64(n), "sign-in")+" to the console ended")
		}
		return said, nil, nil
	}
	return nil
}

// endTokens ends all personal tokens of a user and says how many there were.
func (a *Admin) endTokens(ctx context.Context, actor Actor, user, why string) (n int, err error) {
	if u, ok := a.Current().View.User(user); !ok || len(u.Tokens) == 0 {
		return 0, nil
	}
	err = a.change(ctx, actor, func(cur *Current) (*draft, error) {
		u, ok := cur.View.User(user)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "user %q is not registered: see rutile user list", clip(user))
		}
		n = len(u.Tokens)
		u.Tokens, u.Changed = nil, a.now()
		return userDraft(u, "revoke-token", strings.TrimSuffix("all tokens: "+why, ": "), map[string]any{"tokens": n}), nil
	})
	return n, err
}
