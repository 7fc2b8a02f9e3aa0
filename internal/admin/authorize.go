package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Op is an operation on the gateway itself, as policy/office.cedar names it.
type Op string

// The operations. Which role is enough for which stands in policy/office.cedar.
const (
	OpRead       Op = "registry.read"     // registry, policies, state of the gateway, requests
	OpEvidence   Op = "evidence.read"     // search, show, prove, export
	OpReindex    Op = "evidence.reindex"  // rebuild the search index
	OpErase      Op = "evidence.erase"    // destroy the keys of a person
	OpApply      Op = "registry.apply"    // apply manifests; each object it changes is decided besides
	OpAgent      Op = "agent.change"      // register, change, enroll
	OpToken      Op = "agent.token"       // print a development token
	OpServer     Op = "server.change"     // register, approve, quarantine …
	OpTool       Op = "tool.change"       // approve a definition, quarantine …
	OpPolicy     Op = "policy.change"     // register, replace
	OpRehearse   Op = "policy.rehearse"   // try rules on live and recorded calls, and see how rights are used
	OpCredential Op = "credential.change" // seal, rotate, remove, declare
	OpUser       Op = "user.change"       // people, their roles and their tokens
	OpTeam       Op = "team.change"       // who belongs to which team
	OpDecide     Op = "request.decide"    // approve or deny what agents ask for
	OpGrant      Op = "grant.change"      // make and revoke grants, open and close tasks for agents
	OpBreak      Op = "grant.break"       // give an agent a right alone, in an emergency
	OpReview     Op = "grant.review"      // look at what was taken alone
	OpSession    Op = "session.change"    // end sessions, release them from quarantine
	OpInventory  Op = "inventory.change"  // report what was found, merge, enroll machines
	OpFinding    Op = "finding.change"    // assign findings, mute them
	OpReport     Op = "decision.report"   // say that a denial was wrong
	OpOwn        Op = "own.change"        // see and end what one connected oneself, confirm what one owns
	OpOther      Op = "other.change"      // whatever has no operation of its own
)

// Ops returns every operation.
func Ops() []Op {
	return []Op{OpRead, OpEvidence, OpReindex, OpErase, OpApply, OpAgent, OpToken, OpServer, OpTool, OpPolicy, OpRehearse, OpCredential, OpUser, OpTeam, OpDecide, OpGrant, OpBreak, OpReview, OpSession, OpInventory, OpFinding, OpReport, OpOwn, OpOther}
}

// opOf returns the operation that a change of an object of this kind is. A kind
// nobody thought of is for admins.
func opOf(kind string) Op {
	switch kind {
	case kindAgent:
		return OpAgent
	case kindServer:
		return OpServer
	case kindTool:
		return OpTool
	case kindPolicy:
		return OpPolicy
	case kindTeam:
		return OpTeam
	case kindUser:
		return OpUser
	case kindEntitlement, kindFact, kindPolicySet:
		return OpPolicy
	case kindSession:
		return OpSession
	case kindCredential:
		return OpCredential
	default:
		return OpOther
	}
}

// changesState reports whether refusing an operation is worth evidence: somebody
// tried to change something.
func (op Op) changesState() bool { return op != OpRead && op != OpEvidence && op != OpRehearse }

func newOffice() (*policy.Office, error) {
	var ops, roles []string
	for _, op := range Ops() {
		ops = append(ops, string(op))
	}
	for _, r := range registry.Roles() {
		roles = append(roles, string(r))
	}
	return policy.NewOffice(ops, roles)
}

// answerers are the roles each of which is enough to answer what agents ask for.
func answerers(o *policy.Office) []registry.Role {
	out := []registry.Role{}
	for _, r := range o.RolesFor(string(OpDecide)) {
		out = append(out, registry.Role(r))
	}
	return out
}

// Answer returns the roles each of which is enough to answer what agents ask for.
func (a *Admin) Answer() []registry.Role { return a.answer }

// RolesFor returns the roles each of which is enough for an operation.
func (a *Admin) RolesFor(op Op) []string { return a.office.RolesFor(string(op)) }

// Person is a user as the person who decides something.
type Person struct {
	registry.User
	Teams []string // ids, sorted
}

// Person returns who stands behind an actor: a registered user who is active now
// and whose token or account, if it came with one, still counts. The operator token, an
// account of the machine that no user names, and the gateway itself are nobody,
// and whatever needs a person (an approval, a quorum) MUST refuse them.
func (a *Admin) Person(actor Actor) (Person, bool) {
	u, ok := a.live(a.current.Load(), actor)
	if !ok {
		return Person{}, false
	}
	return Person{User: u, Teams: a.current.Load().View.TeamsOf(u.ID)}, true
}

// live returns the active user of an actor.
func (a *Admin) live(cur *Current, actor Actor) (registry.User, bool) {
	if actor.Kind != "user" {
		return registry.User{}, false
	}
	u, ok := cur.View.User(actor.ID)
	if !ok || registry.UserStatus(u, a.now()) != registry.UserActive {
		return registry.User{}, false
	}
	if by := actor.Account; by != (Account{}) && !slices.Equal(cur.View.AccountUsers(by.UID, by.Name), []string{u.ID}) {
		return registry.User{}, false
	}
	if actor.Token != "" {
		owner, t, ok := cur.View.UserToken(actor.Token)
		if !ok || owner.ID != u.ID || !a.now().Before(t.Expires) {
			return registry.User{}, false
		}
	}
	if !actor.Since.IsZero() && actor.Since.Before(u.SignedOut) {
		return registry.User{}, false
	}
	if s := actor.Subject; s != (registry.ProviderSubject{}) && !slices.Equal(cur.View.SubjectUsers(s), []string{u.ID}) {
		return registry.User{}, false
	}
	if actor.Factor != "" {
		if _, ok := u.Factor(actor.Factor); !ok {
			return registry.User{}, false
		}
	}
	return u, true
}

// Authorize decides whether an actor may do an operation now. It returns a
// CodeUnauthenticated error for one who does not count any more and a CodeDenied
// error that names the missing role; a refused change is recorded first. It is
// what the edges ask before they do anything; every change is decided again
// where it is made, on the state it changes.
func (a *Admin) Authorize(ctx context.Context, actor Actor, op Op) error {
	return a.permit(ctx, a.current.Load(), actor, op, record{kind: "Operation", object: string(op)})
}

// permit decides one operation on a state. r says what it is about.
func (a *Admin) permit(ctx context.Context, cur *Current, actor Actor, op Op, r record) error {
	if err := actor.valid(); err != nil {
		return err
	}
	if actor.Kind == system {
		return nil // the gateway's own doing: no edge makes this actor
	}
	if actor.Kind == signalActor { // nor this one: what it may its manifest says
		if maySignal(cur, actor.ID, op) {
			return nil
		}
		return access.Errorf(access.CodeDenied, "the source of signals %q may not do this: %s is not among what its manifest lets it", clip(actor.ID), op)
	}
	u, live := a.live(cur, actor)
	if !live && (!actor.Host || actor.Token != "") {
		return unauthenticated()
	}
	if a.may(cur, actor, u, live, op) {
		return nil
	}
	need := strings.Join(a.office.RolesFor(string(op)), " or ")
	err := access.Errorf(access.CodeDenied, "user %q may not do this: %s needs the role %s; ask an admin", u.ID, op, need)
	if !op.changesState() {
		return err
	}
	r.verb, r.reason, r.detail = "refuse", fmt.Sprintf("%s needs the role %s", op, need), map[string]string{"operation": string(op)}
	if nerr := a.note(ctx, actor, r); nerr != nil {
		return nerr
	}
	return err
}

// Allows reports whether the user behind an actor may do an operation now, without
// anybody having tried to.
func (a *Admin) Allows(actor Actor, op Op) bool {
	cur := a.current.Load()
	u, live := a.live(cur, actor)
	return live && a.may(cur, actor, u, live, op)
}

// Offers reports whether Authorize would let an actor do an operation now, without
// anybody having tried to: what a page need not offer.
func (a *Admin) Offers(actor Actor, op Op) bool {
	cur := a.current.Load()
	u, live := a.live(cur, actor)
	return actor.valid() == nil && (live || actor.Host && actor.Token == "") && a.may(cur, actor, u, live, op)
}

// may asks the office about an actor, who is the user u if live.
func (a *Admin) may(cur *Current, actor Actor, u registry.User, live bool, op Op) bool {
	who := policy.Person{ID: actor.ID}
	if actor.Host {
		who.Roles = append(who.Roles, string(registry.RoleAdmin))
	}
	for _, role := range u.Roles {
		who.Roles = append(who.Roles, string(role))
	}
	if live {
		who.Teams = cur.View.TeamsOf(u.ID)
	}
	return a.office.May(who, string(op))
}

// permitAll decides every object of a planned change; one that is refused
// refuses the whole.
func (a *Admin) permitAll(ctx context.Context, cur *Current, actor Actor, d *draft) error {
	records := slices.Clone(d.records)
	for id := range d.changes.Users {
		if d.own != id {
			records = append(records, record{kind: kindUser, object: id})
		}
	}
	for id := range d.changes.Teams {
		records = append(records, record{kind: kindTeam, object: id})
	}
	for _, r := range records {
		if err := a.permit(ctx, cur, actor, cmp.Or(r.op, opOf(r.kind)), record{kind: r.kind, object: r.object}); err != nil {
			return err
		}
	}
	return nil
}

// unauthenticated is the one answer to every credential that does not count:
// unknown, wrong, revoked, expired, or of somebody who may not come in any more.
func unauthenticated() error {
	return access.Errorf(access.CodeUnauthenticated, "the token does not count: it is unknown, revoked or expired, or its user is not active; ask an admin for another")
}
