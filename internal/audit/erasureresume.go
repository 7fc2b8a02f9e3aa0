package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"rutile/internal/access"
)

// erasedDir holds the orders this log began to carry out. They stand beside the log
// and not in the database, so that a database that is put back does not undo them.
func (l *Log) erasedDir() string { return filepath.Join(l.cfg.Dir, "erased") }

func (l *Log) keepErasure(e Erasure, doc []byte) error {
	if err := makeDirs(l.fs, l.cfg.Dir, l.erasedDir()); err != nil {
		return err
	}
	if err := writeAtomic(l.fs, l.tmpName(e.ID), filepath.Join(l.erasedDir(), e.ID+".json"), doc); err != nil {
		return err
	}
	return l.fs.SyncDir(l.erasedDir())
}

// keptErasures returns the orders kept beside the log.
func (l *Log) keptErasures() ([]Erasure, error) {
	names, err := l.fs.List(l.erasedDir())
	if err != nil {
		return nil, err
	}
	var out []Erasure
	for _, name := range names {
		b, err := readFile(l.fs, filepath.Join(l.erasedDir(), name))
		if err != nil {
			return nil, err
		}
		var e Erasure
		if err := json.Unmarshal(b, &e); err != nil || e.ID+".json" != name || !strings.HasPrefix(e.ID, prefixErasure) {
			return nil, access.Errorf(access.CodeEvidence, "%s is no order to erase: restore it, or erase again and remove it", filepath.Join(l.erasedDir(), name))
		}
		out = append(out, e)
	}
	return out, nil
}

// ResumeErasures carries out what was ordered and this log has not done: what another
// node ordered, what was interrupted and, the first time it is called, what a database
// that was put back undid. It MUST be called before anybody is served, and again and
// again. A legal hold defers it, also one of another log that shares the keys.
func (l *Log) ResumeErasures(ctx context.Context) error {
	store, ok := l.keys.store.(Erasures)
	if !ok || l.cfg.Retention.Hold {
		return nil
	}
	l.erasing.Lock()
	defer l.erasing.Unlock()
	due, err := l.dueErasures(ctx, store)
	if err == nil && len(due) > 0 {
		if err := l.held(ctx); access.CodeOf(err) == access.CodeConflict {
			l.log.Info("an erasure waits for a legal hold", "why", err)
			return nil
		} else if err != nil {
			return err
		}
	}
	for _, e := range due {
		if cerr := l.carryOut(ctx, store, e); cerr != nil {
			err = errors.Join(err, fmt.Errorf("carrying out %s: %w", e.ID, cerr))
		}
	}
	if err == nil {
		l.erasuresSeen = true
	}
	return err
}

// dueErasures returns the orders to be carried out, and keeps anew what the database
// does not know.
func (l *Log) dueErasures(ctx context.Context, store Erasures) ([]Erasure, error) {
	ordered, err := store.Erasures(ctx)
	if err != nil {
		return nil, err
	}
	done, err := store.ErasedBy(ctx, l.cfg.Origin)
	if err != nil {
		return nil, err
	}
	if !l.erasuresSeen {
		kept, err := l.keptErasures()
		if err != nil {
			return nil, err
		}
		known := map[string]bool{}
		for _, e := range ordered {
			known[e.ID] = true
		}
		for _, e := range kept {
			if known[e.ID] {
				continue
			}
			if err := store.PutErasure(ctx, e); err != nil {
				return nil, err
			}
			ordered = append(ordered, e)
		}
	}
	var due []Erasure
	for _, e := range ordered {
		if done[e.ID] && !l.erasuresSeen {
			there, err := l.standing(ctx, e)
			if err != nil {
				return nil, err
			}
			done[e.ID] = len(there) == 0
		}
		if !done[e.ID] {
			due = append(due, e)
		}
	}
	return due, nil
}

// erasureOf is what the detail of a says, nil if it is about something else.
func erasureOf(a *Admin) *Erasure {
	if a.Kind != KindErasure {
		return nil
	}
	var e Erasure
	if json.Unmarshal(a.Detail, &e) != nil || !strings.HasPrefix(e.ID, prefixErasure) {
		return nil
	}
	return &e
}

// maxErased bounds the ids of keys a leaf lists: those of 21 years of calls.
const maxErased = 256

// erasure writes the member of that name: which data keys are, or were, destroyed, so
// that whoever reads the log can tell why a leaf cannot be opened.
func (d *draft) erasure(e *Erasure) {
	var keys []string
	for _, k := range e.Keys {
		if id, ok := strings.CutPrefix(k.Name, nameData); ok {
			keys = append(keys, id)
		}
	}
	mark := d.begin("erasure")
	d.str("id", e.ID)
	if len(keys) > 0 {
		d.enc.key("keys")
		d.b = append(d.b, '[')
		for i, id := range keys[:min(len(keys), maxErased)] {
			if i > 0 {
				d.b = append(d.b, ',')
			}
			d.b = appendJCSString(d.b, cut(id, maxItem))
		}
		d.b = append(d.b, ']')
	}
	d.int("n", int64(len(e.Keys)))
	d.list("subjects", e.Pseudonyms)
	d.end(mark)
}
