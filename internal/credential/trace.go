package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"rutile/internal/access"
)

// Trace is what is kept of a credential that was minted for a call under a grant: enough
// for its issuer to end it.
type Trace struct {
	Grant      string
	Credential string // id of the source
	Kind       string // of the source
	Version    string
	Server     string
	Expires    time.Time // zero: its issuer did not say
	// How is what Finish ends it by, nil where nothing does. It holds the secret and MUST
	// be sealed where it is kept.
	How []byte
}

// traced is How of a Trace.
type traced struct {
	Origin   string `json:"origin"`
	URL      string `json:"url,omitempty"`
	Tier     int    `json:"tier"`
	Decision string `json:"decision"`
	How      []byte `json:"how"`
}

// under notes that a call under a grant is given o. What people connected stays theirs
// whatever becomes of a grant, and is not noted.
func (m *Mint) under(ctx context.Context, o *opened, r LeaseRequest) error {
	if m.cfg.Under == nil || r.Grant == "" || o.source.UserOAuth != nil {
		return nil
	}
	if _, done := o.traced.Load(r.Grant); done {
		return nil
	}
	g := o.minted
	t := Trace{Grant: r.Grant, Credential: o.source.ID, Kind: o.source.Kind(), Version: g.Version, Server: o.server, Expires: g.Expires}
	if g.How != nil {
		how, err := json.Marshal(traced{Origin: r.Origin, URL: r.URL, Tier: r.Tier, Decision: r.Decision, How: g.How})
		if err != nil {
			return err
		}
		defer clear(how)
		t.How = how
	}
	if err := m.cfg.Under(ctx, t); err != nil {
		return err
	}
	o.traced.Store(r.Grant, true)
	return nil
}

// over notes that o has ended, if a call under a grant was given it.
func (m *Mint) over(o *opened) {
	known := false
	o.traced.Range(func(any, any) bool { known = true; return false })
	if !known || m.cfg.Over == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeTime)
	defer cancel()
	if err := m.cfg.Over(ctx, o.source.ID, o.minted.Version); err != nil && !errors.Is(err, context.Canceled) {
		m.cfg.Log.Error("noting that a minted credential has ended", "credential", o.source.ID, "version", o.minted.Version, "error", err)
	}
}

// Finish ends a credential because the grant it was minted under was revoked: no call
// here is given it from now on, and its issuer is asked to end it. why says why that
// failed, "" if nobody can use it any more; then it is recorded.
func (m *Mint) Finish(ctx context.Context, t Trace) (why string) {
	if m.letGo(t.Credential, t.Version) {
		return "it is being revoked after its call"
	}
	s, declared := m.cfg.Sources(t.Credential)
	e, can := m.cfg.Minters[t.Kind].(Ender)
	var how traced
	switch {
	case !declared || s.Kind() != t.Kind:
		return "its credential is not declared any more, so that nobody can ask its issuer"
	case !can || json.Unmarshal(t.How, &how) != nil:
		return "its issuer offers no revocation"
	}
	defer clear(how.How)
	n := Need{Source: &s, LeaseRequest: LeaseRequest{Ref: t.Credential, Server: t.Server, Origin: how.Origin, URL: how.URL, Tier: how.Tier, Decision: how.Decision, Outcome: access.Permit}}
	if err := e.End(ctx, n, how.How); err != nil {
		m.cfg.Log.Debug("revoking a minted credential", "credential", t.Credential, "version", t.Version, "error", err)
		return "its issuer did not revoke it" + told(err)
	}
	ev := Event{Verb: "revoke", Credential: t.Credential, Kind: t.Kind, Version: t.Version, Server: t.Server, Expires: t.Expires, Why: "grant " + t.Grant + ", which it was minted under, was revoked"}
	if err := m.cfg.Record(context.WithoutCancel(ctx), ev); err != nil {
		m.cfg.Log.Error("recording what became of a minted credential", "verb", ev.Verb, "credential", t.Credential, "version", t.Version, "error", err)
	}
	return ""
}

// told is what people are told of an error.
func told(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded) || access.CodeOf(err) == access.CodeTimeout:
		return ": it did not answer in time"
	case access.CodeOf(err) == access.CodeInternal || access.CodeOf(err) == "":
		return ""
	}
	return fmt.Sprintf(": %v", err)
}

// letGo keeps a credential from being used by a further call; ending is true where it
// is being revoked already, after the call it was for.
func (m *Mint) letGo(credential, version string) (ending bool) {
	m.mu.Lock()
	for k, h := range m.kept {
		if k.credential == credential && h.open.minted.Version == version {
			h.open.ended.Store(true) // it is not revoked once more when nobody holds it
			m.drop(k, h)
		}
	}
	m.mu.Unlock()
	m.liveMu.Lock()
	defer m.liveMu.Unlock()
	for o := range m.live {
		if o.source.ID == credential && o.minted.Version == version && !o.ended.CompareAndSwap(false, true) && o.holders.Load() <= 0 {
			return true
		}
	}
	return false
}
