package registry

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// Role is what a person may do with the gateway itself. Which operation needs
// which role is decided elsewhere.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleApprover Role = "approver"
	RoleAuditor  Role = "auditor"
	RoleAdmin    Role = "admin"
)

// Roles returns every role, least first.
func Roles() []Role {
	return []Role{RoleViewer, RoleAuditor, RoleApprover, RoleOperator, RoleAdmin}
}

// UserState is where a person's account is in its life.
type UserState string

// The states of a user. Expired is derived from User.Expires, never stored.
const (
	UserActive    UserState = "active"
	UserSuspended UserState = "suspended"
	UserRetired   UserState = "retired"
	UserExpired   UserState = "expired"
)

// User is a person who works with the gateway. Which teams a user belongs to is
// written at the teams (Team.Members).
type User struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`  // shown, never identity
	Email string `json:"email,omitempty"` // shown, never identity
	Roles []Role `json:"roles,omitempty"`
	// LocalUsers are accounts of the gateway's machine, by name or uid, whose
	// requests on the unix socket are this person's.
	LocalUsers []string  `json:"localUsers,omitempty"`
	Expires    time.Time `json:"expires,omitzero"` // end of that day, UTC; zero is never
	// Subjects are who the person is to identity providers that sign them in. One is one
	// person's.
	Subjects []ProviderSubject `json:"subjects,omitempty"`
	// SignedOut ends the sessions at the console that began before it.
	SignedOut time.Time   `json:"signedOut,omitzero"`
	Tokens    []UserToken `json:"tokens,omitempty"`
	Factors   []Factor    `json:"factors,omitempty"` // what the person signs in to the console with
	State     UserState   `json:"state"`
	StateWhy  string      `json:"stateWhy,omitempty"`
	StateBy   string      `json:"stateBy,omitempty"` // who put it in its state
	Created   time.Time   `json:"created"`
	Changed   time.Time   `json:"changed"`
}

// UserToken is a personal API token. The token itself is not kept.
type UserToken struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	Hash    []byte    `json:"hash,omitempty"` // SHA-256 of the token
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by"` // who made it
}

// ProviderSubject is a person as an identity provider knows them.
type ProviderSubject struct {
	Issuer string `json:"issuer"`
	ID     string `json:"subject"`
}

// SubjectUsers returns the ids of the users, not retired, that name a subject, sorted.
func (v *View) SubjectUsers(s ProviderSubject) []string {
	var out []string
	for _, u := range v.Users() {
		if u.State != UserRetired && s != (ProviderSubject{}) && slices.Contains(u.Subjects, s) {
			out = append(out, u.ID)
		}
	}
	return out
}

// FactorKind is a way to sign in to the console.
type FactorKind string

// The kinds of factors.
const (
	FactorPasskey  FactorKind = "passkey"
	FactorPassword FactorKind = "password" // with one-time codes
)

// Factor is what a person signs in with. It says that there is one: what it is checked
// against is kept elsewhere, and counts for nobody whose user does not name it.
type Factor struct {
	ID      string     `json:"id"`
	Kind    FactorKind `json:"kind"`
	Name    string     `json:"name,omitempty"`
	Created time.Time  `json:"created"`
	By      string     `json:"by"`            // who added it
	Key     string     `json:"key,omitempty"` // of a passkey: SHA-256 of its public key, base64url, as its signatures' evidence names it
}

// Factor returns a factor of the user.
func (u *User) Factor(id string) (Factor, bool) {
	i := slices.IndexFunc(u.Factors, func(f Factor) bool { return f.ID == id })
	if i < 0 || id == "" {
		return Factor{}, false
	}
	return u.Factors[i], true
}

// Has reports whether the user has a factor of a kind.
func (u *User) Has(k FactorKind) bool {
	return slices.ContainsFunc(u.Factors, func(f Factor) bool { return f.Kind == k })
}

// Matches compares the SHA-256 of a presented token in constant time.
func (t UserToken) Matches(hash [32]byte) bool {
	return subtle.ConstantTimeCompare(t.Hash, hash[:]) == 1
}

// UserStatus returns the state that counts at now: the stored one, or expired.
func UserStatus(u User, now time.Time) UserState {
	if u.State == UserActive && !u.Expires.IsZero() && !now.Before(u.Expires) {
		return UserExpired
	}
	return u.State
}

func userRules() []rule[UserState] {
	return []rule[UserState]{
		{VerbSuspend, UserSuspended, []UserState{UserActive}},
		{VerbResume, UserActive, []UserState{UserSuspended}},
		{VerbRetire, UserRetired, []UserState{UserActive, UserSuspended}},
	}
}

// ChangeUser returns the user after by asked for verb, or a CodeConflict error
// that names its state. Who retires loses the tokens and factors for good.
func ChangeUser(u User, verb Verb, by, why string, now time.Time) (User, error) {
	to, err := next(fmt.Sprintf("user %q", u.ID), userRules(), verb, u.State)
	if err != nil {
		return User{}, err
	}
	u.State, u.StateBy, u.StateWhy, u.Changed = to, by, why, now
	if to == UserRetired {
		u.Tokens, u.Factors = nil, nil
	}
	return u, nil
}

// UserVerb returns the verb that leads from one state to the other, "" if no
// single step does.
func UserVerb(from, to UserState) Verb { return verbFor(userRules(), from, to) }

// User returns a user by id.
func (v *View) User(id string) (User, bool) { u, ok := v.users[id]; return u, ok }

// Users returns every user, sorted by id.
func (v *View) Users() []User { return sortedBy(v.users, func(u User) string { return u.ID }) }

// TeamsOf returns the ids of the teams that name a user as a member, sorted.
func (v *View) TeamsOf(user string) []string {
	var out []string
	for _, t := range v.Teams() {
		if slices.Contains(t.Members, user) {
			out = append(out, t.ID)
		}
	}
	return out
}

// UserToken returns a personal token by its id and whose it is, whether either
// counts or not.
func (v *View) UserToken(id string) (User, UserToken, bool) {
	u, ok := v.users[v.userTokens[id]]
	i := slices.IndexFunc(u.Tokens, func(t UserToken) bool { return t.ID == id })
	if !ok || i < 0 {
		return User{}, UserToken{}, false
	}
	return u, u.Tokens[i], true
}

// AccountUsers returns the ids of the users, not retired, that name an account
// of the machine by its uid or its name, sorted. An empty name is none.
func (v *View) AccountUsers(uid, name string) []string {
	var out []string
	for _, u := range v.Users() {
		if u.State != UserRetired && (slices.Contains(u.LocalUsers, uid) || name != "" && slices.Contains(u.LocalUsers, name)) {
			out = append(out, u.ID)
		}
	}
	return out
}

// checkUsers refuses what would leave open who is meant.
func checkUsers(users []User) error {
	tokens := map[string]bool{}
	for _, u := range users {
		for _, t := range u.Tokens {
			if tokens[t.ID] || t.ID == "" {
				return fmt.Errorf("indexing the registry: token %q of user %q is there twice or has no id", t.ID, u.ID)
			}
			tokens[t.ID] = true
		}
	}
	return nil
}

// tokenIndex says whose each personal token is.
func tokenIndex(users map[string]User) map[string]string {
	out := map[string]string{}
	for id, u := range users {
		for _, t := range u.Tokens {
			out[t.ID] = id
		}
	}
	return out
}

// ValidAccount says why s cannot name an account of the machine, nil if it can:
// a uid in decimal without leading zeros, or a name.
func ValidAccount(s string) error {
	digits := strings.Trim(s, "0123456789") == ""
	switch {
	case s == "" || len(s) > 64 || strings.ContainsAny(s, ":/ \t"):
		return access.Errorf(access.CodeInvalid, "%q cannot be an account: write its name or its uid", s)
	case digits && (len(s) > 10 || len(s) > 1 && s[0] == '0'):
		return access.Errorf(access.CodeInvalid, "%q is no uid: write it in decimal without leading zeros", s)
	}
	return nil
}
