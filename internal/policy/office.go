package policy

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

//go:embed office.cedar
var officeText []byte

// The entity types of office.cedar.
const (
	typeOfficeUser   = types.EntityType("Rutile::User")
	typeOfficeRole   = types.EntityType("Rutile::Role")
	typeOfficeTeam   = types.EntityType("Rutile::Team")
	typeOfficeAction = types.EntityType("Rutile::Action")
	typeOffice       = types.EntityType("Rutile::Gateway")
	anyOperation     = "any" // what every operation is in
)

var officeNames = regexp.MustCompile(`Rutile::(Action|Role)::"([^"]*)"`)

// Office decides what people may do with the gateway itself: the same engine and
// the same rules as for agents (default deny, forbid wins, an error denies) over
// a text that is part of the program. It is immutable and safe for concurrent
// use.
type Office struct {
	policies *cedar.PolicySet
	actions  types.EntityMap // every known operation
	roles    []string
}

// Person is who asks, as far as office.cedar knows people.
type Person struct {
	ID    string
	Roles []string
	Teams []string
}

// NewOffice returns the office of these operations and roles. An operation or
// role its text names and the caller does not is an error, so that a spelling
// mistake in either cannot go unseen.
func NewOffice(operations, roles []string) (*Office, error) {
	set, err := cedar.NewPolicySetFromBytes("office.cedar", officeText)
	if err != nil {
		return nil, fmt.Errorf("policy: reading office.cedar: %w", err)
	}
	o := &Office{policies: set, actions: types.EntityMap{}, roles: slices.Clone(roles)}
	group := types.NewEntityUIDSet(types.NewEntityUID(typeOfficeAction, anyOperation))
	for _, op := range operations {
		id := types.NewEntityUID(typeOfficeAction, types.String(op))
		o.actions[id] = types.Entity{UID: id, Parents: group}
	}
	for _, m := range officeNames.FindAllSubmatch(officeText, -1) {
		kind, name := string(m[1]), string(m[2])
		known := operations
		if kind == "Role" {
			known = roles
		}
		if name != anyOperation && !slices.Contains(known, name) {
			return nil, fmt.Errorf("policy: office.cedar names the unknown %s %q", strings.ToLower(kind), name)
		}
	}
	return o, nil
}

// May reports whether a person may do an operation. One that is not known is
// refused to everybody.
func (o *Office) May(p Person, operation string) bool {
	self := types.NewEntityUID(typeOfficeUser, types.String(p.ID))
	action := types.NewEntityUID(typeOfficeAction, types.String(operation))
	if _, known := o.actions[action]; !known {
		return false
	}
	var parents []types.EntityUID
	for _, r := range p.Roles {
		parents = append(parents, types.NewEntityUID(typeOfficeRole, types.String(r)))
	}
	for _, t := range p.Teams {
		parents = append(parents, types.NewEntityUID(typeOfficeTeam, types.String(t)))
	}
	entities := types.EntityMap{
		self:   {UID: self, Parents: types.NewEntityUIDSet(parents...)},
		action: o.actions[action],
	}
	decision, diag := cedar.Authorize(o.policies, entities, cedar.Request{Principal: self, Action: action, Resource: types.NewEntityUID(typeOffice, "self")})
	return bool(decision) && len(diag.Errors) == 0
}

// RolesFor returns the roles each of which is enough for an operation, in the
// order the office was given them.
func (o *Office) RolesFor(operation string) []string {
	return slices.DeleteFunc(slices.Clone(o.roles), func(r string) bool { return !o.May(Person{Roles: []string{r}}, operation) })
}
