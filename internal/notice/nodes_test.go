package notice_test

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"rutile/internal/notice"
	"rutile/internal/store"
	"rutile/internal/store/pgtest"
	"rutile/internal/store/storetest"
)

// cluster is the PostgreSQL of this test binary.
var cluster pgtest.Cluster

func TestMain(m *testing.M) {
	code := m.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping PostgreSQL:", err)
		code = 1
	}
	os.Exit(code)
}

// TestASlowServerGetsOneMailOfTwoNodes: while the server of mail takes its time, the next
// window of an address begins. The other node sends nothing of what is on its way, then or
// after it was taken.
func TestASlowServerGetsOneMailOfTwoNodes(t *testing.T) {
	s := newServer(t, false)
	s.slow = make(chan chan struct{})
	dsn := storetest.Postgres(t, &cluster)
	began := time.Date(2026, 11, 27, 12, 14, 50, 0, time.UTC)
	nodes := make([]*desk, 2)
	for i := range nodes {
		db, err := store.Open(t.Context(), store.Config{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		nodes[i] = &desk{db: db, now: began, waiting: []notice.Item{item("a", "high: one")}}
		nodes[i].start(t, s, notice.Mail{ID: "ops", Server: "smtp://" + s.addr, User: "rutile", Secret: "pw", From: "rutile@example.com", To: []string{"ops@example.com"}, About: notice.Abouts(), Every: 15 * time.Minute, State: notice.Active})
	}
	first, second := nodes[0], nodes[1]
	var work sync.WaitGroup
	work.Go(func() { first.n.Look(t.Context()) })
	take := <-s.slow
	second.now = began.Add(20 * time.Second) // its window is the next one
	looked := make(chan struct{})
	go func() { defer close(looked); second.n.Look(t.Context()) }()
	select {
	case also := <-s.slow:
		close(also)
		t.Error("the other node sends what is on its way")
		<-looked
	case <-looked:
	}
	close(take)
	work.Wait()
	go func() { // whatever comes from here on is taken at once
		for x := range s.slow {
			close(x)
		}
	}()
	defer close(s.slow)
	second.n.Look(t.Context())
	if n, text := s.taken(); n != 1 || first.trouble != "" {
		t.Fatalf("%d mails, the last %s, trouble %q", n, text, first.trouble)
	}
	for _, d := range nodes { // what comes up later is told by one of them, and is not held up by what was claimed
		d.now = began.Add(time.Minute)
		d.waiting = append(d.waiting, item("b", "high: two"))
	}
	work.Go(func() { first.n.Look(t.Context()) })
	work.Go(func() { second.n.Look(t.Context()) })
	work.Wait()
	if n, text := s.taken(); n != 2 {
		t.Errorf("%d mails, the last %s", n, text)
	}
}

// TestAClaimEndsWithItsNode: an address that a node had when it died is told by another,
// once the claim is over; and who comes back late gives back nobody else's.
func TestAClaimEndsWithItsNode(t *testing.T) {
	db, err := store.Open(t.Context(), store.Config{DSN: storetest.Postgres(t, &cluster)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	claim := func(now time.Time) bool {
		t.Helper()
		took, err := db.Claim(t.Context(), "mail:ops a", now, now.Add(5*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return took
	}
	if !claim(now) || claim(now.Add(time.Minute)) || claim(now.Add(-time.Minute)) || claim(now.Add(5*time.Minute-time.Microsecond)) {
		t.Error("an address is claimed twice")
	}
	if !claim(now.Add(5 * time.Minute)) {
		t.Error("a claim that is over is kept")
	}
	if err := db.Release(t.Context(), "mail:ops a", now.Add(5*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if claim(now.Add(6 * time.Minute)) {
		t.Error("who lost an address gave back the claim of another")
	}
	if err := db.Release(t.Context(), "mail:ops a", now.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if !claim(now.Add(6 * time.Minute)) {
		t.Error("what was given back is not free")
	}
	if !claim(now.Add(-time.Hour)) {
		t.Error("a claim of a clock that went back holds up mail for an hour")
	}
	var work sync.WaitGroup
	took := make(chan bool, 16)
	for range cap(took) {
		work.Go(func() {
			ok, err := db.Claim(t.Context(), "mail:ops b", now, now.Add(5*time.Minute))
			if err != nil {
				t.Error(err)
			}
			took <- ok
		})
	}
	work.Wait()
	close(took)
	n := 0
	for ok := range took {
		if ok {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d claims of one address", n)
	}
}
