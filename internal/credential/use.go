package credential

import (
	"maps"
	"sync"
	"time"
)

// Use is the last time a credential was opened or minted for something.
type Use struct {
	At      time.Time
	Version string    // of a sealed one its number, of a minted one what evidence names
	Expires time.Time // of a minted one; zero if it does not end by itself or nobody knows
}

// uses are the last uses since they were noted.
type uses struct {
	mu   sync.Mutex
	last map[string]Use
}

func (u *uses) note(id string, use Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[string]Use{}
	}
	u.last[id] = use
}

// Uses returns the last use of each credential since the last call of TakeUses.
func (v *Vault) Uses() map[string]Use {
	v.uses.mu.Lock()
	defer v.uses.mu.Unlock()
	return maps.Clone(v.uses.last)
}

// TakeUses is Uses and forgets them. Whoever could not keep them gives them back
// with GiveUses.
func (v *Vault) TakeUses() map[string]Use {
	v.uses.mu.Lock()
	defer v.uses.mu.Unlock()
	out := v.uses.last
	v.uses.last = nil
	return out
}

// GiveUses takes uses back that were not kept; a later one stands.
func (v *Vault) GiveUses(back map[string]Use) {
	v.uses.mu.Lock()
	defer v.uses.mu.Unlock()
	for id, use := range back {
		if now, ok := v.uses.last[id]; ok && !now.At.Before(use.At) {
			continue
		}
		if v.uses.last == nil {
			v.uses.last = map[string]Use{}
		}
		v.uses.last[id] = use
	}
}
