package audit_test

import (
	"context"
	"testing"
	"time"

	"rutile/internal/audit"
)

// held is a memory whose search and dropping a test can hold up.
type held struct {
	*memory
	search, drop func()
}

func (h *held) Search(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	rows, err := h.memory.Search(ctx, q)
	h.search()
	return rows, err
}

func (h *held) DropRows(ctx context.Context, origin string) error {
	h.drop()
	return h.memory.DropRows(ctx, origin)
}

// startHeld opens a log of four calls on such a memory.
func startHeld(t *testing.T) (*audit.Log, *held) {
	t.Helper()
	cfg, m := config(t.TempDir()), newMemory()
	h := &held{m, func() {}, func() {}}
	l, err := audit.Open(context.Background(), cfg, h, newSealer(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	for i := range 4 {
		call(t, l, i)
	}
	if err := l.AwaitIndex(context.Background()); err != nil {
		t.Fatal(err)
	}
	return l, h
}

// While the index is dropped and built again nobody takes what is left of it
// for all there is.
func TestSearchWaitsForAReindex(t *testing.T) {
	l, h := startHeld(t)
	begun, goOn := make(chan bool), make(chan bool)
	h.drop = func() {
		h.mu.Lock()
		for i := range uint64(4) { // a dropping goes in steps
			delete(h.rows, i)
		}
		h.mu.Unlock()
		begun <- true
		<-goOn
	}
	done := make(chan error)
	go func() { done <- l.Reindex(context.Background()) }()
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if rows, err := l.Search(ctx, audit.Query{}); err == nil {
		t.Errorf("a search while rows are dropped found %d of 5", len(rows))
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if rows, err := l.Search(context.Background(), audit.Query{}); err != nil || len(rows) != 5 {
		t.Errorf("after it: %d rows, %v", len(rows), err)
	}
}

// The same if the dropping begins when the search has begun.
func TestSearchOvertakenByAReindexIsRepeated(t *testing.T) {
	l, h := startHeld(t)
	begun := make(chan bool)
	h.drop = func() { close(begun) }
	done := make(chan error, 1)
	searched := 0
	h.search = func() {
		if searched++; searched == 1 {
			go func() { done <- l.Reindex(context.Background()) }()
			<-begun
		}
	}
	if rows, err := l.Search(context.Background(), audit.Query{}); err != nil || len(rows) != 5 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if searched != 2 {
		t.Errorf("searched %d times, want again after the dropping", searched)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A bundle holds everything that matches, over every page of the search, and
// the proof of one leaf holds one.
func TestExportIsWhole(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	for i := range 510 {
		call(t, l, i)
	}
	dir := t.TempDir() + "/all"
	if err := l.Export(context.Background(), audit.Query{}, dir, audit.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	if r := verifyOK(t, dir, audit.VerifyOptions{}); r.Leaves != 1021 {
		t.Errorf("%d of 1021 leaves were exported", r.Leaves)
	}
	for index, want := range map[uint64]uint64{0: 1, 1: 2} { // an intent comes with its outcome
		dir := t.TempDir() + "/one"
		if err := l.Export(context.Background(), audit.Query{From: index, Before: index + 1}, dir, audit.ExportOptions{}); err != nil {
			t.Fatal(err)
		}
		if r := verifyOK(t, dir, audit.VerifyOptions{}); r.Leaves != want {
			t.Errorf("leaf %d: %d leaves were exported, want %d", index, r.Leaves, want)
		}
	}
}
