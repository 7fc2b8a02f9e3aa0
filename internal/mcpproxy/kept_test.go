package mcpproxy

// These tests are inside the package: what is kept in memory shows nowhere else.

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
)

// TestKeptPagesAreBounded: neither a client, which chooses cursors, nor time makes
// what is kept of lists grow.
func TestKeptPagesAreBounded(t *testing.T) {
	t.Parallel()
	const body = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","inputSchema":{"type":"object"}}]}}`
	var s pages
	state := &pdp.State{}
	list := func(cursor string, r *access.Request) {
		t.Helper()
		rep := &reply{status: 200, lent: true}
		if ok, err := rep.read([]byte(body), []byte("1"), rawjson.Limits{}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		key := pageKey{"up", "tools", cursor}
		p, _ := s.find(state, key, rep, r)
		s.keep(state, key, rep, p, r, []bool{true})
	}
	start := time.Now()
	for i := range 1000 {
		list(fmt.Sprint(i)+strings.Repeat("c", maxCursor), &access.Request{At: start})
	}
	if len(s.last) != 0 {
		t.Errorf("%d pages at long cursors are kept", len(s.last))
	}
	list("", &access.Request{At: start})
	size := s.size
	for i := range 1000 {
		list("", &access.Request{At: start.Add(time.Duration(i) * sightTime)})
	}
	if s.size != size || len(s.last) != 1 || len(s.read) != 1 {
		t.Errorf("one page listed again and again counts %d bytes in %d pages and %d excerpts, first %d", s.size, len(s.last), len(s.read), size)
	}
	for i := range 3 * pagesBytes / excerptCost / 2 {
		r := &access.Request{At: start}
		r.Who.Actor.Agent = fmt.Sprint(i)
		list("", r)
		if s.size > pagesBytes || len(s.read)*excerptCost > pagesBytes {
			t.Fatalf("%d excerpts count %d bytes", len(s.read), s.size)
		}
	}
	s.forget()
	if len(s.last)+len(s.read)+s.size != 0 {
		t.Error("something is left")
	}
}

// TestLargeAnswersTakeLittleMoreThanTheirSize: an upstream that does not say how
// much comes makes no buffer of many times of what came, or of what may come.
func TestLargeAnswersTakeLittleMoreThanTheirSize(t *testing.T) {
	t.Parallel()
	const most = 4 << 20
	for _, n := range []int{100, minBodyKept, answerAhead + 1, 3 << 20, most} {
		b, err := readBody(t.Context(), bytes.NewReader(bytes.Repeat([]byte("x"), n)), -1, most)
		if err != nil || len(b) != n {
			t.Fatalf("%d bytes read as %d: %v", n, len(b), err)
		}
		if room := max(16*n, minBodyKept); cap(b) > min(room, 2*most) {
			t.Errorf("%d bytes took %d", n, cap(b))
		}
	}
	if _, err := readBody(t.Context(), io.LimitReader(forever{}, most+1), -1, most); err == nil {
		t.Error("more than the bound was read")
	}
}

type forever struct{}

func (forever) Read(b []byte) (int, error) { return len(b), nil }

// TestBuffersGivenBackHoldNothing: who still reads one, or takes it next, sees
// nothing of what it held.
func TestBuffersGivenBackHoldNothing(t *testing.T) {
	t.Parallel()
	for n := minBodyKept; n <= maxBodyKept; n *= 2 {
		b := append(takeBody(n), bytes.Repeat([]byte("secret"), n/6)...)
		was := b
		giveBody(b)
		if bytes.Contains(was, []byte("s")) {
			t.Fatalf("a buffer of %d bytes still holds what it held", n)
		}
	}
}
