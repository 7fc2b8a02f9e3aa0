package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A log may let go leaves of calls that are too old: bundles below its minimum are gone,
// their hashes stay in the tiles, and leaves of other classes in kept/. What is gone is
// right if a leaf said so before, by a policy that the log had announced.

// pruning is what a walk learns of that.
type pruning struct {
	gone    []uint64        // bundles that are not there
	kept    map[uint64]bool // leaves in kept/
	read    uint64          // of them, those that were in place of a bundle
	latest  time.Time       // of them, when the newest was written
	policy  value           // the newest leaf that says what is kept
	since   time.Time
	beside  bool   // retention.json is to be judged
	known   *state // what retention.json says, nil where it is not there to be read
	earlier uint64 // index of the leaf of retention before the newest, 0 for none
	newest  uint64 // index of the newest leaf of retention, 0 for none
	minimum uint64 // of the newest leaf that says what goes
	stay    uint64 // how many it says stay
	before  time.Time
}

// keptIndex is the index a file of kept/ is named after.
func keptIndex(name string) (uint64, bool) {
	base, ok := strings.CutSuffix(name, ".json")
	index, err := strconv.ParseUint(base, 10, 62)
	return index, ok && err == nil && strconv.FormatUint(index, 10) == base
}

// listKept reads which leaves are kept. A name that is none is somebody else's.
func (w *walk) listKept(log *archive) {
	w.pruned.kept = map[uint64]bool{}
	for _, name := range w.list(log, "kept") {
		index, ok := keptIndex(name)
		if !ok || index >= w.head.size {
			w.report.problem("kept/%s is no leaf of this log", name)
			continue
		}
		w.pruned.kept[index] = true
	}
}

// passed walks a bundle that is gone by its tile, and checks what is kept of it. It
// reports whether that could be done.
func (w *walk) passed(n uint64) bool {
	tile, err := w.read(tilePath(0, n, tileWidth))
	if err != nil {
		return false
	}
	hashes, err := parseTile(tile, tileWidth)
	if err != nil {
		return false
	}
	w.pruned.gone = append(w.pruned.gone, n)
	for i, hash := range hashes {
		index := n*tileWidth + uint64(i)
		if !w.pruned.kept[index] {
			w.push(hash)
			w.report.Pruned++
			continue
		}
		leaf, err := w.read("kept/" + strconv.FormatUint(index, 10) + ".json")
		if err != nil || leafHash(leaf) != hash {
			w.report.problem("kept/%d.json is not leaf %d", index, index)
			w.push(hash)
			continue
		}
		w.pruned.read++
		if at, err := time.Parse(time.RFC3339Nano, textOf(leaf, "at")); err == nil && at.After(w.pruned.latest) {
			w.pruned.latest = at
		}
		w.leaf(leaf)
	}
	return true
}

func textOf(leaf []byte, member string) string {
	s, _ := topString(leaf, member) // what is malformed is reported where the leaf is checked
	return s
}

// besideKept compares a leaf with its copy, where both are there.
func (w *walk) besideKept(index uint64, leaf []byte) {
	if !w.pruned.kept[index] {
		return
	}
	if b, err := w.read("kept/" + strconv.FormatUint(index, 10) + ".json"); err != nil || leafHash(b) != leafHash(leaf) {
		w.report.problem("kept/%d.json is not leaf %d", index, index)
	}
}

// retention reads what the log says of what it keeps, and holds it to it.
func (w *walk) retention(index uint64, v value) {
	says := v.get("retention")
	w.pruned.earlier, w.pruned.newest = w.pruned.newest, index
	at, _ := time.Parse(time.RFC3339Nano, v.get("at").str) // the form was checked
	if says.get("decision").kind != 0 {
		w.pruned.policy, w.pruned.since = says, at
	}
	if says.get("minimum").kind == 0 {
		return
	}
	minimum := uint64(says.get("minimum").num)
	before, _ := time.Parse(time.RFC3339Nano, says.get("before").str)
	days := w.pruned.policy.get("decision").num
	switch {
	case minimum > index || minimum%tileWidth != 0 || minimum < w.pruned.minimum:
		w.report.problem("leaf %d: it says that leaves below %d are pruned, which cannot be", index, minimum)
	case days <= 0:
		w.report.problem("leaf %d: leaves are pruned, and no leaf says how long they are kept", index)
	case w.pruned.policy.get("hold").kind != 0:
		w.report.problem("leaf %d: leaves are pruned under a legal hold", index)
	case at.Sub(w.pruned.since) < 30*24*time.Hour:
		w.report.problem("leaf %d: leaves are pruned by a policy that stood in the log for less than 30 days", index)
	case before.AddDate(0, 0, int(days)).After(at):
		w.report.problem("leaf %d: leaves are pruned that were written after %s, less than %d days before", index, before.AddDate(0, 0, 0).Format(time.RFC3339), days)
	}
	w.pruned.minimum, w.pruned.stay, w.pruned.before = max(minimum, w.pruned.minimum), uint64(says.get("kept").num), before
}

// judge compares what is gone with what the log says went.
func (w *walk) judge() {
	p := &w.pruned
	for _, n := range p.gone {
		if (n+1)*tileWidth > p.minimum {
			w.report.problem("bundle %s is gone, and no leaf says that it was pruned", bundlePath(n, tileWidth))
		}
	}
	w.judgeState()
	var below uint64
	for index := range p.kept {
		if index < p.minimum {
			below++
		}
	}
	if below < p.stay {
		w.report.problem("%d leaves that outlive the pruned ones are missing: the log says that %d are kept", p.stay-below, p.stay)
	}
	if len(p.gone) > 0 && p.minimum > 0 && !p.latest.Before(p.before) {
		w.report.problem("a leaf among the pruned ones was written at %s, and only those before %s are too old", p.latest.Format(time.RFC3339), p.before.Format(time.RFC3339))
	}
}

// retentionName is the file beside log/ in which a log keeps what retention did. What went
// is what the leaves say; the file is signed, so that who edits it is found, and says
// which leaf of retention it knows last, so that an older copy is.
const retentionName = "retention.json"

// signedState is that file.
type signedState struct {
	State     json.RawMessage `json:"state"`
	Signature string          `json:"signature"` // the signature lines of a C2SP signed note of stateText
}

// stateText is what the log signs of it. It is no checkpoint: their first line is an
// origin, and no origin is this one.
func stateText(origin string, state []byte) string {
	return "rutile retention.json v1\n" + origin + "\n" + string(state) + "\n"
}

// openState returns the state of a file that the log of origin signed.
func openState(b []byte, origin string, verifiers ...note.Verifier) ([]byte, error) {
	var f signedState
	if json.Unmarshal(b, &f) != nil || len(f.State) == 0 {
		return nil, errors.New("it has not the form of it")
	}
	n, err := note.Open([]byte(stateText(origin, f.State)+"\n"+f.Signature), note.VerifierList(verifiers...))
	if err != nil {
		return nil, fmt.Errorf("its signature: %w", err)
	}
	if !slices.ContainsFunc(n.Sigs, func(s note.Signature) bool { return s.Name == origin }) {
		return nil, fmt.Errorf("it is not signed by %s", origin)
	}
	return f.State, nil
}

// state is what a verifier reads of it.
type state struct {
	Leaf   uint64 `json:"leaf"`
	Raised []struct {
		Minimum uint64 `json:"minimum"`
	} `json:"raised"`
}

// state reads retention.json. It is read after the checkpoint, so a log that is being
// written to has not moved on behind it.
func (w *walk) state(a *archive) {
	w.pruned.beside = true
	b, err := a.read(retentionName)
	if missing(err) {
		return
	}
	var s state
	if err == nil {
		b, err = openState(b, w.head.origin, w.trust.logs...)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		w.report.problem("%s is not what the log wrote: %v", retentionName, err)
		w.pruned.beside = false
		return
	}
	w.pruned.known = &s
}

// judgeState compares what retention.json says with what the leaves do. A leaf is written
// before the file, so a process that was killed in between leaves it one behind.
func (w *walk) judgeState() {
	p := &w.pruned
	switch {
	case !p.beside:
	case p.known == nil:
		if p.earlier > 0 {
			w.report.problem("%s is missing: the log wrote it after leaf %d", retentionName, p.earlier)
		}
	case p.known.Leaf < p.earlier:
		w.report.problem("%s is an older copy: it does not know of leaf %d", retentionName, p.earlier)
	case p.known.Leaf < w.head.size && len(p.known.Raised) > 0 && p.known.Raised[len(p.known.Raised)-1].Minimum > p.minimum:
		w.report.problem("%s says that leaves below %d are gone, and the log those below %d", retentionName, p.known.Raised[len(p.known.Raised)-1].Minimum, p.minimum)
	}
}
