package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Moment is one leaf of the log that tells of calls or of what people did about who
// makes them. It is valid until the next one is yielded.
type Moment struct {
	Index uint64
	At    time.Time
	Boot  uint64 // of the gateway that wrote it
	Call  *Call  // a decision
	End   *Ending
	Act   *Act
}

// Ending is how a call ended, as its outcome says.
type Ending struct {
	Intent   uint64 // index of its leaf
	Status   Status
	Findings []string
	Masked   bool // parts of what came back were
	Bytes    int  // of what came back
}

// Act is what a person did to an object.
type Act struct {
	Verb, Kind string
	ID         string // "" once its key was destroyed
}

// Moments yields what [from, to) tells of calls, in the order of the log. The last pair
// may be an error. It holds one run of leaves in memory.
func (l *Log) Moments(ctx context.Context, from, to uint64) iter.Seq2[Moment, error] {
	return func(yield func(Moment, error) bool) {
		r := newCallReader(l)
		defer r.pays.close()
		for e, err := range l.entries(ctx, from, to) {
			var m Moment
			if err == nil {
				m, err = r.moment(ctx, e)
			}
			if err != nil {
				yield(Moment{}, err)
				return
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (r *callReader) moment(ctx context.Context, e Entry) (Moment, error) {
	v, err := parseLeaf(e.Leaf)
	if err != nil {
		return Moment{}, fmt.Errorf("reading leaf %d: %w", e.Index, err)
	}
	m := Moment{Index: e.Index, Boot: uint64(v.get("boot").num)}
	if m.At, err = time.Parse(time.RFC3339Nano, v.get("at").str); err != nil {
		return Moment{}, fmt.Errorf("reading leaf %d: its time is malformed", e.Index)
	}
	switch v.get("type").str {
	case typeIntent, typeVerdict:
		m.Call, err = r.decided(ctx, e.Index, e.Leaf, v)
	case typeOutcome:
		m.End = &Ending{
			Intent: uint64(v.get("intent").get("i").num), Status: Status(v.get("st").str), Findings: v.get("findings").strings(),
			Masked: len(v.get("release").get("masks").strings()) > 0, Bytes: int(v.get("out").num),
		}
	case typeAdmin:
		var row Row
		row, err = r.names.rowOf(ctx, e.Index, v)
		m.Act = &Act{Verb: v.get("verb").str, Kind: v.get("object").get("kind").str, ID: row.Object}
	}
	return m, err
}

// Relaxed reports whether nobody waited for the leaf: it is of a list, or of what the
// gateway looked up by itself.
func (c *Call) Relaxed() bool { return c.v.get("dur").kind != 0 }

// Refused reports whether the call was not permitted.
func (c *Call) Refused() bool { return c.Type == typeVerdict }

// Run returns the version and the run of the agent that made the call, "" where it
// told none or its key was destroyed.
func (c *Call) Run(ctx context.Context) (version, instance string, err error) {
	version = c.v.get("who").get("ver").str
	if c.v.get("sealed").kind == 0 {
		return version, "", nil
	}
	plain, err := c.reader.l.openSealed(ctx, c.v)
	if errors.Is(err, errNoKey) {
		return version, "", nil
	}
	var ids sealedIDs
	if err == nil {
		err = json.Unmarshal(plain, &ids)
	}
	if err != nil {
		return "", "", fmt.Errorf("opening leaf %d: %w", c.Index, err)
	}
	return version, ids.Instance, nil
}
