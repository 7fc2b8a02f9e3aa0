// Package conduct keeps how each tool behaves and says where that differs from what
// its approved definition says, or from how it behaved before.
//
// A Book is told of every call that was answered. It keeps a bounded tally for each
// tool: what was learned from calls that were permitted and in which nothing was
// found, and the last calls. Of what tools return it keeps lengths, hashes of shapes
// and of hosts, and the names of at most eight hosts that are new. Saw MUST NOT block
// and costs some microseconds; what is odd is worked out in Odd, beside the calls.
// The package decides nothing and stops nothing.
package conduct

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/rawjson"
)

// Claims are what an approved definition says about its tool, with the defaults of
// MCP where it says nothing.
type Claims struct {
	ReadOnly bool // it changes nothing
	Additive bool // what it changes it only adds to: no destructive updates
	Closed   bool // it deals with nothing outside of its own domain
}

// Call is one call that was answered.
type Call struct {
	Server, Tool string
	// Revision is what was approved and since when it counts: another one is another
	// tool, and what was learned is forgotten.
	Revision string
	At       time.Time
	Claims   Claims
	Failed   bool          // it says that it is an error
	Result   rawjson.Value // what a call of the tool returned; Missing where it cannot be read
	Body     []byte        // all of the answer, as the server sent it
	Told     bool          // before it answered the server said that something of its own changed
	Checked  bool          // its structured content was held against the output schema
	Misfit   bool          // and does not fit it
	// Flagged says that inspection or a policy had something to say about it, or that
	// it was let through only because nothing is enforced: nothing is learned from it.
	Flagged bool
}

// Key names a tool of a server.
type Key struct{ Server, Tool string }

// maxTools bounds the tools of one Book: the one that was called least lately goes.
const maxTools = 4096

// Book keeps the tallies of one node. It is safe for concurrent use.
type Book struct {
	mu    sync.Mutex
	tools map[Key]*Tally
	dirty map[Key]bool // changed since they were saved
	gone  map[Key]bool // kept in the store and here no more
}

// NewBook returns an empty Book.
func NewBook() *Book {
	return &Book{tools: map[Key]*Tally{}, dirty: map[Key]bool{}, gone: map[Key]bool{}}
}

// Saw takes one call. c.Body and c.Result are not kept.
func (b *Book) Saw(c *Call) {
	s := seen(c) // before the lock: it reads the answer
	k := Key{c.Server, c.Tool}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tools[k]
	if t == nil || t.Revision != c.Revision {
		if t == nil && len(b.tools) >= maxTools {
			b.evict()
		}
		t = &Tally{Revision: c.Revision, Since: c.At}
		b.tools[k] = t
	}
	t.Claims = c.Claims
	t.add(s, c.At)
	b.dirty[k] = true
	delete(b.gone, k)
}

func (b *Book) evict() {
	var oldest Key
	var at time.Time
	for k, t := range b.tools {
		if at.IsZero() || t.Last.Before(at) {
			oldest, at = k, t.Last
		}
	}
	b.drop(oldest)
}

func (b *Book) drop(k Key) {
	delete(b.tools, k)
	delete(b.dirty, k)
	b.gone[k] = true
}

// Checks reports whether the next call of a tool is to be held against its output
// schema: each of the first calls, then one of eight, since that costs more than all
// the rest.
func (b *Book) Checks(server, tool string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tools[Key{server, tool}]
	return t == nil || t.Calls < windowSize || t.Calls%8 == 0
}

// Keep forgets every tool that is not as revision says now: it was approved anew,
// began to be learned again, or is not there any more.
func (b *Book) Keep(revision func(Key) (string, bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, t := range b.tools {
		if now, ok := revision(k); !ok || now != t.Revision {
			b.drop(k)
		}
	}
}

// Of returns a summary of a tool's tally, nil if it was not called lately.
func (b *Book) Of(server, tool string, now time.Time) *Summary {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tools[Key{server, tool}]
	if t == nil {
		return nil
	}
	return t.summary(now)
}

// Odd says what is odd about every tool, in the order of their names.
func (b *Book) Odd(now time.Time) []Oddity {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Oddity
	for k, t := range b.tools {
		for _, o := range t.odd(now) {
			o.Key = k
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(x, y Oddity) int {
		return strings.Compare(x.Server+"\x00"+x.Tool+"\x00"+x.Rule+"\x00"+x.Place, y.Server+"\x00"+y.Tool+"\x00"+y.Rule+"\x00"+y.Place)
	})
	return out
}

// Row is one tally as a Store keeps it.
type Row struct {
	Key
	Tally []byte // JSON
}

// Store keeps tallies by node.
type Store interface {
	Conduct(ctx context.Context, node string) ([]Row, error)
	// SaveConduct replaces the rows of put and removes those of drop.
	SaveConduct(ctx context.Context, node string, put []Row, drop []Key) error
}
