package audit

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Told is something the log tells of that is over: a call that ended, one that
// was refused or is a list, a change, or what concerns the log itself. Names are
// "" where their key was destroyed.
type Told struct {
	// Row tells of the leaf that ends it. That of an outcome has the names of its
	// call. LeafID is the same whenever it is told, and of no other leaf.
	Row
	Leaf   []byte   // exact bytes; must not be changed
	Hash   [32]byte // of the leaf in the tree (RFC 6962, 2.1)
	Call   *Call    // of an outcome or a verdict, nil else; its arguments cannot be read
	End    *End     // of an outcome, nil else
	Change *Change  // of an admin leaf, nil else
	Loss   *Loss    // of a loss leaf, nil else
}

// End is how a call ended.
type End struct {
	Status   Status
	Reached  string // the server: yes, no or unknown
	Took     time.Duration
	In, Out  int // bytes from and to the agent
	Findings []string
	Withheld string   // outcome that withheld the result, "" for none
	Forbids  []string // rules that withheld it
	Masks    []string // rules that masked parts of it
}

// Change is a change an operator made or was refused.
type Change struct {
	Verb, Kind    string
	Reason        string // "" where its key was destroyed
	Before, After string // digests
}

// maxTold bounds the calls a Teller keeps while they have not ended.
const maxTold = 10_000

// Teller reads what is over from the log, in its order. It is for one caller at a
// time. What it knew of a name outlives the name's key: use one for minutes.
type Teller struct {
	l     *Log
	calls *callReader
	open  map[uint64]*Call
	era   uint64 // of the keys open was read with
}

// Teller returns a Teller.
func (l *Log) Teller() *Teller {
	return &Teller{l: l, calls: &callReader{l: l, names: newDeriver(l), pays: payloads{l: l}}, open: map[uint64]*Call{}}
}

// Next returns at most n things that are over of the leaves from index from on,
// and the index of the leaf to go on with. Fewer than n, and none, are returned
// where the durable log ends, maxRead leaves were read, or the next cannot be: it
// is the error once one goes on with it. Leaves that retention pruned are passed over.
func (t *Teller) Next(ctx context.Context, from uint64, n int) (out []Told, next uint64, err error) {
	const maxRead = 4096
	if era := t.l.keys.now(); era != t.era { // a key may have been destroyed
		clear(t.open)
		t.era = era
	}
	there, err := t.l.passing(from)
	if err != nil {
		return nil, from, err
	}
	from = there(from)
	next = from
	for end := min(t.l.Size(), from+maxRead); next < end && len(out) < n; next = there(next) {
		leaves, first, err := t.l.leavesAt(next)
		switch {
		case err != nil && next > from:
			return out, next, nil
		case err != nil:
			return nil, from, err
		}
		for next < min(end, first+uint64(len(leaves))) && len(out) < n {
			if err := ctx.Err(); err != nil {
				return nil, from, err
			}
			x, err := t.told(ctx, next, leaves[next-first])
			switch {
			case err != nil && next > from:
				return out, next, nil // what lies before it does not wait for it
			case err != nil:
				return nil, from, err
			}
			if x != nil {
				out = append(out, *x)
			}
			next++
		}
	}
	return out, next, nil
}

// Grown returns a channel that is closed once the durable log has more than size
// leaves.
func (l *Log) Grown(size uint64) <-chan struct{} { return l.growth(size) }

// told returns what a leaf ends, nil for an intent.
func (t *Teller) told(ctx context.Context, index uint64, leaf []byte) (*Told, error) {
	v, err := parseLeaf(leaf)
	if err != nil {
		return nil, fmt.Errorf("reading leaf %d: %w", index, err)
	}
	typ := v.get("type").str
	if typ == typeIntent {
		_, err := t.call(ctx, index, leaf)
		return nil, err
	}
	x := &Told{Leaf: leaf, Hash: tlog.RecordHash(leaf)}
	if x.Row, err = t.calls.names.row(ctx, index, leaf); err != nil {
		return nil, err
	}
	switch typ {
	case typeVerdict:
		x.Call, err = t.calls.call(ctx, index, leaf)
	case typeOutcome:
		err = t.ended(ctx, x, v)
	case typeAdmin, typeErasure, typeRetention:
		ids, _, oerr := t.calls.names.opened(ctx, v)
		o := v.get("object")
		x.Change, err = &Change{Verb: v.get("verb").str, Kind: o.get("kind").str, Reason: ids.Reason, Before: o.get("before").str, After: o.get("after").str}, oerr
	case typeLoss:
		x.Loss = &Loss{Stream: v.get("stream").str, Why: v.get("why").str, Count: int(v.get("count").num), First: timeOf(v.get("first")), Last: timeOf(v.get("last"))}
	}
	return x, err
}

// ended fills in how a call ended and whose it was.
func (t *Teller) ended(ctx context.Context, x *Told, v value) error {
	index := uint64(x.Intent)
	c, ok := t.open[index]
	if !ok {
		leaf, err := t.l.Leaf(ctx, index)
		if err != nil {
			return fmt.Errorf("the intent of leaf %d: %w", x.Index, err)
		}
		if c, err = t.call(ctx, index, leaf); err != nil {
			return err
		}
		if c == nil || c.Type != typeIntent {
			return fmt.Errorf("leaf %d is not the intent of leaf %d", index, x.Index)
		}
	}
	status := Status(v.get("st").str)
	if status != StatusInputRequired { // else another outcome may follow
		delete(t.open, index)
	}
	x.Call = c
	x.of(&c.Row)
	r := v.get("release")
	x.End = &End{
		Status: status, Reached: v.get("reached").str, Took: time.Duration(v.get("us").num) * time.Microsecond, In: int(v.get("in").num), Out: int(v.get("out").num),
		Findings: v.get("findings").strings(), Withheld: r.get("out").str, Forbids: r.get("forbids").strings(), Masks: r.get("masks").strings(),
	}
	return nil
}

// call returns what an intent or a verdict says and remembers an intent.
func (t *Teller) call(ctx context.Context, index uint64, leaf []byte) (*Call, error) {
	c, err := t.calls.call(ctx, index, leaf)
	if err != nil || c == nil || c.Type != typeIntent {
		return c, err
	}
	if len(t.open) >= maxTold {
		clear(t.open) // they are read again
	}
	t.open[index] = c
	return c, nil
}

func timeOf(v value) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, v.str) // a leaf is checked when it is written
	return at.UTC()
}
