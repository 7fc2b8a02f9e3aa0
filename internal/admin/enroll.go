package admin

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
	"rutile/internal/registry"
)

// Bounds of enrollment.
const (
	DefaultCodeTTL = 10 * time.Minute
	maxCodeTTL     = time.Hour
	maxCodes       = 16 // open codes of one agent
	maxAllKeys     = 64 // keys of one agent, those of its manifest included
)

// Invitation is an enrollment code as it is given out, once.
type Invitation struct {
	Code    string    `json:"code"` // a secret
	Agent   string    `json:"agent"`
	Expires time.Time `json:"expires"`
}

// Invite makes a code that lets whoever holds it add one key to an agent, once
// and within ttl; 0 is ten minutes. Only the public half of it is kept.
func (a *Admin) Invite(ctx context.Context, actor Actor, id string, ttl time.Duration) (Invitation, error) {
	if ttl == 0 {
		ttl = DefaultCodeTTL
	}
	if ttl < time.Minute || ttl > maxCodeTTL {
		return Invitation{}, access.Errorf(access.CodeInvalid, "an enrollment code lives between 1m and %s, not %s", maxCodeTTL, ttl)
	}
	code, public, err := identity.NewEnrollmentCode(id)
	if err != nil {
		return Invitation{}, err
	}
	expires := a.now().Add(ttl)
	err = a.change(ctx, actor, func(cur *Current) (*draft, error) {
		next, err := a.enrolling(cur, id)
		if err != nil {
			return nil, err
		}
		if len(next.Codes) >= maxCodes {
			return nil, access.Errorf(access.CodeConflict, "agent %q has %d open enrollment codes already: wait until one expires", id, maxCodes)
		}
		next.Codes = append(next.Codes, registry.EnrollmentCode{Public: public, Expires: expires, By: actor.String()})
		return enrollment(next, "invite", "", map[string]any{"expires": expires}), nil
	})
	if err != nil {
		return Invitation{}, err
	}
	return Invitation{Code: code, Agent: id, Expires: expires}, nil
}

// Redeem adds a key to an agent with a code. It fails in one way for every code
// that does not count, and a code counts once, whoever is first.
func (a *Admin) Redeem(ctx context.Context, e identity.Enrollment) error {
	jwk, problem := checked(e.Key)
	if problem != "" {
		return access.Errorf(access.CodeInvalid, "the key %s", problem)
	}
	return a.change(ctx, System(), func(cur *Current) (*draft, error) {
		next, err := a.enrolling(cur, e.Agent)
		i := slices.IndexFunc(next.Codes, func(c registry.EnrollmentCode) bool { return c.Public == e.Code })
		if err != nil || i < 0 {
			return nil, access.Errorf(access.CodeDenied, "the enrollment code does not count: it was used, has expired or was never given out here; ask for a new one from rutile agent enroll")
		}
		by := next.Codes[i].By
		next.Codes = slices.Delete(next.Codes, i, i+1)
		if !slices.ContainsFunc(next.Keys, func(k json.RawMessage) bool { return string(k) == string(jwk) }) {
			if len(next.Keys) >= maxAllKeys {
				return nil, access.Errorf(access.CodeConflict, "the agent has %d keys already: remove one with rutile agent unenroll", maxAllKeys)
			}
			next.Keys = append(next.Keys, jwk)
			next.Enrolled = append(next.Enrolled, registry.EnrolledKey{JWK: string(jwk), At: a.now(), By: by})
			order(&next)
		}
		return enrollment(next, "enroll", "key "+identity.KeyID(jwk)+", with a code of "+by, map[string]any{"key": identity.KeyID(jwk)}), nil
	})
}

// Unenroll removes enrolled keys of an agent: the one whose id begins with key,
// or every one if key is "". Their sessions end with them. Keys of the manifest
// stay, and open codes go.
func (a *Admin) Unenroll(ctx context.Context, actor Actor, id, key, why string) (registry.Agent, error) {
	if err := checkReason(why); err != nil {
		return registry.Agent{}, err
	}
	var out registry.Agent
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, ok := cur.View.Agent(id)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "agent %q is not registered", clip(id))
		}
		next := old
		var gone, stay []registry.EnrolledKey
		for _, k := range old.Enrolled {
			if strings.HasPrefix(identity.KeyID(json.RawMessage(k.JWK)), key) {
				gone = append(gone, k)
			} else {
				stay = append(stay, k)
			}
		}
		if key != "" && len(gone) != 1 {
			return nil, access.Errorf(access.CodeNotFound, "%d enrolled keys of agent %q begin with %q: name one as rutile agent show %s lists it", len(gone), id, clip(key), id)
		}
		next.Enrolled, next.Keys, next.Codes = stay, nil, nil
		var ids []string
		for _, k := range gone {
			ids = append(ids, identity.KeyID(json.RawMessage(k.JWK)))
		}
		for _, k := range old.Keys {
			if !slices.ContainsFunc(gone, func(g registry.EnrolledKey) bool { return g.JWK == string(k) }) {
				next.Keys = append(next.Keys, k)
			}
		}
		out = next
		if len(gone) == 0 && len(old.Codes) == 0 {
			return newDraft(), nil
		}
		next.Changed = a.now()
		out = next
		return enrollment(next, "unenroll", why, map[string]any{"keys": ids}), nil
	})
	return out, err
}

// enrolling returns an agent that may get a key now, without its expired codes
// and with lists of its own.
func (a *Admin) enrolling(cur *Current, id string) (registry.Agent, error) {
	x, ok := cur.View.Agent(id)
	if !ok {
		return registry.Agent{}, access.Errorf(access.CodeNotFound, "agent %q is not registered: see rutile agent list", clip(id))
	}
	now := a.now()
	if err := registry.Usable(x, now); err != nil {
		return registry.Agent{}, err
	}
	x.Codes = slices.DeleteFunc(slices.Clone(x.Codes), func(c registry.EnrollmentCode) bool { return !now.Before(c.Expires) })
	x.Keys, x.Enrolled, x.Changed = slices.Clone(x.Keys), slices.Clone(x.Enrolled), now
	return x, nil
}

func enrollment(next registry.Agent, verb, why string, detail any) *draft {
	d := newDraft()
	d.changes.Agents[next.ID] = &next
	d.records = []record{{verb: verb, kind: kindAgent, object: next.ID, reason: why, detail: detail}}
	return d
}

// order keeps keys where equal states are equal bytes.
func order(x *registry.Agent) {
	slices.SortFunc(x.Keys, func(a, b json.RawMessage) int { return strings.Compare(string(a), string(b)) })
	slices.SortFunc(x.Enrolled, func(a, b registry.EnrolledKey) int { return strings.Compare(a.JWK, b.JWK) })
}
