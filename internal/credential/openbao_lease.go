package credential

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// baoLease is a lease of OpenBao, renewed for as long as its call lasts.
type baoLease struct {
	s     *baoSession
	id    string
	until time.Time // it is not renewed past
	gone  bool

	stop context.CancelFunc // of keep
	kept chan struct{}      // closed when keep has returned
}

func (l *baoLease) body(more string) []byte {
	return append(append(rawjson.AppendString([]byte(`{"lease_id":`), l.id), more...), '}')
}

// revoke ends the lease and then the login. sync makes the service answer only
// once the credential is gone, not once that is queued.
func (l *baoLease) revoke(ctx context.Context) error {
	if l.stop != nil {
		l.stop()
		<-l.kept // a renewal on its way must not come after the end
	}
	return l.end(ctx)
}

// end is done when the lease is known to be gone: it was revoked, or the login
// was, under which it was made. The service answers alike whether a token is not
// there any more or may not do a thing, so that a refusal means nothing good.
func (l *baoLease) end(ctx context.Context) error {
	var err error
	if !l.gone {
		var a said
		if a, err = l.s.ask(ctx, http.MethodPost, "sys/leases/revoke", l.body(`,"sync":true`)); err == nil {
			clear(a.body)
			if l.gone = a.status/100 == 2; !l.gone {
				err = l.s.at.refused("the revocation of a lease", a)
			}
		}
	}
	mine := l.s.own
	ended := l.s.end(ctx)
	if l.gone || mine && ended == nil {
		l.gone = true
		return nil // nobody holds a login that is left over, and it ends by itself
	}
	return errors.Join(err, ended)
}

// keep renews the lease whenever half of it is over, until it is revoked, cannot
// be renewed or has lasted as long as the manifest permits.
func (l *baoLease) keep(m *baoMinter, ttl time.Duration) {
	ctx, stop := context.WithCancel(m.life)
	l.stop, l.kept = stop, make(chan struct{})
	go func() {
		defer close(l.kept)
		for {
			if m.wait(ctx, ttl/2) != nil {
				return
			}
			left := l.until.Sub(m.now())
			ask := min(ttl, left)
			if ask < time.Second {
				return
			}
			if err := l.renew(ctx, ask); err != nil {
				if errors.Is(err, errLonger) {
					_ = undo(ctx, l.end) // once more after the call, which is told of it
				}
				return
			}
		}
	}()
}

// errLonger says that a renewal gave more than was asked for.
var errLonger = access.Errorf(access.CodeUpstream, "%s renewed a lease for longer than it was asked to", baoName)

// renew asks for ttl more, in whole seconds.
func (l *baoLease) renew(ctx context.Context, ttl time.Duration) error {
	a, err := l.s.ask(ctx, http.MethodPost, "sys/leases/renew", l.body(`,"increment":`+seconds(ttl)))
	if err != nil {
		return err
	}
	defer clear(a.body)
	if a.status != http.StatusOK {
		return l.s.at.refused("the renewal of a lease", a)
	}
	v, err := l.s.at.object(a)
	if err != nil {
		return err
	}
	n, ok := v.Get("lease_duration").Int64()
	switch id, _ := v.Get("lease_id").Str(); {
	case !ok || n <= 0 || id != l.id:
		return access.Errorf(access.CodeUpstream, "%s renewed another lease than it was asked to", baoName)
	case n > int64(ttl/time.Second):
		return errLonger
	}
	return nil
}

// baoHow is what a lease and the login it was made under are ended by.
type baoHow struct {
	Token string    `json:"token"`
	Own   bool      `json:"own"` // the login is ours to end
	Until time.Time `json:"until,omitzero"`
	Lease string    `json:"lease,omitempty"` // "" where there is none
}

// how is what End ends it by.
func (s *baoSession) how(lease string) []byte {
	b, err := json.Marshal(baoHow{Token: s.token, Own: s.own, Until: s.until, Lease: lease})
	if err != nil {
		return nil // for none of ours
	}
	return b
}

// End ends a lease and its login, as after a call.
func (i baoMints) End(ctx context.Context, n Need, how []byte) error {
	var h baoHow
	if err := json.Unmarshal(how, &h); err != nil {
		return access.Errorf(access.CodeInternal, "what a lease is ended by cannot be read")
	}
	at, err := i.Issuers.at(baoName, n.Source.Vault.Address, n.Source.Vault.TLS)
	if err != nil {
		return err
	}
	s := &baoSession{at: at, namespace: n.Source.Vault.Namespace, token: h.Token, own: h.Own, until: h.Until, now: i.now}
	if h.Lease == "" {
		return s.end(ctx)
	}
	return (&baoLease{s: s, id: h.Lease}).end(ctx)
}
