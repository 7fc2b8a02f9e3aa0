// Package watch notices when what discovery would find on this machine may have
// changed, and paces looking again.
//
// Files says that a path somebody looks for has changed, also one that is not
// there yet, by watching folders (discovery.md 4); Loop looks again then, after a
// pause that grows while changes keep coming and with what a look costs. The
// package MUST NOT open, start or write anything it watches, and says nothing of
// what is in a file. A change that is missed is found by the next full look.
package watch

import (
	"context"
	"time"
)

// How looks are paced.
const (
	settle     = 250 * time.Millisecond // without a change before a look
	settleMost = 2 * time.Second        // and no longer than this in all
	delayMost  = 10 * time.Second       // between looks while changes keep coming
	share      = 20                     // a look takes one part in so many of the time
	againMost  = 3                      // looks in a row that asked for another at once
)

// Loop looks, and looks again when it is woken and now and then.
type Loop struct {
	// Look looks once. again asks for another look at once: something came under
	// watch only after it was looked at.
	Look func(ctx context.Context) (again bool)
	// Wake says that something may have changed.
	Wake <-chan struct{}
	// Every is how long after a look the next one is due whether or not anything
	// changed. It is asked after each look.
	Every func() time.Duration
}

// Run looks at once and then until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	delay, again := settle, 0
	for woken := false; ctx.Err() == nil; {
		began := time.Now()
		more := l.Look(ctx)
		ended := time.Now()
		if more && again < againMost {
			again++
			continue
		}
		again = 0
		// One who writes a file all the time gets looks that are ever further apart.
		if woken {
			delay = min(2*delay, delayMost)
		}
		if !pause(ctx, max(delay, (share-1)*ended.Sub(began))) {
			return
		}
		calm := time.Now()
		if woken = l.wait(ctx, ended.Add(l.Every()).Sub(calm)); time.Since(calm) > delay+settleMost {
			delay = settle // it was calm for as long as that
		}
	}
}

// wait waits for a change that has settled, or until a full look is due.
func (l *Loop) wait(ctx context.Context, due time.Duration) (woken bool) {
	full := time.NewTimer(due)
	defer full.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-full.C:
		return false
	case <-l.Wake:
	}
	end := time.NewTimer(settleMost)
	defer end.Stop()
	for {
		still := time.NewTimer(settle)
		select {
		case <-l.Wake:
			still.Stop()
			continue
		case <-still.C:
			return true
		case <-end.C:
		case <-ctx.Done():
		}
		still.Stop()
		return true
	}
}

// pause waits, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
