package boundary

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rutile/internal/access"
)

// The sides of a mark (inspection.md 9).
const (
	SideTaint = "taint" // integrity: whose words were read
	SideLabel = "label" // confidentiality: what was seen
	// sideParent names the session that handed work on: what is raised in this one is
	// raised there too.
	sideParent = "parent"
)

// Bounds of what is remembered of sessions.
const (
	maxSessions = 4096 // in memory; what is not is read again
	maxMarks    = 1024 // of one session
	maxDepth    = 8    // of sessions that handed work on
	// soon is how long Touched remembers that a session had touched nothing, where other
	// nodes may change that.
	soon = time.Second
)

// Mark is one taint or label of a session, with the call that raised it first.
type Mark struct {
	Session  string
	Side     string
	Word     string
	Server   string // whose answer, "" where it came with another session
	Tool     string
	Decision string
	Leaf     uint64 // of the intent of that call, with its hash
	Hash     []byte
	At       time.Time
}

// same reports whether two marks say the same of one session.
func (m *Mark) same(o *Mark) bool {
	return m.Side == o.Side && m.Word == o.Word && m.Server == o.Server
}

// LabelStore keeps marks.
type LabelStore interface {
	// PutLabels keeps marks; one that is there already stays.
	PutLabels(ctx context.Context, marks []Mark) error
	// Labels returns the marks of a session, oldest first.
	Labels(ctx context.Context, session string) ([]Mark, error)
	// PutSource keeps the fingerprints of what a session was shown.
	PutSource(ctx context.Context, session, id string, prints []byte, at time.Time) error
	// Sources returns those of a session, oldest first, but for those that are known.
	Sources(ctx context.Context, session string, known func(id string) bool) (ids []string, prints [][]byte, err error)
}

// Keys gives every session a key nobody else has, for a purpose. Book does.
type Keys interface {
	Key(ctx context.Context, session, purpose string) ([]byte, error)
}

// Labels knows what sessions have touched. A mark MUST be durable before what raised
// it is released, and is never taken back: only the end of the session is. It is safe
// for concurrent use.
type Labels struct {
	store  LabelStore
	keys   Keys
	shared bool
	now    func() time.Time

	mu    sync.Mutex
	known map[string]*touched
	swept uint64 // how often memory was given back
}

// touched is what is known of one session. Its marks are replaced, never changed.
type touched struct {
	whole bool // all the store has is in it
	read  time.Time
	marks []Mark
	view  *access.Touched // of marks, nil where it is to be made
}

// NewLabels returns the labels of sessions in a store. shared says that other nodes
// change it too: then every look reads it.
func NewLabels(store LabelStore, keys Keys, shared bool, now func() time.Time) (*Labels, error) {
	if store == nil || keys == nil || now == nil {
		return nil, errors.New("boundary: labels need a store, keys and a clock")
	}
	return &Labels{store: store, keys: keys, shared: shared, now: now, known: map[string]*touched{}}, nil
}

// Of returns what a session has touched. It MUST NOT be changed. Where it cannot be
// read Err says so.
func (l *Labels) Of(ctx context.Context, session string) *access.Touched {
	if session == "" {
		return &access.Touched{}
	}
	l.mu.Lock()
	t, swept := l.known[session], l.swept
	if t != nil && t.whole && !l.shared {
		defer l.mu.Unlock()
		return t.look()
	}
	l.mu.Unlock()
	marks, err := l.store.Labels(ctx, session)
	if err != nil {
		return &access.Touched{Err: "what the session has touched cannot be read"}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t = l.keep(session)
	t.add(marks)
	t.whole, t.read = t.whole || swept == l.swept, l.now() // else a mark may have been forgotten meanwhile
	return t.look()
}

// Touched reports whether a session has touched anything, in doubt true. Where other
// nodes raise marks too it may be a second late.
func (l *Labels) Touched(ctx context.Context, session string) bool {
	if session == "" {
		return false
	}
	l.mu.Lock()
	t := l.known[session]
	known, fresh := t != nil && len(t.marks) > 0, t != nil && t.whole && (!l.shared || l.now().Sub(t.read).Abs() < soon)
	l.mu.Unlock()
	return known || !fresh && !l.Of(ctx, session).Clean()
}

// Marks returns the marks of a session, oldest first.
func (l *Labels) Marks(ctx context.Context, session string) ([]Mark, error) {
	return l.store.Labels(ctx, session)
}

// Raise adds marks, which are of one session, there and in the sessions that handed it
// work, and reports whether one of them is new. When it returns they are durable; an
// error means that what raised them must not be released.
func (l *Labels) Raise(ctx context.Context, marks []Mark) (bool, error) {
	return l.raise(ctx, marks, 0)
}

func (l *Labels) raise(ctx context.Context, marks []Mark, depth int) (bool, error) {
	if len(marks) == 0 || marks[0].Session == "" {
		return false, nil
	}
	session := marks[0].Session
	added, err := l.add(ctx, session, marks)
	if err != nil || depth == maxDepth {
		return added, err
	}
	parents, err := l.Parents(ctx, session)
	if err != nil {
		return added, err
	}
	for _, parent := range parents {
		above := slices.Clone(marks)
		for i := range above {
			above[i].Session = parent
		}
		if _, err := l.raise(ctx, above, depth+1); err != nil {
			return added, err
		}
	}
	return added, nil
}

// Join says that a session works for another: it takes over what that has touched, and
// whatever it touches from now on is touched there too. It reports whether it has now
// touched more than before.
func (l *Labels) Join(ctx context.Context, session, parent, decision string, at time.Time) (bool, error) {
	if session == "" || parent == "" || session == parent {
		return false, nil
	}
	if have := l.Of(ctx, parent); have.Err != "" {
		return false, access.Errorf(access.CodeInternal, "session %s: %s", parent, have.Err)
	}
	marks := slices.DeleteFunc(slices.Clone(l.marks(parent)), func(m Mark) bool { return m.Side == sideParent })
	for i := range marks {
		marks[i].Session = session
	}
	link := Mark{Session: session, Side: sideParent, Word: parent, Decision: decision, At: at}
	if _, err := l.add(ctx, session, []Mark{link}); err != nil {
		return false, err
	}
	return l.add(ctx, session, marks)
}

// Parents returns the sessions that handed one work.
func (l *Labels) Parents(ctx context.Context, session string) ([]string, error) {
	if have := l.Of(ctx, session); have.Err != "" {
		return nil, access.Errorf(access.CodeInternal, "session %s: %s", session, have.Err)
	}
	var out []string
	for _, m := range l.marks(session) {
		if m.Side == sideParent {
			out = append(out, m.Word)
		}
	}
	return out, nil
}

// marks are those that are known of a session. They MUST NOT be changed.
func (l *Labels) marks(session string) []Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.known[session]; t != nil {
		return t.marks
	}
	return nil
}

// add keeps those marks of a session that are not known, and reports whether there are
// any.
func (l *Labels) add(ctx context.Context, session string, marks []Mark) (bool, error) {
	fresh := l.fresh(session, marks)
	if len(fresh) == 0 {
		return false, nil
	}
	have := l.Of(ctx, session)
	if have.Err != "" || len(have.Causes)+len(fresh) > maxMarks {
		return false, access.Errorf(access.CodeInternal, "session %s cannot be labelled: %s", session, cmp.Or(have.Err, "it has touched too much; end it"))
	}
	if fresh = l.fresh(session, marks); len(fresh) == 0 { // the store knew
		return false, nil
	}
	if err := l.store.PutLabels(ctx, fresh); err != nil {
		return false, fmt.Errorf("labelling a session: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep(session).add(fresh)
	return true, nil
}

// fresh returns those of marks that are not known.
func (l *Labels) fresh(session string, marks []Mark) []Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.known[session]
	var out []Mark
	for i := range marks {
		if (t == nil || !t.has(&marks[i])) && !slices.ContainsFunc(out, marks[i].in) {
			out = append(out, marks[i])
		}
	}
	return out
}

// in reports whether o is the mark.
func (m *Mark) in(o Mark) bool { return m.same(&o) }

// keep returns what is remembered of a session; l.mu is held.
func (l *Labels) keep(session string) *touched {
	t := l.known[session]
	if t == nil {
		if len(l.known) >= maxSessions {
			clear(l.known)
			l.swept++
		}
		t = &touched{}
		l.known[session] = t
	}
	return t
}

func (t *touched) has(m *Mark) bool { return slices.ContainsFunc(t.marks, m.in) }

func (t *touched) add(marks []Mark) {
	for i := range marks {
		if !t.has(&marks[i]) {
			t.marks, t.view = append(slices.Clip(t.marks), marks[i]), nil
		}
	}
}

// look is what policies are told.
func (t *touched) look() *access.Touched {
	if t.view != nil {
		return t.view
	}
	v := &access.Touched{}
	for _, m := range t.marks {
		if m.Side == sideParent {
			continue
		}
		if m.Side == SideTaint {
			v.Taint = append(v.Taint, m.Word)
			if m.Server != "" {
				v.Taint = append(v.Taint, "server:"+m.Server)
			}
		} else {
			v.Labels = append(v.Labels, m.Word)
		}
		v.Causes = append(v.Causes, access.Cause{Word: m.Word, Private: m.Side == SideLabel, Server: m.Server, Tool: m.Tool, Decision: m.Decision, Leaf: m.Leaf, Hash: m.Hash})
	}
	slices.Sort(v.Taint)
	slices.Sort(v.Labels)
	v.Taint, v.Labels = slices.Compact(v.Taint), slices.Compact(v.Labels)
	t.view = v
	return v
}

// Shared reports whether other nodes raise marks too.
func (l *Labels) Shared() bool { return l.shared }

// Key is what the values a session was shown are fingerprinted with.
func (l *Labels) Key(ctx context.Context, session string) ([]byte, error) {
	return l.keys.Key(ctx, session, "flow")
}

// Keep keeps fingerprints of what a session was shown. They are durable when it returns.
func (l *Labels) Keep(ctx context.Context, session, id string, prints []byte) error {
	return l.store.PutSource(ctx, session, id, prints, l.now())
}

// Kept returns the fingerprints of a session, oldest first, but for those that are known.
func (l *Labels) Kept(ctx context.Context, session string, known func(id string) bool) (ids []string, prints [][]byte, err error) {
	return l.store.Sources(ctx, session, known)
}
