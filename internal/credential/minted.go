package credential

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// keep is what a minted credential may be used again for.
type keep struct {
	credential, rev string // rev changes with the source and its seeds
	who             access.Principal
	server, reuse   string
	at              string // where it is sent: what was minted for a server is not for where it moves
}

// held is a credential that is used again.
type held struct {
	open    *opened
	until   time.Time
	expires time.Time
}

// making is a minting others wait for.
type making struct {
	done chan struct{}
	open *opened // held once more by nobody: who waits holds it or mints again
	err  error
}

// keep returns what n is used again for; its reuse is "" for one call only.
func (m *Mint) keep(minter Minter, n Need) keep {
	k := keep{credential: n.Source.ID, rev: m.rev(n.Source), who: n.Who.Principal(), server: n.Server, at: n.Origin + " " + n.URL}
	if !n.Source.PerCall {
		k.reuse = minter.ReuseKey(n)
	}
	return k
}

// rev changes with a source and with the values of its seeds.
func (m *Mint) rev(s *Source) string {
	rev := s.digest()
	for _, ref := range s.Seeds() {
		if seed, ok := m.vault.secret(ref); ok {
			rev += fmt.Sprintf("|%s %d %d", ref, seed.Created.UnixMilli(), rotation(seed))
		}
	}
	return rev
}

// rotation changes when the value of a secret does. Its version also changes
// when it is bound, which its first use does.
func rotation(s Secret) int64 { return s.Rotated.UnixMilli() }

// Bounds of using a credential again.
const (
	maxKept     = 10_000
	unknownLife = time.Minute    // of one whose issuer does not say
	safeEnd     = time.Minute    // before its end it is not used again
	longest     = 12 * time.Hour // nothing is used again for longer
)

// usable is until when a credential that ends at expires is used again: not in
// its last minute, or the last fifth of a short one.
func usable(now, expires time.Time) time.Time {
	if expires.IsZero() {
		return now.Add(unknownLife)
	}
	left := min(expires.Sub(now), longest)
	return now.Add(left - min(safeEnd, left/5))
}

// kept is v in memory of its own.
func kept(v rawjson.Value) rawjson.Value {
	if !v.Exists() {
		return v
	}
	own, err := rawjson.Parse(bytes.Clone(v.Raw()), rawjson.Limits{Bytes: len(v.Raw())})
	if err != nil {
		return rawjson.Value{} // it was parsed before
	}
	return own
}

// make mints for everybody who waits for key. The one who came first going away
// does not end it.
func (m *Mint) make(key keep, k *making, minter Minter, n Need) {
	ctx, cancel := context.WithTimeout(m.life, mintTime)
	defer cancel()
	k.err = access.Errorf(access.CodeInternal, "minting did not end") // unless it returns
	defer close(k.done)
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.making, key)
	}()
	o, err := m.minted(ctx, minter, n)
	if err != nil {
		k.err = err
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stands(n) { // End let go of what was kept before this was
		o.ends.Store(true)
		o.release()
		k.err = errChanged(n)
		return
	}
	k.open, k.err = o, nil
	if m.closed {
		o.release()
		return
	}
	m.makeRoom(key)
	m.kept[key] = &held{open: o, until: usable(m.cfg.Now(), o.minted.Expires), expires: o.minted.Expires}
}

// makeRoom drops what nobody will use again: what is over, what was minted of an
// earlier form of the same credential, and where it is full, what ends first.
// m.mu is held.
func (m *Mint) makeRoom(key keep) {
	now := m.cfg.Now()
	var first keep
	var firstHeld *held
	for k, h := range m.kept {
		if old := k.credential == key.credential && k.rev != key.rev; old || !now.Before(h.until) {
			if old {
				h.open.ends.Store(true)
			}
			m.drop(k, h)
			continue
		}
		if firstHeld == nil || h.until.Before(firstHeld.until) {
			first, firstHeld = k, h
		}
	}
	if len(m.kept) >= maxKept {
		m.drop(first, firstHeld)
	}
}

// drop lets go of a credential; m.mu is held.
func (m *Mint) drop(k keep, h *held) {
	delete(m.kept, k)
	h.open.release()
}

// Forget lets go of what was minted for a credential and, where subject is not
// nobody, a person; it is revoked where it can be. What is in flight ends its
// call with it.
func (m *Mint) Forget(credential string, who access.Subject) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, h := range m.kept {
		if k.credential == credential && (who.Autonomous() || k.who.Issuer == who.Issuer && k.who.Subject == who.ID) {
			h.open.ends.Store(true)
			m.drop(k, h)
		}
	}
}

// newMinted returns what was minted, held once.
func newMinted(m *Mint, n Need, g Minted) *opened {
	o := &opened{value: g.Values["secret"], scrub: newScrubber(g.Values["secret"]), minted: &g, mint: m, source: *n.Source, server: n.Server}
	for name, v := range g.Values {
		if name != "secret" {
			o.others = append(o.others, newScrubber(v))
		}
	}
	o.ends.Store(g.Ends)
	o.holders.Store(1)
	m.born(o)
	return o
}

// fill puts the values of a minted credential into a template.
func (o *opened) fill(template string) (string, error) {
	if o.minted == nil {
		return o.fillSealed(template)
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(template, "{")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		secret, isSecret := o.minted.Values[name]
		plain, isPlain := o.minted.Plain[name]
		switch {
		case !ok || !isSecret && !isPlain:
			return "", access.Errorf(access.CodeInvalid, "credential %q gives no value %q; correct the server's credential in its manifest", o.source.ID, clipName(name))
		case isSecret:
			b.Write(secret)
		default:
			b.WriteString(plain)
		}
		template = after
	}
}

func clipName(s string) string { return s[:min(len(s), 40)] }
