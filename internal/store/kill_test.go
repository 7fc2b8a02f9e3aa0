package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/identity"
	"rutile/internal/policy"
	"rutile/internal/registry"
	"rutile/internal/store"
)

// childEnv makes the test binary another process: "commit DSN DIR" or "hold DSN
// DIR".
const childEnv = "RUTILE_STORE_CHILD"

const childTools = 50

func child() int {
	f := strings.Split(os.Getenv(childEnv), "\n")
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{DSN: f[1], Dir: f[2]})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	switch f[0] {
	case "commit":
		err = commitForever(ctx, s)
	case "reserve":
		err = reserveForever(ctx, s)
	case "exhaust":
		err = exhaustForever(ctx, s)
	case "charge":
		err = chargeForever(ctx, s)
	case "hold":
		err = hold(ctx, s)
	}
	fmt.Println(err)
	return 1
}

// commitForever commits states in which every object names the generation it was
// made in, and says after each what is durable.
func commitForever(ctx context.Context, s *store.Store) error {
	gen, err := s.Generation(ctx)
	for err == nil {
		if gen, err = s.Commit(ctx, marked(gen)); err == nil {
			var fresh bool
			if fresh, err = s.UseAssertion(ctx, "bot", fmt.Sprint(gen), time.Now().Add(time.Hour)); err == nil {
				fmt.Println(gen, fresh)
			}
		}
	}
	return err
}

func marked(base uint64) admin.Changes {
	mark := fmt.Sprint(base + 1)
	c := admin.Changes{
		Base: base, Servers: map[string]*registry.Server{"s": {ID: "s", State: registry.ServerSanctioned, StateWhy: mark}}, Tools: map[admin.ToolKey]*registry.Tool{},
		Policies: map[string]*policy.Policy{"p": {ID: "p", Cedar: mark}},
	}
	for i := range childTools {
		name := fmt.Sprint("t", i)
		c.Tools[admin.ToolKey{Server: "s", Tool: name}] = &registry.Tool{Server: "s", Name: name, State: registry.ToolApproved, ApprovedBy: mark, Pinned: []byte(strings.Repeat(mark, 500))}
	}
	return c
}

// hold keeps a write lock until it is killed.
func hold(ctx context.Context, s *store.Store) error {
	tx, err := s.Writer().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec("UPDATE generation SET value = value"); err != nil {
		return err
	}
	fmt.Println("held")
	time.Sleep(time.Hour)
	return nil
}

// process starts the test binary as another process; lines are what it prints.
func process(t *testing.T, what string, cfg store.Config) (cmd *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what+"\n"+cfg.DSN+"\n"+cfg.Dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // mostly dead already
	return cmd, bufio.NewScanner(out)
}

// kill ends it as a power switch would, and waits until it is gone.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

func TestKilledMidCommitLeavesWholeGenerations(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		said := uint64(0)
		for round := range 6 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			cmd, lines := process(t, "commit", cfg)
			timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() }) // should it hang
			for n := 2 + rand.IntN(5); n > 0 && lines.Scan(); n-- {
				gen, fresh, _ := strings.Cut(lines.Text(), " ")
				v, err := strconv.ParseUint(gen, 10, 64)
				if err != nil || fresh != "true" {
					t.Fatalf("the other process says %q", lines.Text())
				}
				said = v
			}
			time.Sleep(rand.N(10 * time.Millisecond)) // into the next commit
			kill(t, cmd)
			timer.Stop()
			s = open(t, cfg)
			c := must[registry.Content](t)(s.LoadRegistry(t.Context()))
			p := must[[]policy.Policy](t)(s.LoadPolicies(t.Context()))
			for must[uint64](t)(s.Generation(t.Context())) != c.Generation { // PostgreSQL may only now commit what it got
				c = must[registry.Content](t)(s.LoadRegistry(t.Context()))
				p = must[[]policy.Policy](t)(s.LoadPolicies(t.Context()))
			}
			if c.Generation < said || said == 0 {
				t.Fatalf("round %d: generation %d is lost, %d is there", round, said, c.Generation)
			}
			mark := fmt.Sprint(c.Generation)
			if len(c.Tools) != childTools || c.Servers[0].StateWhy != mark || p[0].Cedar != mark {
				t.Fatalf("round %d: generation %s holds %d tools, server of %s, policy of %s", round, mark, len(c.Tools), c.Servers[0].StateWhy, p[0].Cedar)
			}
			for _, tool := range c.Tools {
				if tool.ApprovedBy != mark || string(tool.Pinned) != strings.Repeat(mark, 500) {
					t.Fatalf("round %d: tool %s is of generation %s, not %s", round, tool.Name, tool.ApprovedBy, mark)
				}
			}
			if fresh := must[bool](t)(s.UseAssertion(t.Context(), "bot", fmt.Sprint(said), time.Now().Add(time.Hour))); fresh {
				t.Fatalf("round %d: an accepted assertion was forgotten", round)
			}
		}
	})
}

func TestLockOfADeadDaemonIsFree(t *testing.T) {
	cfg := sqliteConfig(t)
	cmd, lines := process(t, "hold", cfg)
	if !lines.Scan() || lines.Text() != "held" {
		t.Fatalf("the other process says %q", lines.Text())
	}
	_, err := store.Open(t.Context(), cfg)
	if access.CodeOf(err) != access.CodeConflict || !strings.Contains(err.Error(), fmt.Sprint("process ", cmd.Process.Pid)) {
		t.Errorf("got %v, want a conflict that names process %d", err, cmd.Process.Pid)
	}
	kill(t, cmd)
	open(t, cfg)
}

// A program that does not know our lock file can hold the database: that is said.
func TestForeignLockIsSaid(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		if s.Dialect() == "sqlite" {
			// Out of the other process's sight, so that only SQLite's own lock counts.
			if err := os.Remove(cfg.Dir + "/rutile.db.lock"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Writer().Exec("PRAGMA busy_timeout = 50"); err != nil {
				t.Fatal(err)
			}
		} else {
			s.Writer().SetMaxOpenConns(1)
			if _, err := s.Writer().Exec("SET lock_timeout = '50ms'"); err != nil {
				t.Fatal(err)
			}
		}
		cmd, lines := process(t, "hold", cfg)
		if !lines.Scan() || lines.Text() != "held" {
			t.Fatalf("the other process says %q", lines.Text())
		}
		_, err := s.Commit(t.Context(), everything())
		if access.CodeOf(err) != access.CodeUnavailable || !strings.Contains(err.Error(), "locked by another process") {
			t.Errorf("got %v, want unavailable because of a lock", err)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("reading waits for a writer: %v", err)
		}
		kill(t, cmd)
		if s.Dialect() == "postgres" { // the server notices that its client is gone
			if _, err := s.Writer().Exec("SET lock_timeout = '10s'"); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, s, everything())
		must[identity.Family](t)(s.JoinFamily(t.Context(), family("ses_1", 0), idle))
	})
}
