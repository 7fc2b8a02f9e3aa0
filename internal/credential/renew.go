package credential

import (
	"context"

	"rutile/internal/access"
)

// ErrNotTaken is the answer of Renew where nothing else is to be tried.
var ErrNotTaken = access.Errorf(access.CodeUnavailable, "the server does not take the credential")

// Renew is called where the server refused what was minted before it did anything with
// the call (HTTP 401). That is given to no later call. Once in a call, and only if it
// was minted for an earlier one or is a person's own, another takes its place and Renew
// returns nil: the call may be sent again with it. Else the error is [ErrNotTaken], or
// says what is to be done. It MUST NOT be called beside other methods of the lease.
func (l *Lease) Renew(ctx context.Context) error {
	if l.mint == nil || !l.hold() {
		return ErrNotTaken
	}
	defer l.open.release()
	m, old := l.mint, l.open
	m.reject(old)
	n := Need{Source: l.source, LeaseRequest: l.req}
	keeper, keeps := m.cfg.Minters[l.source.Kind()].(Renewer)
	if keeps {
		if err := keeper.Refused(ctx, n, old.minted.Version); err != nil {
			return err
		}
	}
	if l.shared || l.before != nil || l.fresh && !keeps {
		return ErrNotTaken
	}
	next, _, err := m.take(ctx, n)
	if err != nil {
		return err
	}
	if next.minted.Version == old.minted.Version {
		next.release()
		return ErrNotTaken
	}
	if err := m.under(ctx, next, l.req); err != nil {
		next.release()
		return err
	}
	l.before, l.open = old, next // the hold of the one before is kept for Scrub
	return nil
}

// reject lets go of what was minted, because whom it is for does not take it.
func (m *Mint) reject(o *opened) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, h := range m.kept {
		if h.open == o {
			h.open.ends.Store(true)
			m.drop(k, h)
		}
	}
}
