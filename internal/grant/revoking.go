package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rutile/internal/access"
)

// Ender has the issuer of m end it, by what Mint was told. why is why it could not, for
// people, "" if it did: then nobody can use it any more.
type Ender func(ctx context.Context, m Minted, how []byte) (why string)

// Bounds of ending what was minted.
const (
	endTime  = 10 * time.Second // one try
	endAgain = 2 * time.Second  // after the first try; doubled each time
	endMost  = 5 * time.Minute  // between two tries
	enders   = 8                // at once
	ownFirst = 10 * time.Second // what another node minted is left to it
)

// Why a credential lives, where no issuer said so.
const (
	noRevocation = "its issuer offers no revocation"
	asking       = "its issuer is being asked"
)

// Finish goes on with what Revoke began: it has issuers end what was minted under
// grants that are GrantRevoking or GrantRevokePartial. A grant of which nothing is left
// becomes GrantRevoked; one of which an issuer did not end something GrantRevokePartial,
// and says what in Left: each as soon as its own credentials are settled. It is to be
// called again and again, and may be by several nodes.
func (b *Broker) Finish(ctx context.Context, end Ender) error {
	if err := b.store.DropExpired(ctx, b.now()); err != nil {
		return err
	}
	grants, err := b.store.Revoking(ctx)
	if err != nil {
		return err
	}
	if len(grants) == 0 {
		return nil
	}
	lives, err := b.minted(ctx, grants)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	room := make(chan struct{}, enders)
	var mu sync.Mutex
	var errs error
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = errors.Join(errs, err)
	}
	for _, g := range grants {
		due := slices.DeleteFunc(slices.Clone(lives[g.ID]), func(m Minted) bool { return !b.due(&g, &m) })
		if len(due) == 0 {
			note(b.conclude(ctx, g, lives[g.ID]))
			continue
		}
		work.Go(func() { note(b.finish(ctx, g, due, room, end)) })
	}
	work.Wait()
	return errs
}

// finish has issuers end what is due of one grant, and concludes it then: an issuer
// that hangs holds up the grants it minted under, and no other.
func (b *Broker) finish(ctx context.Context, g Grant, due []Minted, room chan struct{}, end Ender) error {
	errs := make([]error, len(due)+1)
	var work sync.WaitGroup
	for i, m := range due {
		work.Go(func() {
			if m.Sealed != nil { // else no issuer is asked
				room <- struct{}{}
				defer func() { <-room }()
			}
			errs[i] = b.try(ctx, m, end)
		})
	}
	work.Wait()
	ctx = context.WithoutCancel(ctx) // what was tried is said
	lives, err := b.minted(ctx, []Grant{g})
	if err == nil {
		err = b.conclude(ctx, g, lives[g.ID])
	}
	errs[len(due)] = err
	return errors.Join(errs...)
}

func (b *Broker) minted(ctx context.Context, grants []Grant) (map[string][]Minted, error) {
	ids := make([]string, 0, len(grants))
	for _, g := range grants {
		ids = append(ids, g.ID)
	}
	return b.store.MintedUnder(ctx, ids)
}

// due reports whether m may be tried to be ended now. A time that lies further ahead
// than any wait is of a clock that was set back.
func (b *Broker) due(g *Grant, m *Minted) bool {
	now := b.now()
	if m.Node != b.cfg.Node && m.Tries == 0 && now.Before(g.Changed.Add(ownFirst)) {
		return false // its node stops using it first
	}
	return m.Tries == 0 || m.Sealed != nil && (!now.Before(m.Next) || m.Next.Sub(now) > endMost)
}

// try has the issuer of m end it, if nobody else does.
func (b *Broker) try(ctx context.Context, m Minted, end Ender) error {
	if m.Why = asking; m.Sealed == nil {
		m.Why = noRevocation
	}
	wait := endMost
	if m.Tries < 8 {
		wait = min(endAgain<<m.Tries, endMost)
	}
	mine, err := b.store.TryMinted(ctx, m, b.now().Add(endTime+wait))
	if err != nil || !mine || m.Sealed == nil {
		return err
	}
	how, err := b.seal.Open(ctx, m.purpose(), m.Sealed)
	if err != nil {
		return err
	}
	ectx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	why := end(ectx, m, how)
	clear(how)
	ctx = context.WithoutCancel(ctx) // what the issuer did is kept
	if why == "" {
		return b.store.DropMinted(ctx, m.Credential, m.Version)
	}
	m.Why, m.Next = why, b.now().Add(wait)
	return b.store.FailMinted(ctx, m)
}

// conclude says how far the revocation of a grant has come. Where another node was
// first nothing changes.
func (b *Broker) conclude(ctx context.Context, g Grant, lives []Minted) error {
	before, to := g, GrantRevoked
	var left []Left
	for _, m := range lives {
		if m.Tries == 0 || m.Why == asking && b.now().Before(m.Next) { // somebody is at it
			return nil
		}
		to, left = GrantRevokePartial, append(left, m.left())
	}
	same := func(x, y Left) bool {
		return x.Credential == y.Credential && x.Version == y.Version && x.Until.Equal(y.Until)
	}
	if g.State == to && slices.EqualFunc(g.Left, left, same) {
		return nil // only why, perhaps
	}
	if g.State != to {
		if err := grantTable().move("grant "+g.ID, g.State, to); err != nil {
			return err
		}
	}
	g.State, g.Left, g.Changed = to, left, b.now()
	e := event(system, "revoke-end", KindGrant, g.ID, before, g, ended(before.Left))
	if to == GrantRevokePartial {
		e.Verb, e.Reason = "revoke-partial", Remains(left)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.narrow(context.WithoutCancel(ctx), Batch{Grants: []Grant{g}}, []Event{e})
	if access.CodeOf(err) == access.CodeConflict {
		return nil
	}
	return err
}

// ended says of what was left that nothing of it lives.
func ended(left []Left) string {
	if len(left) == 0 {
		return "their issuers ended all credentials made under it"
	}
	return "no credential made under it lives any more"
}

// Remains says in a sentence what is left of the credentials made under a grant.
func Remains(left []Left) string {
	out := ""
	for _, l := range left {
		if out != "" {
			out += "; "
		}
		word := "lives until "
		if l.Assumed {
			word = "is reckoned to live until "
		}
		out += fmt.Sprintf("credential %s, version %s for server %s, %s%s: %s", l.Credential, l.Version, l.Server, word, l.Until.UTC().Format(time.RFC3339), l.Why)
	}
	return out
}
