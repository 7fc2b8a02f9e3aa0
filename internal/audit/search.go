package audit

import (
	"context"
	"fmt"
	"time"

	"rutile/internal/access"
)

// indexWait is how long a search waits for the index. The index follows within
// a moment, or something keeps it.
const indexWait = 5 * time.Second

// Search finds rows of this log among everything durable when it is called.
// Other logs may be in the same database; their indexes mean other leaves.
func (l *Log) Search(ctx context.Context, q Query) (rows []Row, err error) {
	err = l.whole(ctx, func() error {
		rows, err = l.find(ctx, q)
		return err
	})
	return rows, err
}

// SearchPart is Search, newest first, that gives up after so many rows that it looked
// at and says how far it came.
func (l *Log) SearchPart(ctx context.Context, q Query) (p Part, err error) {
	q.Origin = l.cfg.Origin
	err = l.whole(ctx, func() error {
		p, err = l.index.SearchPart(ctx, q)
		return err
	})
	return p, err
}

// MostCounted is how far events are counted.
const MostCounted = 1_000_000

// Count returns how many events of this log match among everything durable when it
// is called. It counts no further than most.
func (l *Log) Count(ctx context.Context, q Query, most int) (n int, err error) {
	q.Origin = l.cfg.Origin
	err = l.whole(ctx, func() error {
		n, err = l.index.Count(ctx, q, most)
		return err
	})
	return n, err
}

// find searches what is indexed.
func (l *Log) find(ctx context.Context, q Query) ([]Row, error) {
	q.Origin = l.cfg.Origin
	return l.index.Search(ctx, q)
}

// whole runs f while everything durable at its beginning is indexed. f runs
// again if the index was rebuilt under it, because what it found then is not
// all there is.
func (l *Log) whole(ctx context.Context, f func() error) error {
	for {
		drops := l.indexer.dropped()
		if err := l.awaitBriefly(ctx); err != nil {
			return err
		}
		if err := f(); err != nil {
			return err
		}
		if l.indexer.dropped() == drops {
			return nil
		}
	}
}

func (l *Log) awaitBriefly(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, indexWait)
	defer cancel()
	err := l.AwaitIndex(wait)
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return access.Errorf(access.CodeUnavailable, "the search index is behind the log (%d of %d leaves); try again in a moment", l.Indexed(), l.Size())
	}
	return err
}

// ByDecision returns the rows of a decision or change id in the order in which
// they began, after what is durable now can be found.
func (l *Log) ByDecision(ctx context.Context, id string) ([]Row, error) {
	if id == "" {
		return nil, access.Errorf(access.CodeInvalid, "a decision id is missing")
	}
	rows, err := l.Search(ctx, Query{Decision: id, Ascending: true, Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", id, err)
	}
	if len(rows) == 0 {
		return nil, access.Errorf(access.CodeNotFound, "no evidence of %q; `rutile audit search` lists what there is", id)
	}
	return rows, nil
}
