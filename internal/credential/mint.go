package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"rutile/internal/access"
)

// MintConfig says what is minted and by whom.
type MintConfig struct {
	// Sources returns a declared source, as the state calls are decided on has it.
	Sources func(id string) (Source, bool)
	Minters map[string]Minter // by kind of source
	// Record makes an event durable evidence.
	Record func(ctx context.Context, e Event) error
	// Under notes that a call under a grant is about to be given a credential, and Over
	// that one has ended. Nil is nobody who wants to know. Where Under fails the call is
	// not given it.
	Under func(ctx context.Context, t Trace) error
	Over  func(ctx context.Context, credential, version string) error
	Log   *slog.Logger
	Now   func() time.Time
	// Wait waits for d or until ctx ends; nil is the clock. Tests bring their own.
	Wait func(ctx context.Context, d time.Duration) error
}

// Mint leases credentials: sealed ones as they are, declared ones by minting
// them. It is safe for concurrent use. Close must be called.
type Mint struct {
	cfg   MintConfig
	vault *Vault
	life  context.Context
	end   context.CancelFunc

	mu      sync.Mutex
	kept    map[keep]*held
	making  map[keep]*making
	closed  bool
	revoker revoker

	liveMu sync.Mutex
	live   map[*opened]bool // all that was minted and is in memory yet
}

// NewMint returns a Mint over a vault.
func NewMint(cfg MintConfig, v *Vault) (*Mint, error) {
	if v == nil || cfg.Sources == nil || cfg.Record == nil || cfg.Log == nil {
		return nil, errors.New("credential: a vault, sources, a record and a log are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wait == nil {
		cfg.Wait = wait
	}
	m := &Mint{cfg: cfg, vault: v, kept: map[keep]*held{}, making: map[keep]*making{}, live: map[*opened]bool{}}
	m.life, m.end = context.WithCancel(context.Background())
	m.revoker = revoker{mint: m, room: make(chan struct{}, revokers)}
	return m, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Lease returns a lease of the credential r names. One of a declared source
// holds nothing until Ready, which mints; Lease itself only looks whether the
// source may be used for r. The lease is nil where r goes without a credential.
func (m *Mint) Lease(ctx context.Context, r LeaseRequest) (*Lease, error) {
	s, declared := m.cfg.Sources(r.Ref)
	if !declared {
		return m.vault.Lease(ctx, r)
	}
	if _, sealed := m.vault.secret(r.Ref); sealed {
		return nil, access.Errorf(access.CodeConflict, "credential %q is both declared and sealed, so that nobody knows which is meant: remove one of the two", r.Ref)
	}
	if err := s.fits(r); err != nil {
		return nil, err
	}
	if listing, other := s.listing(); other && r.Who.Actor.Agent == "" {
		// The gateway's own look at a server is nobody's: it never uses what a person
		// connected, nor says that somebody acts.
		if listing == "" {
			return nil, nil
		}
		r.Ref = listing
		return m.vault.Lease(ctx, r)
	}
	if m.cfg.Minters[s.Kind()] == nil {
		return nil, access.Errorf(access.CodeUnsupported, "credential %q has a source this version cannot mint", r.Ref)
	}
	return &Lease{vault: m.vault, req: r, mint: m, source: &s}, nil
}

// Ready mints the credential of a declared source, or takes one that was minted
// for the same. It does nothing for a sealed one, whose value is there already.
// It MUST be called after the intent is durable, and before the lease is used.
func (l *Lease) Ready(ctx context.Context) error {
	if l.mint == nil || l.open != nil {
		return nil
	}
	o, fresh, err := l.mint.take(ctx, Need{Source: l.source, LeaseRequest: l.req})
	if err != nil {
		return err
	}
	if err := l.mint.under(ctx, o, l.req); err != nil {
		o.release()
		return fmt.Errorf("minting credential %q: %w", l.req.Ref, err)
	}
	l.open, l.fresh = o, fresh
	l.vault.uses.note(l.source.ID, Use{At: l.mint.cfg.Now(), Version: o.minted.Version, Expires: o.minted.Expires})
	return nil
}

// mintTime bounds one minting.
const mintTime = 30 * time.Second

// take returns an opened credential for n, held by the caller, and whether it was
// minted just now.
func (m *Mint) take(ctx context.Context, n Need) (o *opened, fresh bool, err error) {
	minter := m.cfg.Minters[n.Source.Kind()]
	key := m.keep(minter, n)
	if key.reuse == "" {
		o, err = m.one(ctx, minter, n)
		return o, true, err
	}
	n.Arguments = kept(n.Arguments) // it may be minted on behalf of who comes later
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, false, errClosed
		}
		if h := m.kept[key]; h != nil {
			if m.cfg.Now().Before(h.until) && h.open.hold() {
				m.mu.Unlock()
				return h.open, false, nil
			}
			m.drop(key, h)
		}
		k := m.making[key]
		if k == nil {
			k = &making{done: make(chan struct{})}
			m.making[key] = k
			go m.make(key, k, minter, n)
		}
		m.mu.Unlock()
		select {
		case <-k.done:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
		if k.err != nil {
			return nil, false, k.err
		}
		if k.open.hold() {
			return k.open, true, nil
		}
	}
}

var errClosed = access.Errorf(access.CodeUnavailable, "the gateway is stopping")

// one mints for this call only.
func (m *Mint) one(ctx context.Context, minter Minter, n Need) (*opened, error) {
	ctx, cancel := context.WithTimeout(ctx, mintTime)
	defer cancel()
	o, err := m.minted(ctx, minter, n)
	if err != nil {
		return nil, err
	}
	o.ends.Store(true)
	return o, nil
}

// minted mints and records it where no call's own evidence will.
func (m *Mint) minted(ctx context.Context, minter Minter, n Need) (*opened, error) {
	got, err := minter.Mint(ctx, n)
	if err == nil {
		if err = check(&got); err != nil && got.Revoke != nil {
			err = errors.Join(err, undo(ctx, got.Revoke))
		}
	}
	if err != nil {
		got.clear()
		return nil, m.refused(ctx, n, err)
	}
	o := newMinted(m, n, got)
	if !m.stands(n) { // End may not have seen it
		o.ends.Store(true)
		o.release()
		return nil, errChanged(n)
	}
	if !n.Recorded {
		e := Event{Verb: "mint", Credential: n.Source.ID, Kind: n.Source.Kind(), Version: got.Version, Server: n.Server, Decision: n.Decision, Subject: n.Who.Subject, Narrowed: got.Narrowed, Expires: got.Expires}
		if err := m.cfg.Record(ctx, e); err != nil {
			o.ends.Store(true)
			o.release()
			return nil, fmt.Errorf("recording that credential %q was minted: %w", n.Ref, err)
		}
	}
	return o, nil
}

func errChanged(n Need) error {
	return access.Errorf(access.CodeConflict, "credential %q was changed or removed while it was minted: try again", n.Ref)
}

// check refuses what could not be kept out of answers or told apart.
func check(g *Minted) error {
	if len(g.Values) == 0 || g.Version == "" {
		return access.Errorf(access.CodeUpstream, "the issuer gave no credential")
	}
	for _, v := range g.Values {
		if len(v) < MinValue || len(v) > MaxValue {
			return access.Errorf(access.CodeUpstream, "the issuer gave a credential of fewer than %d or more than %d bytes", MinValue, MaxValue)
		}
	}
	return nil
}

// refused says that nothing was minted. An error that is nobody's to read goes to
// the log.
func (m *Mint) refused(ctx context.Context, n Need, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return &access.Error{Code: access.CodeTimeout, Msg: fmt.Sprintf("credential %q was not minted in time", n.Ref), Err: err}
	}
	if access.CodeOf(err) == "" || access.CodeOf(err) == access.CodeInternal {
		m.cfg.Log.Error("a credential could not be minted", "credential", n.Ref, "server", n.Server, "decision", n.Decision, "error", err)
		return &access.Error{Code: access.CodeUnavailable, Msg: fmt.Sprintf("credential %q could not be minted; see the gateway's log", n.Ref), Err: err}
	}
	return fmt.Errorf("minting credential %q: %w", n.Ref, err)
}

// Close ends minting, waits a moment for what is being revoked, and overwrites
// what is kept. What was minted for more than one call ends by itself.
func (m *Mint) Close() {
	m.mu.Lock()
	m.closed = true
	for k, h := range m.kept {
		m.drop(k, h)
	}
	m.mu.Unlock()
	m.revoker.close()
	m.end()
	m.revoker.wait()
}
