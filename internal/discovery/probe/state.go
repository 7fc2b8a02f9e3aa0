package probe

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"rutile/internal/access"
)

// State is where a run ended, enough to go on: in the order of Seed everything
// before Next is done, and of what follows Ahead.
type State struct {
	Targets string   `json:"targets"` // digest of what was asked for
	Seed    uint64   `json:"seed"`
	Next    uint64   `json:"next"`
	Ahead   []uint64 `json:"ahead,omitempty"`
	Report  Report   `json:"report"`
}

// fingerprint tells runs of different targets or questions apart.
func fingerprint(cfg Config, targets []string) string {
	b, _ := json.Marshal([]any{targets, cfg.Ports, cfg.Gentle, cfg.Enumerate, cfg.CheckOrigin}) //nolint:errchkjson // strings, numbers, booleans
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// start begins the run, or goes on where the state says.
func (r *runner) start(targets string) error {
	r.ahead, r.saved = map[uint64]bool{}, time.Now()
	if r.pace == nil {
		r.pace = newPace(r.cfg.Rate, r.cfg.HostRate)
	}
	n := uint64(r.report.Places)
	if s := r.cfg.Resume; s != nil {
		if s.Targets != targets || s.Report.Places != r.report.Places || s.Next > n {
			return access.Errorf(access.CodeConflict, "the saved state is of a run with other targets or options: remove it, or ask for the same again")
		}
		r.state, r.report = *s, s.Report
		for _, n := range s.Ahead {
			r.ahead[n] = true
		}
		for _, f := range r.report.Found {
			r.answering[f.Address.Addr()]++
		}
	} else {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return fmt.Errorf("choosing an order: %w", err)
		}
		r.state = State{Targets: targets, Seed: binary.BigEndian.Uint64(b[:])}
	}
	r.order = newOrder(r.state.Seed, n)
	return nil
}

func (r *runner) save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.saveLocked()
}

func (r *runner) saveLocked() error {
	r.saved = time.Now()
	if r.cfg.Save == nil {
		return nil
	}
	s := r.state
	s.Report, s.Ahead = r.report, slices.Sorted(maps.Keys(r.ahead))
	if err := r.cfg.Save(s); err != nil {
		return fmt.Errorf("saving how far the probe is: %w", err)
	}
	return nil
}
