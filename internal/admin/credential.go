package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/notice"
	"rutile/internal/signal"
	"rutile/internal/sink"
	"rutile/internal/webhook"
)

// Credential is a credential as operators see it, sealed or declared, without its
// value.
type Credential struct {
	credential.Secret        // of a declared one its id, servers, origins, tier and times
	Kind              string `json:"kind"` // sealed, or the kind of its source
	Owner             string `json:"owner,omitempty"`
	State             string `json:"state"`
	Why               string `json:"why,omitempty"` // and what to do where it is not ready
	// LastUsed is when it was last opened or minted for something, Minted the version
	// of what was minted then, and Expires when that ends by itself.
	LastUsed time.Time `json:"lastUsed,omitzero"`
	Minted   string    `json:"minted,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	Seeds    []string  `json:"seeds,omitempty"`  // sealed credentials it is minted with
	UsedBy   []string  `json:"usedBy,omitempty"` // servers that name it, credentials it is a seed of, webhooks and sinks
	Source   any       `json:"source,omitempty"` // as declared, where one is shown
}

// KindSealed is the kind of a credential that is kept.
const KindSealed = "sealed"

// The states of a credential.
const (
	CredentialReady      = "ready"
	CredentialUnbound    = "unbound"    // goes nowhere yet
	CredentialIncomplete = "incomplete" // a seed is not sealed
	CredentialElsewhere  = "elsewhere"  // a server that names it is where it does not go
	CredentialUnused     = "unused"     // nothing names it
)

// ListCredentials returns the sealed and declared credentials without their values,
// sorted by id.
func (a *Admin) ListCredentials(ctx context.Context) ([]Credential, error) {
	sealed, err := a.vault.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing credentials: %w", err)
	}
	uses, err := a.vault.Used(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the uses of credentials: %w", err)
	}
	cur := a.current.Load()
	known := map[string]bool{}
	out := make([]Credential, 0, len(sealed)+len(cur.Sources))
	for _, s := range sealed {
		known[s.ID] = true
		out = append(out, Credential{Secret: s, Kind: KindSealed})
	}
	for _, id := range keysOf(cur.Sources) {
		s := cur.Sources[id]
		c := Credential{Secret: credential.Secret{ID: id, Servers: s.Servers, Origins: s.Origins, MaxTier: s.MaxTier, Created: s.Created}, Kind: s.Kind(), Owner: s.Owner, Seeds: s.Seeds()}
		if !s.Changed.Equal(s.Created) {
			c.Rotated = s.Changed
		}
		out = append(out, c)
	}
	for i := range out {
		c := &out[i]
		if u, ok := uses[c.ID]; ok && !u.At.Before(c.Created) { // not of an earlier one of the name
			c.LastUsed, c.Expires = u.At, u.Expires
			if c.Kind != KindSealed {
				c.Minted = u.Version
			}
		}
		c.stand(cur, known)
	}
	slices.SortFunc(out, func(x, y Credential) int { return compare(x.ID, y.ID) })
	return out, nil
}

// ShowCredential returns one of them, with how it is declared.
func (a *Admin) ShowCredential(ctx context.Context, id string) (Credential, error) {
	list, err := a.ListCredentials(ctx)
	if err != nil {
		return Credential{}, err
	}
	i := slices.IndexFunc(list, func(c Credential) bool { return c.ID == id })
	if i < 0 {
		return Credential{}, access.Errorf(access.CodeNotFound, "there is no credential %q: see rutile credential list", clip(id))
	}
	c := list[i]
	if s, ok := a.current.Load().Sources[id]; ok && c.Kind != KindSealed {
		c.Source = map[string]any{c.Kind: s.Spec()}
	}
	return c, nil
}

// stand says what state c is in; known are the sealed credentials.
func (c *Credential) stand(cur *Current, known map[string]bool) {
	c.State = CredentialReady
	var away string
	for _, s := range cur.View.Servers() {
		if s.Credential == nil || s.Credential.Ref != c.ID {
			continue
		}
		c.UsedBy = append(c.UsedBy, s.ID)
		if at, ok := originOf(s); ok && len(c.Origins) > 0 && !slices.Contains(c.Origins, at) && away == "" {
			away = fmt.Sprintf("server %s is at %s, which is not among its origins", s.ID, at)
		}
	}
	for _, id := range keysOf(cur.Sources) {
		if s := cur.Sources[id]; slices.Contains(s.Seeds(), c.ID) {
			c.UsedBy = append(c.UsedBy, id)
		}
	}
	for _, id := range keysOf(cur.Webhooks) {
		if h := cur.Webhooks[id]; h.State != webhook.Retired && (h.Secret == c.ID || h.Path == c.ID) {
			c.UsedBy = append(c.UsedBy, "webhook "+id)
		}
	}
	for _, id := range keysOf(cur.Sinks) {
		if s := cur.Sinks[id]; s.State != sink.Retired && (s.Secret == c.ID || s.Receiver == c.ID) {
			c.UsedBy = append(c.UsedBy, "sink "+id)
		}
	}
	for _, id := range keysOf(cur.Signals) {
		if s := cur.Signals[id]; s.State != signal.Retired && s.Secret == c.ID {
			c.UsedBy = append(c.UsedBy, "signal "+id)
		}
	}
	for _, id := range keysOf(cur.Mails) {
		if m := cur.Mails[id]; m.State != notice.Retired && m.Secret == c.ID {
			c.UsedBy = append(c.UsedBy, "mail "+id)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(c.Seeds), func(ref string) bool { return known[ref] })
	switch {
	case len(missing) > 0:
		c.State, c.Why = CredentialIncomplete, "not sealed yet: "+strings.Join(missing, ", ")+"; use rutile credential set"
	case away != "":
		c.State, c.Why = CredentialElsewhere, away
	case len(c.UsedBy) == 0:
		c.State, c.Why = CredentialUnused, "nothing names it"
	case len(c.Origins) == 0 && c.Kind == KindSealed:
		c.State, c.Why = CredentialUnbound, "it is bound to where it is first used"
	case len(c.Origins) == 0:
		c.State, c.Why = CredentialUnbound, "none of its servers is registered: apply their manifests"
	}
}
