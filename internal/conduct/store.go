package conduct

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
)

// Load takes over what a store kept of a node. A tally that cannot be read, or that
// no Book could have written, is learned anew.
func (b *Book) Load(ctx context.Context, s Store, node string) error {
	rows, err := s.Conduct(ctx, node)
	if err != nil {
		return fmt.Errorf("reading how tools behave: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rows {
		var t Tally
		if json.Unmarshal(r.Tally, &t) != nil || !t.sound() || len(b.tools) >= maxTools {
			b.gone[r.Key] = true
			continue
		}
		b.tools[r.Key] = &t
	}
	return nil
}

// Save writes what changed since the last time. What could not be written is written
// with the next one.
func (b *Book) Save(ctx context.Context, s Store, node string) error {
	b.mu.Lock()
	var put []Row
	var drop []Key
	for k := range b.dirty {
		doc, err := json.Marshal(b.tools[k])
		if err != nil {
			b.mu.Unlock()
			return fmt.Errorf("writing how tools behave: %w", err)
		}
		put = append(put, Row{k, doc})
	}
	for k := range b.gone {
		drop = append(drop, k)
	}
	clear(b.dirty)
	clear(b.gone)
	b.mu.Unlock()
	if len(put)+len(drop) == 0 {
		return nil
	}
	err := s.SaveConduct(ctx, node, put, drop)
	if err == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range put {
		if b.tools[r.Key] != nil {
			b.dirty[r.Key] = true
		}
	}
	for _, k := range drop {
		if b.tools[k] == nil {
			b.gone[k] = true
		}
	}
	return fmt.Errorf("keeping how tools behave: %w", err)
}

// sound reports whether t is within the bounds add keeps.
func (t *Tally) sound() bool {
	if t.Revision == "" || len(t.Sizes) > baseSize || len(t.Window) > windowSize || len(t.Shapes) > maxShapes+1 || len(t.Hosts) > maxHosts+1 || len(t.News) > maxNews {
		return false
	}
	if t.Next < 0 || t.Next >= baseSize || t.At < 0 || t.At >= windowSize || t.BaseErrors > t.BaseCalls {
		return false
	}
	for _, s := range t.Sizes {
		if math.IsNaN(float64(s)) || math.IsInf(float64(s), 0) {
			return false
		}
	}
	return true
}
