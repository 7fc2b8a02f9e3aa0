package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/grant"
	"rutile/internal/revocation"
)

// Follow cuts here what another gateway revoked. What refuses it MUST have been read
// before.
func (e *Effects) Follow(ctx context.Context, entry revocation.Entry) error {
	s, err := e.scope(ctx, string(entry.Target.Kind), entry.Target.ID)
	if access.CodeOf(err) == access.CodeConflict { // of a tool that has another definition by now
		return nil
	}
	if err != nil {
		return fmt.Errorf("carrying out %s of another gateway: %w", entry.ID, err)
	}
	e.halt(s, entry, e.traffic.Catch(s.calls))
	return nil
}

// Resume goes on with revocations that stand and were not carried out to the end,
// because the process ended, or the gateway whose they were is gone.
func (e *Effects) Resume(ctx context.Context) error {
	list, err := e.revoked.Unfinished(ctx)
	if err != nil {
		return err
	}
	var errs error
	for _, entry := range list {
		if _, busy := e.busy.Load(entry.ID); busy || entry.Node != e.admin.cfg.Node && !e.peers.Gone(ctx, entry.Node) {
			continue
		}
		errs = errors.Join(errs, e.resume(ctx, entry))
	}
	return errs
}

func (e *Effects) resume(ctx context.Context, entry revocation.Entry) error {
	began := time.Now()
	s, err := e.scope(ctx, string(entry.Target.Kind), entry.Target.ID)
	if err != nil && access.CodeOf(err) != access.CodeConflict {
		return fmt.Errorf("going on with %s: %w", entry.ID, err)
	}
	if err != nil { // a tool that has another definition by now
		s = &reach{target: entry.Target, calls: func(*access.Request, string) bool { return false }}
	}
	s.resumed = true
	e.mu.Lock()
	j, err := e.carryOut(ctx, System(), s, entry, VerbRevoke, began, e.traffic.Catch(s.calls))
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("going on with %s: %w", entry.ID, err)
	}
	if err := e.settle(ctx, j); err != nil {
		return fmt.Errorf("going on with %s: %w", entry.ID, err)
	}
	j.Said = append(j.Said, "it was carried out to the end after the process that began it had ended: the times are those of the second try, and what ended before it is in the evidence")
	return e.conclude(ctx, j.Receipt)
}

// left are the grants that an interrupted revocation has ended already while what was
// minted under them lives, and what was carved out of them. An order has none.
func (e *Effects) left(ctx context.Context, s *reach) ([]string, error) {
	if !s.resumed {
		return nil, nil
	}
	var list []grant.Grant
	for _, state := range []grant.State{grant.GrantRevoking, grant.GrantRevokePartial} {
		part, err := e.broker.Archive().Grants(ctx, grant.Filter{State: state, Limit: maxPartial})
		if err != nil {
			return nil, err
		}
		list = append(list, part...)
	}
	var ids []string
	in := map[string]bool{}
	for more := true; more; {
		more = false
		for i := range list {
			if g := &list[i]; !in[g.ID] && (s.grants(g) || in[g.Parent]) {
				in[g.ID], more = true, true
				ids = append(ids, g.ID)
			}
		}
	}
	return ids, nil
}

// Amend brings receipts up to date whose credentials lived when they were written. It
// is to be called again and again.
func (e *Effects) Amend(ctx context.Context) error {
	var errs error
	e.partial.Range(func(id, _ any) bool {
		errs = errors.Join(errs, e.amend(ctx, id.(string)))
		return ctx.Err() == nil
	})
	return errs
}

func (e *Effects) amend(ctx context.Context, id string) error {
	entry, err := e.revoked.Entry(ctx, id)
	if err != nil {
		return err
	}
	r, err := ReadReceipt(entry)
	if err != nil {
		e.partial.Delete(id) // it stays as it is
		return err
	}
	changed, open := false, false
	now := e.admin.now()
	for i := range r.Credentials {
		c := &r.Credentials[i]
		if c.Result == resultRevoked || c.Grant == "" {
			continue
		}
		g, ok, err := e.broker.Archive().Grant(ctx, c.Grant)
		if err != nil {
			return err
		}
		result, until := amended(c, g, ok, now)
		changed = changed || result != c.Result || !until.Equal(c.Until)
		c.Result, c.Until = result, until
		open = open || result != resultRevoked
	}
	if !changed {
		if !open {
			e.partial.Delete(id)
		}
		return nil
	}
	r.Amended++
	return e.conclude(ctx, &r)
}

// amended is what became of a credential that lived.
func amended(c *EndedCredential, g grant.Grant, known bool, now time.Time) (string, time.Time) {
	if known && g.State == grant.GrantRevoked {
		return resultRevoked, time.Time{}
	}
	if !c.Until.IsZero() && !now.Before(c.Until) {
		return resultRevoked, time.Time{} // it has ended by itself
	}
	for _, l := range g.Left {
		if l.Credential == c.ID && l.Version == c.Version {
			return l.Why, l.Until
		}
	}
	return c.Result, c.Until
}

// Recall finds the receipts that are to be amended, at the start.
func (e *Effects) Recall(ctx context.Context) error {
	list, err := e.revoked.List(ctx, 0, maxPartial)
	if err != nil {
		return err
	}
	for _, entry := range list {
		if r, err := ReadReceipt(entry); err == nil && r.State == ReceiptPartial && len(entry.Receipt) > 0 && entry.Node == e.admin.cfg.Node {
			e.partial.Store(entry.ID, true)
		}
	}
	return nil
}

// maxPartial bounds how many receipts are looked through at the start: credentials that
// live for longer than so many revocations are rare.
const maxPartial = 1000

// Receipt returns one receipt.
func (e *Effects) Receipt(ctx context.Context, id string) (Receipt, error) {
	entry, err := e.revoked.Entry(ctx, id)
	if err != nil {
		return Receipt{}, err
	}
	return ReadReceipt(entry)
}

// Receipts returns receipts, newest first: at most limit, of epochs below before, where
// that is not 0.
func (e *Effects) Receipts(ctx context.Context, before uint64, limit int) ([]Receipt, error) {
	list, err := e.revoked.List(ctx, before, limit)
	out := make([]Receipt, 0, len(list))
	for _, entry := range list {
		r, rerr := ReadReceipt(entry)
		err = errors.Join(err, rerr)
		out = append(out, r)
	}
	return out, err
}
