package revocation_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"rutile/internal/access"
	"rutile/internal/revocation"
)

// shelf is a store in memory, shared by logs as nodes share a database.
type shelf struct {
	list []revocation.Entry
	err  error
}

func (s *shelf) BeginRevocation(_ context.Context, e revocation.Entry, _ func(revocation.Entry) access.Owed) (revocation.Entry, error) {
	e.Position = uint64(len(s.list) + 1)
	s.list = append(s.list, e)
	return e, nil
}

func (s *shelf) RevocationDone(_ context.Context, id string) error {
	for i := range s.list {
		s.list[i].Done = s.list[i].Done || s.list[i].ID == id
	}
	return s.err
}

func (s *shelf) FinishRevocation(_ context.Context, id string, receipt []byte, _ access.Owed) error {
	for i := range s.list {
		if s.list[i].ID == id {
			s.list[i].Done, s.list[i].Receipt = true, receipt
		}
	}
	return s.err
}

func (s *shelf) Revocations(_ context.Context, q revocation.Query) ([]revocation.Entry, error) {
	out := slices.DeleteFunc(slices.Clone(s.list), func(e revocation.Entry) bool {
		return e.Position <= q.After || q.Unfinished && len(e.Receipt) > 0
	})
	return out[:min(len(out), q.Limit)], s.err
}

func (s *shelf) Revocation(_ context.Context, id string) (revocation.Entry, bool, error) {
	i := slices.IndexFunc(s.list, func(e revocation.Entry) bool { return e.ID == id })
	if i < 0 {
		return revocation.Entry{}, false, s.err
	}
	return s.list[i], true, s.err
}

func node(t *testing.T, s *shelf) *revocation.Log {
	t.Helper()
	l, err := revocation.NewLog(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func begin(t *testing.T, l *revocation.Log, id string, kind revocation.Kind, target string) {
	t.Helper()
	if _, err := l.Begin(t.Context(), revocation.Entry{ID: id, Target: revocation.Target{Kind: kind, ID: target}}, nil); err != nil {
		t.Fatal(err)
	}
}

// A revocation is known where it was begun when Begin returns, and of every kind that
// ends tokens the newest counts.
func TestTheNewestRevocationOfWhatATokenIsOfCounts(t *testing.T) {
	l := node(t, &shelf{})
	for i, tt := range []struct {
		kind   revocation.Kind
		target string
		since  uint64 // of bot for ann in ses_1
	}{
		{revocation.Agent, "other", 0}, {revocation.Agent, "bot", 2}, {revocation.User, "iss|bob", 2}, {revocation.User, "iss|ann", 4},
		{revocation.Server, "bot", 4}, {revocation.Session, "ses_1", 6}, {revocation.Session, "ses_2", 6}, {revocation.Tenant, revocation.Everything, 8},
	} {
		begin(t, l, string(rune('a'+i)), tt.kind, tt.target)
		if got := l.Since("bot", "iss|ann", "ses_1"); got != tt.since || l.Position() != uint64(i+1) {
			t.Errorf("after %s %s it counts %d at %d", tt.kind, tt.target, got, l.Position())
		}
	}
	if l.Since("", "", "") != 8 { // of nobody only everything counts
		t.Error("what names nobody is revoked by name")
	}
}

// Another node hears of an entry at once, and is told to cut once it is done, once; who
// starts meanwhile is told if somebody may wait for it.
func TestOtherNodesCutOnceItIsDone(t *testing.T) {
	s := &shelf{}
	here, there := node(t, s), node(t, s)
	refresh := func(l *revocation.Log) []string {
		t.Helper()
		done, err := l.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range done {
			out = append(out, e.ID)
		}
		return out
	}
	begin(t, here, "rev_1", revocation.Agent, "bot")
	if got := refresh(there); len(got) != 0 || there.Since("bot", "", "") != 1 {
		t.Errorf("before it is done: %v, %d", got, there.Since("bot", "", ""))
	}
	begin(t, there, "rev_2", revocation.Agent, "bot") // reading for itself, it must not lose the other's
	if err := here.Done(t.Context(), "rev_1"); err != nil {
		t.Fatal(err)
	}
	begin(t, there, "rev_3", revocation.Agent, "bot")
	if got := refresh(there); !slices.Equal(got, []string{"rev_1"}) {
		t.Errorf("once it is done: %v", got)
	}
	if got := refresh(there); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	if got := refresh(node(t, s)); !slices.Equal(got, []string{"rev_1"}) {
		t.Errorf("who starts meanwhile: %v", got)
	}
	if err := here.Finish(t.Context(), "rev_1", []byte("{}"), access.Owed{}); err != nil {
		t.Fatal(err)
	}
	if got := refresh(node(t, s)); len(got) != 0 {
		t.Errorf("who starts after its receipt: %v", got)
	}
}

// What could not be carried out is handed out again, and an error of the store loses
// nothing.
func TestNothingDoneIsLost(t *testing.T) {
	s := &shelf{}
	here, there := node(t, s), node(t, s)
	begin(t, here, "rev_1", revocation.Agent, "bot")
	if err := here.Done(t.Context(), "rev_1"); err != nil {
		t.Fatal(err)
	}
	s.err = errors.New("away")
	if _, err := there.Refresh(t.Context()); err == nil {
		t.Error("a store that is away is no error")
	}
	s.err = nil
	done, err := there.Refresh(t.Context())
	if err != nil || len(done) != 1 {
		t.Fatalf("%v %v", done, err)
	}
	there.Again(done)
	if done, err = there.Refresh(t.Context()); err != nil || len(done) != 1 {
		t.Errorf("%v %v", done, err)
	}
}
