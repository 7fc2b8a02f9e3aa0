package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
	"rutile/internal/registry"
)

const kindUser = "User"

// OperatorToken is the name changes made with the operator token are recorded
// under. No user may have it.
const OperatorToken = "operator-token"

// Bounds of a user.
const (
	maxEmail    = 254
	maxAccounts = 16
)

func (d *decoder) user(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "name", "email", "roles", "localUsers", "subjects", "expires", "state", "stateWhy")
	m.id = o.id()
	if m.id == OperatorToken {
		o.fail("id", "%q is what the operator token is called: choose another id", m.id)
	}
	u := &registry.User{ID: m.id, Name: o.text("name"), Email: o.text("email"), Expires: o.date("expires"), LocalUsers: o.accounts()}
	if u.Email != "" && (len(u.Email) > maxEmail || !strings.Contains(u.Email, "@") || strings.ContainsAny(u.Email, " \t")) {
		o.fail("email", "%q is no e-mail address", clip(u.Email))
	}
	for i, s := range o.texts("roles") {
		r := registry.Role(s)
		switch {
		case s == "":
		case !slices.Contains(registry.Roles(), r):
			o.d.fail(o.members["roles"].Content[i], fmt.Sprintf("roles[%d]", i), "%q is no role: use viewer, auditor, approver, operator or admin", clip(s))
		case slices.Contains(u.Roles, r):
			o.d.fail(o.members["roles"].Content[i], fmt.Sprintf("roles[%d]", i), "%q is there twice: remove one", s)
		default:
			u.Roles = append(u.Roles, r)
		}
	}
	slices.Sort(u.Roles)
	u.Subjects = o.subjects()
	m.accounts = o.members["localUsers"]
	m.state = o.choice("state", string(registry.UserActive), string(registry.UserSuspended), string(registry.UserRetired))
	m.why = o.text("stateWhy")
	m.user = u
}

// subjects reads who identity providers say somebody is.
func (o object) subjects() []registry.ProviderSubject {
	n := o.members["subjects"]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxAccounts {
		o.fail("subjects", "must be a list of at most %d such as {issuer: https://login.example.com, subject: \"4711\"}", maxAccounts)
		return nil
	}
	var out []registry.ProviderSubject
	for i, c := range n.Content {
		field := fmt.Sprintf("subjects[%d]", i)
		k := o.d.object(c, field, "issuer", "subject")
		s := registry.ProviderSubject{Issuer: k.text("issuer"), ID: k.text("subject")}
		switch {
		case s.Issuer == "" || s.ID == "" || len(s.Issuer) > 256 || len(s.ID) > 256:
			o.d.fail(c, field, "must have an issuer and a subject, of at most 256 characters: what the provider says in iss and sub")
		case slices.Contains(out, s):
			o.d.fail(c, field, "is there twice: remove one")
		default:
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b registry.ProviderSubject) int {
		return cmp.Or(compare(a.Issuer, b.Issuer), compare(a.ID, b.ID))
	})
	return out
}

// accounts reads localUsers: names, or uids with or without quotes.
func (o object) accounts() []string {
	n := o.members["localUsers"]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxAccounts {
		o.fail("localUsers", "must be a list of at most %d accounts: names or uids", maxAccounts)
		return nil
	}
	var out []string
	for i, c := range n.Content {
		field := fmt.Sprintf("localUsers[%d]", i)
		s := c.Value
		switch number := c.Kind == yaml.ScalarNode && c.Tag == "!!int"; {
		case number && strings.Trim(s, "0123456789") != "":
			o.d.fail(c, field, "%q is no uid: write it in decimal", clip(s))
			continue
		case !number:
			if s = o.d.text(c, field); s == "" {
				continue
			}
		}
		if err := registry.ValidAccount(s); err != nil {
			o.d.fail(c, field, "%s", err)
			continue
		}
		if slices.Contains(out, s) {
			o.d.fail(c, field, "%q is there twice: remove one", clip(s))
			continue
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// user plans one user. Tokens and factors are no part of a manifest and stay.
func (p *planner) user(m *manifest, it *Item) {
	old, exists := p.cur.View.User(m.id)
	next := *m.user
	next.Created, next.Changed, next.State, next.StateBy = p.now, p.now, registry.UserActive, p.by
	if exists {
		next.Created, next.State, next.StateWhy, next.StateBy = old.Created, old.State, old.StateWhy, old.StateBy
		next.Tokens, next.Factors, next.SignedOut = old.Tokens, old.Factors, old.SignedOut
	}
	switch want := registry.UserState(m.state); {
	case want == "" || want == next.State:
	case !exists:
		next.State, next.StateWhy = want, m.why
	case old.State == registry.UserRetired:
		it.note("is retired, which is the end: give the person another id")
	case registry.UserVerb(old.State, want) == registry.VerbResume:
		it.note("is %s: apply does not lift that; use rutile user resume %s", old.State, m.id)
	default:
		changed, err := registry.ChangeUser(next, registry.UserVerb(old.State, want), p.by, m.why, p.now)
		if err != nil {
			p.fail(m, "state", "%s", err)
			return
		}
		next = changed
	}
	if !exists && m.why != "" {
		next.StateWhy = m.why
	}
	for _, account := range next.LocalUsers {
		if other := p.accounts[account]; other != "" && other != m.id && next.State != registry.UserRetired {
			at := Problem{File: m.place.File, Line: m.place.Line, Column: m.place.Column, Field: "localUsers"}
			for i, n := range m.accounts.Content {
				if n.Value == account {
					at.Line, at.Column, at.Field = n.Line, n.Column, fmt.Sprintf("localUsers[%d]", i)
				}
			}
			at.Msg = fmt.Sprintf("the account %q is user %q's already: an account is one person's", account, other)
			p.problems = append(p.problems, at)
		}
	}
	for _, s := range next.Subjects {
		if other := p.subjects[s]; other != "" && other != m.id && next.State != registry.UserRetired {
			p.fail(m, "subjects", "the subject %q of %s is user %q's already: a subject is one person's", clip(s.ID), clip(s.Issuer), other)
		}
	}
	if it.decide(exists, shownUser(old), shownUser(next)) {
		p.draft.changes.Users[m.id] = &next
		if registry.UserStatus(next, p.now) == registry.UserExpired {
			it.note("expired at the end of %s: it cannot act until its manifest says a later day", next.Expires.AddDate(0, 0, -1).Format(time.DateOnly))
		}
	}
}

// shownUser is a user as plans and evidence show it.
func shownUser(u registry.User) registry.User {
	u.Tokens = bareTokens(u.Tokens)
	return u
}

// bareTokens leaves out the digests.
func bareTokens(list []registry.UserToken) []registry.UserToken {
	out := slices.Clone(list)
	for i := range out {
		out[i].Hash = nil
	}
	return out
}

// people prepares what users and teams are checked against: whose each account
// is once everything is applied.
func (p *planner) people(manifests []*manifest) {
	p.users, p.accounts, p.subjects = map[string]bool{}, map[string]string{}, map[registry.ProviderSubject]string{}
	declared := map[string]bool{}
	for _, m := range manifests {
		if m.kind == kindUser {
			declared[m.id], p.users[m.id] = true, true
		}
	}
	for _, u := range p.cur.View.Users() {
		p.users[u.ID] = true
		if declared[u.ID] || u.State == registry.UserRetired {
			continue
		}
		for _, account := range u.LocalUsers {
			p.accounts[account] = u.ID
		}
		for _, s := range u.Subjects {
			p.subjects[s] = u.ID
		}
	}
	for _, m := range manifests {
		if m.kind != kindUser || m.state == string(registry.UserRetired) {
			continue
		}
		if old, ok := p.cur.View.User(m.id); ok && old.State == registry.UserRetired {
			continue
		}
		for _, account := range m.user.LocalUsers {
			if p.accounts[account] == "" {
				p.accounts[account] = m.id
			}
		}
		for _, s := range m.user.Subjects {
			if p.subjects[s] == "" {
				p.subjects[s] = m.id
			}
		}
	}
}

func (e *emitter) user(u registry.User) {
	e.document(kindUser, u.ID)
	e.text(0, "name", u.Name)
	e.text(0, "email", u.Email)
	var roles []string
	for _, r := range u.Roles {
		roles = append(roles, string(r))
	}
	e.list(0, "roles", roles)
	e.list(0, "localUsers", u.LocalUsers)
	e.subjects(u.Subjects)
	if !u.Expires.IsZero() {
		e.line(0, "expires", u.Expires.UTC().AddDate(0, 0, -1).Format(time.DateOnly))
	}
	e.text(0, "state", string(u.State))
	e.text(0, "stateWhy", u.StateWhy)
}

func (e *emitter) subjects(list []registry.ProviderSubject) {
	if len(list) == 0 {
		return
	}
	e.open(0, "subjects")
	for _, s := range list {
		e.item(1, "issuer", s.Issuer)
		e.text(2, "subject", s.ID)
	}
}

// ChangeUser suspends, resumes or retires a user. Tokens of a user who is not
// active do not count, and retiring removes them. A verb the state does not
// allow is a CodeConflict error.
func (a *Admin) ChangeUser(ctx context.Context, actor Actor, id string, verb registry.Verb, why string) (registry.User, error) {
	if err := checkReason(why); err != nil {
		return registry.User{}, err
	}
	var out registry.User
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, ok := cur.View.User(id)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "user %q is not registered", clip(id))
		}
		next, err := registry.ChangeUser(old, verb, actor.String(), why, a.now())
		if err != nil {
			return nil, err
		}
		out = next
		return userDraft(next, string(verb), why, fieldsOf(shownUser(old), shownUser(next))), nil
	})
	return out, err
}

func userDraft(next registry.User, verb, why string, detail any) *draft {
	d := newDraft()
	d.changes.Users[next.ID] = &next
	d.records = []record{{verb: verb, kind: kindUser, object: next.ID, reason: why, detail: detail}}
	return d
}

// LocalActor returns who an account of the gateway's machine acts as. An account
// that exactly one active user names is that user; host says that it is root or
// the gateway's own, which are admins besides and act under their uid where no
// such user is. Everybody else is refused, and so is everybody but them while
// the store does not answer.
func (a *Admin) LocalActor(ctx context.Context, account Account, host bool) (Actor, error) {
	cur, err := a.fresh(ctx)
	if err != nil && !host {
		return Actor{}, err
	}
	if err != nil {
		cur = a.current.Load() // what root does without a store is mending it
	}
	view := cur.View
	ids := view.AccountUsers(account.UID, account.Name)
	if len(ids) == 1 {
		u, _ := view.User(ids[0])
		if registry.UserStatus(u, a.now()) == registry.UserActive {
			return Actor{Kind: "user", ID: u.ID, Host: host, Account: account}, nil
		}
	}
	switch {
	case host:
		return Actor{Kind: "local", ID: account.UID, Host: true}, nil
	case len(ids) > 1:
		return Actor{}, access.Errorf(access.CodeDenied, "the users %s all name the account with uid %s, so nobody can say who calls: an admin must remove it from all but one", strings.Join(ids, ", "), account.UID)
	default:
		return Actor{}, access.Errorf(access.CodeDenied, "user %s may not administer this gateway: only root, the user who runs it, and accounts that an active User names in localUsers may", account.UID)
	}
}
