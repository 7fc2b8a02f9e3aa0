package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"rutile/internal/access"
)

// A legal hold is of one node, and the keys of persons are of all that share the
// database: what one destroys, nobody can open in the log of another. So a log under a
// hold says so beside the keys, and no log that shares them destroys any.

// nameHold begins the names under which logs say so in the KeyStore. What is sealed there
// is whose hold it is.
const nameHold = "hold."

type heldLog struct {
	Origin string `json:"origin"`
	Node   string `json:"node"`
}

func (l *Log) holdName() string { return nameHold + l.keys.keyed("hold", l.cfg.Tenant, l.cfg.Origin) }

// tellHold says beside the keys that this log is under a hold, or that it is not any
// more. A database that was put back is told again.
func (l *Log) tellHold(ctx context.Context) error {
	name := l.holdName()
	if l.cfg.Retention.Hold {
		_, err := l.keys.unwrapped(ctx, name, func() ([]byte, error) { return json.Marshal(heldLog{l.cfg.Origin, l.cfg.Node}) })
		if err != nil {
			return fmt.Errorf("telling who shares the keys of the legal hold: %w", err)
		}
		return nil
	}
	wrapped, err := l.keys.store.EvidenceKeys(ctx)
	if err != nil {
		return fmt.Errorf("listing the evidence keys: %w", err)
	}
	w := wrapped[name]
	if w == nil {
		return nil
	}
	store, err := l.erasures()
	if err != nil {
		return err
	}
	if err := store.DestroyKeys(ctx, map[string][]byte{name: w}); err != nil {
		return fmt.Errorf("telling who shares the keys that the legal hold is lifted: %w", err)
	}
	return nil
}

// held is the error of who wants to destroy keys that a log under a hold needs, nil
// where none is.
func (l *Log) held(ctx context.Context) error {
	if l.cfg.Retention.Hold {
		return access.Errorf(access.CodeConflict, "nothing was erased: evidence.retention.hold is set; lift the legal hold first")
	}
	wrapped, err := l.keys.store.EvidenceKeys(ctx)
	if err != nil {
		return fmt.Errorf("listing the evidence keys: %w", err)
	}
	var nodes []string
	for name := range wrapped {
		if !strings.HasPrefix(name, nameHold) || name == l.holdName() {
			continue
		}
		raw, err := l.keys.unwrapped(ctx, name, nil)
		var h heldLog
		if err == nil {
			err = json.Unmarshal(raw, &h)
		}
		if err != nil {
			return fmt.Errorf("reading who is under a legal hold: %w", err)
		}
		nodes = append(nodes, fmt.Sprintf("%s (log %s)", h.Node, h.Origin))
	}
	if len(nodes) == 0 {
		return nil
	}
	slices.Sort(nodes)
	return access.Errorf(access.CodeConflict, "nothing was erased: node %s shares the keys and is under a legal hold; lift it there (evidence.retention.hold) and start it once", strings.Join(nodes, ", node "))
}
