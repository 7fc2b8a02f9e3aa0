package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
)

// Excerpts go by whole months: the packs of a month are deleted and its key is
// destroyed once the last of them is older than the policy says. Those of changes stay
// with the changes.

// monthEnd is when a month, yyyymm, is over.
func monthEnd(month int) time.Time {
	return time.Date(month/100, time.Month(month%100)+1, 1, 0, 0, 0, 0, time.UTC)
}

// over reports whether what was written in a month is older than days.
func over(month, days int, now time.Time) bool {
	return !monthEnd(month).AddDate(0, 0, days).After(now)
}

func (l *Log) decisionPacks() string { return filepath.Join(l.cfg.Dir, "payload", classDecision) }

// monthsOfPacks returns the months that have a directory, ascending.
func (l *Log) monthsOfPacks() ([]int, error) {
	names, err := l.fs.List(l.decisionPacks())
	if err != nil {
		return nil, err
	}
	var months []int
	for _, name := range names {
		month, err := strconv.Atoi(name)
		if err != nil || len(name) != 6 || month%100 < 1 || month%100 > 12 {
			continue // nobody wrote that but somebody else
		}
		months = append(months, month)
	}
	slices.Sort(months)
	return months, nil
}

// duePayloads returns the months whose excerpts are to go, and how many files they are
// in. A month that has none any more and whose key is there is among them: its database
// was put back.
func (l *Log) duePayloads(ctx context.Context, now time.Time) (months []int, packs int, err error) {
	days := l.cfg.Retention.Payload
	there, err := l.monthsOfPacks()
	if err != nil {
		return nil, 0, fmt.Errorf("listing excerpts: %w", err)
	}
	months = []int{}
	for _, m := range there {
		if !over(m, days, now) {
			continue
		}
		names, err := l.fs.List(packID{classDecision, m}.dir(l.cfg.Dir))
		if err != nil {
			return nil, 0, fmt.Errorf("listing excerpts: %w", err)
		}
		months, packs = append(months, m), packs+len(names)
	}
	keys, err := l.monthKeys(ctx)
	if err != nil {
		return nil, 0, err
	}
	for m := range keys {
		if over(m, days, now) && !slices.Contains(months, m) {
			months = append(months, m)
		}
	}
	slices.Sort(months)
	return months, packs, nil
}

// monthKeys returns the wrapped keys of this log's excerpts by month.
func (l *Log) monthKeys(ctx context.Context) (map[int][]byte, error) {
	wrapped, err := l.keys.store.EvidenceKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the evidence keys: %w", err)
	}
	out := map[int][]byte{}
	if !hasPayloadKey(wrapped) {
		return out, nil
	}
	for year := firstYear; year <= lastYear; year++ {
		for month := year*100 + 1; month <= year*100+12; month++ {
			if w := wrapped[namePayload+l.keys.payloadName(classDecision, month)]; w != nil {
				out[month] = w
			}
		}
	}
	return out, nil
}

func hasPayloadKey(wrapped map[string][]byte) bool {
	for name := range wrapped {
		if strings.HasPrefix(name, namePayload) {
			return true
		}
	}
	return false
}

// prunePayloads says in the log which months go, destroys their keys and deletes their
// packs. Each step can be done again.
func (l *Log) prunePayloads(ctx context.Context, o RetentionOrder, r *retention, months []int, now time.Time) error {
	if len(months) == 0 {
		return nil
	}
	says := retained{Months: months, Before: now.AddDate(0, 0, -l.cfg.Retention.Payload)}
	ref, err := l.retentionLeaf(ctx, o, "prune-payload", says)
	if err != nil {
		return err
	}
	r.Leaf = ref.Index
	for _, m := range months {
		r.gone(m, now)
	}
	if err := l.saveRetention(*r); err != nil { // first: what is not there is then known to have gone
		return err
	}
	if err := l.destroyMonths(ctx, months); err != nil {
		return err
	}
	for _, m := range months {
		if err := l.removePacks(ctx, m); err != nil {
			return fmt.Errorf("removing the packs of %d: %w", m, err)
		}
	}
	return nil
}

// gone notes that the excerpts of a month went.
func (r *retention) gone(month int, at time.Time) {
	list := slices.Clone(r.Gone) // who read it goes on with what it was
	i, ok := slices.BinarySearchFunc(list, month, func(g GoneMonth, m int) int { return g.Month - m })
	if ok {
		list[i].At = at
	} else {
		list = slices.Insert(list, i, GoneMonth{month, at})
	}
	r.Gone = list
}

// destroyMonths destroys the keys of months, and looks whether they are gone.
func (l *Log) destroyMonths(ctx context.Context, months []int) error {
	keys, err := l.monthKeys(ctx)
	if err != nil {
		return err
	}
	due := map[string][]byte{}
	for _, m := range months {
		if w := keys[m]; w != nil {
			due[namePayload+l.keys.payloadName(classDecision, m)] = w
		}
	}
	if len(due) == 0 {
		return nil
	}
	store, err := l.erasures()
	if err != nil {
		return err
	}
	if err := store.DestroyKeys(ctx, due); err != nil {
		return fmt.Errorf("destroying keys: %w", err)
	}
	l.keys.forget()
	left, err := l.keys.store.EvidenceKeys(ctx)
	if err != nil {
		return fmt.Errorf("listing the evidence keys: %w", err)
	}
	for name, w := range due {
		if string(left[name]) == string(w) {
			return access.Errorf(access.CodeUnavailable, "the key of a month is still there after it was destroyed")
		}
	}
	return nil
}

// removePacks deletes the packs of a month. The sealer lets go of one it has open first:
// what it writes for that month from then on, since a clock went back, is a new pack.
func (l *Log) removePacks(ctx context.Context, month int) error {
	id := packID{classDecision, month}
	dir := id.dir(l.cfg.Dir)
	if err := l.seal.letGo(ctx, id); err != nil {
		return err
	}
	names, err := l.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := l.fs.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := l.fs.Remove(dir); err != nil && len(names) > 0 {
		if again, lerr := l.fs.List(dir); lerr != nil || len(again) == 0 {
			return errors.Join(err, lerr)
		}
		return nil // the sealer began another
	}
	return l.fs.SyncDir(l.decisionPacks())
}

// GonePayload says when retention deleted the excerpts of a leaf written at a time, zero
// if it did not.
func (l *Log) GonePayload(at time.Time) time.Time {
	gone := l.known().Gone
	i, ok := slices.BinarySearchFunc(gone, monthOf(at), func(g GoneMonth, m int) int { return g.Month - m })
	if !ok {
		return time.Time{}
	}
	return gone[i].At
}
