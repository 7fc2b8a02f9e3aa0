package admin

import (
	"cmp"
	"time"
)

// standing is what every declared object has that no manifest writes, or not always.
type standing struct {
	created, changed *time.Time
	state            *string
}

// stateActive is the first state of declared objects of every kind that is planned so.
const stateActive = "active"

// declare plans an object of a kind that only its manifest changes: it is new or brought
// to the stated form, keeps when it was made, and its state where none is written.
// It reports whether anything changes.
func declare[T any](p *planner, it *Item, cur map[string]T, changes map[string]*T, next *T, of func(*T) standing) bool {
	old, exists := cur[it.ID]
	was, is := of(&old), of(next)
	*is.created, *is.changed = p.now, p.now
	if exists {
		*is.created = *was.created
	}
	*is.state = cmp.Or(*is.state, *was.state, stateActive)
	var before any
	if exists {
		before = old
	}
	if !it.decide(exists, before, *next) {
		return false
	}
	changes[it.ID] = next
	return true
}
