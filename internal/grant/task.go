package grant

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rutile/internal/access"
)

// Ids of tasks and uses start with these; requests and grants with those of
// package access.
const (
	PrefixTask = "tsk_"
	PrefixUse  = "use_"
)

// TaskSpec is what an agent says of a task it opens.
type TaskSpec struct {
	Purpose string
	Ticket  string
	Life    time.Duration // 0 is 8 hours; at most 24
}

const defaultTaskLife = 8 * time.Hour

// OpenTask opens a task of a party, in its session. by is who opens it, for
// evidence: the agent itself, or an operator.
func (b *Broker) OpenTask(ctx context.Context, party Party, session, by string, s TaskSpec) (Task, error) {
	if s.Life == 0 {
		s.Life = defaultTaskLife
	}
	switch {
	case party.Agent == "":
		return Task{}, access.Errorf(access.CodeUnauthenticated, "nobody is known to open this task")
	case strings.TrimSpace(s.Purpose) == "":
		return Task{}, access.Errorf(access.CodeInvalid, "purpose is required: say in a sentence what the task is for")
	case !words(s.Purpose, maxWords):
		return Task{}, access.Errorf(access.CodeInvalid, "purpose must be one line of at most %d bytes", maxWords)
	case !words(s.Ticket, maxTicket):
		return Task{}, access.Errorf(access.CodeInvalid, "ticket must be one line of at most %d bytes", maxTicket)
	case s.Life < time.Second || s.Life > maxTaskLife:
		return Task{}, access.Errorf(access.CodeInvalid, "a task lives between 1 second and %v, not %v", maxTaskLife, s.Life)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if open := b.live.Load().openTasks(party, now); len(open) >= maxTasks {
		return Task{}, access.Errorf(access.CodeConflict, "%d tasks are open already: close one first", len(open))
	}
	t := Task{ID: access.NewID(PrefixTask), Party: party, Session: session, Purpose: s.Purpose, Ticket: s.Ticket, State: TaskOpen,
		Opened: now, Changed: now, Expires: now.Add(s.Life)}
	return t, b.widen(ctx, Batch{Tasks: []Task{t}}, []Event{event(by, "open", KindTask, t.ID, nil, t, "")})
}

// CloseTask closes a task: its grants end and what it asks for is withdrawn. A
// party may close its own only; a zero party is an operator's doing. by is who
// does it, for evidence.
func (b *Broker) CloseTask(ctx context.Context, id string, own Party, by, why string) (Task, error) {
	if !words(why, maxWords) {
		return Task{}, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	}
	if own == (Party{}) && strings.HasPrefix(by, Party{}.Actor()) {
		return Task{}, errGone("task", id) // an agent nobody knows is no operator
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil { // another node may have made a grant in it
		return Task{}, err
	}
	return again(func() (Task, error) { return b.closeTask(ctx, id, own, by, why) })
}

func (b *Broker) closeTask(ctx context.Context, id string, own Party, by, why string) (Task, error) {
	t, ok, err := b.store.Task(ctx, id)
	if err != nil {
		return Task{}, err
	}
	if !ok || own != (Party{}) && t.Party != own { // one answer: ids of others are nobody's business
		return Task{}, errGone("task", id)
	}
	if err := taskTable().move("task "+id, t.State, TaskClosed); err != nil {
		return t, err
	}
	return b.endTask(ctx, t, TaskClosed, by, why)
}

// endTask ends a task with everything that hangs on it.
func (b *Broker) endTask(ctx context.Context, t Task, to State, by, why string) (Task, error) {
	now := b.now()
	before := t
	t.State, t.Why, t.Changed = to, why, now
	batch := Batch{Tasks: []Task{t}}
	events := []Event{event(by, verbOf(to), KindTask, t.ID, before, t, why)}
	v := b.live.Load()
	fall := falling{live: v, by: by, at: now}
	for _, h := range v.byID.all() {
		if g := h.now(); g.Task == t.ID {
			fall.end(g, GrantCompleted, "task "+t.ID+" is "+string(to))
		}
	}
	batch.Grants, events = fall.grants, append(events, fall.events()...)
	for _, r := range v.pending.all() {
		if r.Task == t.ID {
			old, next := *r, *r
			next.State, next.Why, next.Changed = RequestWithdrawn, "task "+t.ID+" is "+string(to), now
			batch.Requests = append(batch.Requests, next)
			events = append(events, event(by, "withdraw", KindRequest, r.ID, old, next, next.Why))
		}
	}
	return t, b.narrow(ctx, batch, events)
}

// verbOf is what evidence calls the way into a state.
func verbOf(s State) string {
	switch s {
	case TaskClosed:
		return "close"
	case GrantExpired:
		return "expire"
	case GrantCompleted:
		return "complete"
	case GrantExhausted:
		return "exhaust"
	case GrantSuspended:
		return "suspend"
	case GrantActive:
		return "resume"
	case GrantRevoking, GrantRevoked:
		return "revoke"
	case GrantWithdrawn:
		return "withdraw"
	default:
		return string(s)
	}
}

// Actor names an agent in evidence.
func (p Party) Actor() string { return "agent:" + p.Agent }

// TaskOf returns the task a call belongs to, "" if to none: the one its token is
// for, else the one it names, else the only open one of its party. A call that
// names a task which is not its party's own and open, or another than its
// token's, is refused with a CodeDenied error: a name is never ignored.
func (b *Broker) TaskOf(who access.Identity, named string, at time.Time) (string, error) {
	party, v := PartyOf(who), b.live.Load()
	want := who.Task
	if want == "" {
		want = named
	}
	if named != "" && named != want {
		return "", access.Errorf(access.CodeDenied, "the token is for task %q and the call names another", clip(want))
	}
	if want != "" {
		t := v.tasks.get(want)
		if t == nil || t.Party != party || !at.Before(t.Expires) {
			return "", access.Errorf(access.CodeDenied, "task %q is not an open task of this agent", clip(want))
		}
		return want, nil
	}
	if open := v.openTasks(party, at); len(open) == 1 {
		return open[0].ID, nil
	}
	return "", nil
}

// OpenTasks lists the open tasks of a party.
func (b *Broker) OpenTasks(p Party) []Task {
	var out []Task
	for _, t := range b.live.Load().openTasks(p, b.now()) {
		out = append(out, *t)
	}
	return out
}

// Own returns what of a party's has not ended: its open tasks, its requests that
// wait and its grants in force, oldest first.
func (b *Broker) Own(p Party) Live {
	v, now := b.live.Load(), b.now()
	own := Live{Tasks: b.OpenTasks(p)}
	for _, r := range v.pending.all() {
		if r.Party == p && now.Before(r.Expires) {
			own.Requests = append(own.Requests, *r)
		}
	}
	for _, h := range v.grants.get(p) {
		if g := h.now(); now.Before(g.Expires) {
			own.Grants = append(own.Grants, g)
		}
	}
	slices.SortFunc(own.Tasks, func(a, b Task) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(own.Requests, func(a, b Request) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(own.Grants, func(a, b Grant) int { return cmp.Compare(a.ID, b.ID) })
	return own
}

func (v *live) openTasks(p Party, at time.Time) []*Task {
	var out []*Task
	for _, t := range v.open.get(p) {
		if at.Before(t.Expires) {
			out = append(out, t)
		}
	}
	return out
}

// words reports whether s is one line of at most n bytes a reader sees whole.
func words(s string, n int) bool {
	return len(s) <= n && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) })
}
