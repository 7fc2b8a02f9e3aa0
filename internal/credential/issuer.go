package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"rutile/internal/access"
)

// Issuers are the services credentials are minted at, other than OAuth's. It is
// shared by their minters and safe for concurrent use. Close must be called.
type Issuers struct {
	vault *Vault
	way   Way
	now   func() time.Time
	wait  func(ctx context.Context, d time.Duration) error
	life  context.Context
	end   context.CancelFunc

	mu    sync.Mutex
	known map[issuer]*service
}

// issuer is one way to one service.
type issuer struct {
	address string
	tls     TLS
}

// maxIssuers bounds the services whose connections are kept.
const maxIssuers = 256

// NewIssuers returns Issuers that open their seeds in v and are reached by way.
// wait waits for d or until ctx ends; nil is the clock, as is a nil now.
func NewIssuers(v *Vault, way Way, now func() time.Time, wait func(context.Context, time.Duration) error) (*Issuers, error) {
	if v == nil || way == nil {
		return nil, errors.New("credential: a vault and a way to services are required")
	}
	if now == nil {
		now = time.Now
	}
	i := &Issuers{vault: v, way: way, now: now, wait: wait, known: map[issuer]*service{}}
	if wait == nil {
		i.wait = pause
	}
	i.life, i.end = context.WithCancel(context.Background())
	return i, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Minters returns the minters by kind of source.
func (i *Issuers) Minters() map[string]Minter {
	return map[string]Minter{SourceVault: baoMints{i}, SourceGitHubApp: githubMints{i}, SourceAWSSTS: stsMints{i}}
}

// Close ends renewals and lets go of connections.
func (i *Issuers) Close() {
	i.end()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range i.known {
		s.close()
	}
}

// at returns the service at an address. TLS files are read when it is first
// asked for, and again by a restart.
func (i *Issuers) at(name, address string, t TLS) (*service, error) {
	key := issuer{address, t}
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.known[key]; s != nil {
		return s, nil
	}
	s, err := newService(name, address, i.way, t)
	if err != nil {
		return nil, fmt.Errorf("preparing to ask %s: %w", name, err)
	}
	if len(i.known) >= maxIssuers {
		for k, old := range i.known { // any: it is made again when it is needed
			old.close()
			delete(i.known, k)
			break
		}
	}
	i.known[key] = s
	return s, nil
}

// seed hands a copy of the value of a sealed credential to use, which must not
// keep it, and clears it after. The credential must be for the server the minted
// one is for, its tier, and the service it is sent to.
func (i *Issuers) seed(ctx context.Context, at *service, ref string, n Need, use func(value []byte) error) error {
	l, err := i.vault.Lease(ctx, LeaseRequest{
		Ref: ref, Server: n.Server, Origin: at.origin(), Decision: n.Decision, Outcome: n.Outcome, Tier: n.Tier,
	})
	if err != nil {
		return fmt.Errorf("opening %q, which it is minted with: %w", ref, err)
	}
	defer l.Release()
	if !l.hold() {
		return access.Errorf(access.CodeInternal, "the lease of credential %q has ended", ref)
	}
	value := bytes.Clone(l.open.value)
	l.open.release()
	defer clear(value)
	return use(bytes.TrimSpace(value))
}

// reuseOf is what may be used again of what can be revoked: nothing that is made
// for a call; what is made for the lists and processes of one agent and subject
// is for the next of them too, until it is about to end.
func reuseOf(n Need) string {
	if n.Tool == "" {
		return "discovery"
	}
	return ""
}

// undoTime bounds undoing what was made and cannot be used.
const undoTime = 10 * time.Second

// undo runs revoke even if the call that wanted the credential has gone away.
func undo(ctx context.Context, revoke func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if err := revoke(ctx); err != nil {
		return fmt.Errorf("and what was made for it could not be revoked: %w", err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
