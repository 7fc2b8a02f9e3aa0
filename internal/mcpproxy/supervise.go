package mcpproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/confine"
	"rutile/internal/gate"
	"rutile/internal/registry"
)

// processKey is who shares one conversation with a server, or one process of it:
// what differs in it is kept apart. A legacy server is told once what its client
// can be asked, so that belongs to it.
type processKey struct {
	principal access.Principal
	session   string
	caps      string // carriedKinds
}

// life is whose starts and ends are counted together.
func (k processKey) life() processKey {
	k.caps = ""
	return k
}

// key says whose process serves who (mcp.md 2.3, "stdio upstream").
func (t *target) key(who access.Principal, d *gate.Dispatch) processKey {
	s := t.server.Transport.Stdio
	switch {
	case s == nil:
		return processKey{principal: who}
	case s.Process == registry.ProcessServer:
		return processKey{}
	case s.Process == registry.ProcessSession:
		return processKey{principal: who, session: d.Session}
	default:
		return processKey{principal: who}
	}
}

// shared reports whether one process serves everybody.
func (t *target) shared() bool {
	s := t.server.Transport.Stdio
	return s != nil && s.Process == registry.ProcessServer
}

func (t *target) idle() time.Duration {
	if s := t.server.Transport.Stdio; s != nil && s.IdleTimeout > 0 {
		return s.IdleTimeout
	}
	return t.p.cfg.Idle
}

// startTime is how long a start may take. Who waits for one waits no longer than
// for a call.
func (t *target) startTime() time.Duration {
	if s := t.server.Transport.Stdio; s != nil && s.StartTimeout > 0 {
		return min(s.StartTimeout, t.p.cfg.CallMax)
	}
	return min(t.p.cfg.StartTime, t.p.cfg.CallMax)
}

// starting is the context of a start asked for under another, which ends it only
// where somebody gives up. That a call's own time is over is no reason: it would be
// told of a server that is silent, and a start that hangs held against nobody.
func (t *target) starting(asked context.Context) (ctx context.Context, done func()) {
	base, cut := context.WithCancelCause(context.WithoutCancel(asked))
	ctx, stop := context.WithTimeoutCause(base, t.startTime(), errStartTimeout)
	heed := context.AfterFunc(asked, func() {
		if cause := context.Cause(asked); !errors.Is(cause, errSilent) && !errors.Is(cause, errUnacknowledged) {
			cut(cause)
		}
	})
	stopping := context.AfterFunc(t.p.base, func() { cut(errStopping) })
	return ctx, func() {
		heed()
		stopping()
		stop()
		cut(context.Canceled)
	}
}

// stillWanted reports whether nobody gave up a start: who does says nothing about the
// server.
func stillWanted(start context.Context) bool {
	cause := context.Cause(start)
	return cause == nil || errors.Is(cause, errStartTimeout)
}

var (
	errStartTimeout     = errors.New("it did not start and answer in time")
	errSharedCredential = errors.New("one process for everybody must hold no credential")
)

// startError is what a caller is told about a process that could not be started.
// Paths and reasons of the machine go to the log and to operators only.
func (t *target) startError(err error) error {
	why, help := "", "an operator sees why with: rutile server show "+t.server.ID
	var missing *confine.MissingError
	switch {
	case errors.As(err, &missing):
		why = ": its manifest demands a confinement this machine does not have"
	case errors.Is(err, errStartTimeout) || errors.Is(err, errStdioLate):
		why = fmt.Sprintf(": it did not answer within %s", t.startTime())
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		why = ": its command, or a path it is granted, does not exist"
	case errors.Is(err, errSharedCredential):
		why = ": its manifest shares one process although the server has a credential"
	}
	return &access.Error{Code: access.CodeUnavailable, Msg: fmt.Sprintf("the process of server %q cannot be started%s; %s", t.server.ID, why, help), Err: err}
}

// home makes the directory of the process's own and the manifest's environment
// with it. It survives restarts: a package runner keeps its cache there, and no
// two principals share it. It is "" where the manifest names another HOME, or
// there is none.
func (t *target) home(key processKey) (string, map[string]string) {
	env := t.server.Transport.Stdio.Env
	if t.p.cfg.Homes == "" || env["HOME"] != "" {
		return "", env
	}
	who := key.principal
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", who.Agent, who.Issuer, who.Subject))
	home := filepath.Join(t.p.cfg.Homes, t.server.ID, hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.p.log.Warn("a server gets a temporary home", "server", t.server.ID, "error", err)
		return "", env
	}
	env = maps.Clone(env)
	if env == nil {
		env = map[string]string{}
	}
	env["HOME"] = home
	return home, env
}

// ended notes the end of what a conversation ran over.
func (t *target) ended(key processKey, l *conversation, what string, lived time.Duration) {
	err := l.pipe.err()
	wanted := l.stopping.Load()
	t.life.ended(key.life(), err, wanted, time.Now())
	t.lost(l)
	if !wanted {
		t.p.log.Warn("a server's "+what+" ended by itself", "server", t.server.ID, "lived", lived.Round(time.Millisecond), "error", err)
	}
}

// How restarts are held back: a process may end by itself so often within so
// long before the next start has to wait, twice as long each time.
const (
	crashesFree   = 5
	crashesWithin = time.Minute
	backoffFirst  = time.Second
	backoffMost   = time.Minute
)

func backoff(n int) time.Duration { return min(backoffFirst<<min(n, 6), backoffMost) }

// supervisor remembers how the processes, or event streams, of one server fare. The zero value is
// ready.
type supervisor struct {
	mu       sync.Mutex
	running  int
	starts   int
	fails    int       // starts that failed since one succeeded
	turns    int       // of them, those begun after the one before had failed
	failedAt time.Time // when the last of those turns did
	retryAt  time.Time // no start before
	last     string    // why the last process ended or did not start
	lastAt   time.Time
	report   *confine.Report // of the newest process
	crashes  map[processKey]*crashes
}

// crashes are the ends of one key's processes that nobody wanted, and the
// processes it started in vain.
type crashes struct {
	at      []time.Time // within crashesWithin of the newest
	retryAt time.Time
}

// mayStart refuses while what is started has to wait for its next start; help
// says where more is to be learned.
func (s *supervisor) mayStart(what, help string, key processKey, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.retryAt.Sub(now); wait > 0 {
		return access.Errorf(access.CodeUnavailable, "%s failed to start %d times; the next try is in %s; %s", what, s.fails, atLeast(wait), help)
	}
	if c := s.crashes[key]; c != nil {
		if wait := c.retryAt.Sub(now); wait > 0 {
			return access.Errorf(access.CodeUnavailable, "%s ended by itself, or refused its client, %d times within a minute; the next try is in %s; %s", what, len(c.at), atLeast(wait), help)
		}
	}
	return nil
}

func atLeast(d time.Duration) time.Duration { return max(d.Round(time.Second), time.Second) }

// failed notes a start that failed. Starts that ran side by side hold the next
// one back no longer than one of them would.
func (s *supervisor) failed(err error, begun, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails++; s.fails == 1 || !begun.Before(s.failedAt) {
		s.turns++
		s.failedAt, s.retryAt = now, now.Add(backoff(s.turns-1))
	}
	s.last, s.lastAt = err.Error(), now
}

func (s *supervisor) began(r confine.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running++
	s.starts++
	s.report = &r
}

// opened counts an event stream, which no process is behind.
func (s *supervisor) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running++
	s.starts++
}

func (s *supervisor) started() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.turns, s.retryAt = 0, 0, time.Time{}
}

func (s *supervisor) ended(key processKey, err error, wanted bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if wanted {
		return
	}
	if err != nil {
		s.last = err.Error()
	}
	s.crashed(key, now)
}

// refused notes a process that was started in vain, because it lives and will
// not talk to whom it was started for. Nobody else waits for that.
func (s *supervisor) refused(key processKey, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = err.Error()
	s.crashed(key, now)
}

// crashed counts against a key; s.mu is held.
func (s *supervisor) crashed(key processKey, now time.Time) {
	s.lastAt = now
	if s.crashes == nil {
		s.crashes = map[processKey]*crashes{}
	}
	c := s.crashes[key]
	if c == nil {
		c = &crashes{}
		s.crashes[key] = c
	}
	for len(c.at) > 0 && now.Sub(c.at[0]) > crashesWithin {
		c.at = c.at[1:]
	}
	if c.at = append(c.at, now); len(c.at) > crashesFree {
		c.retryAt = now.Add(backoff(len(c.at) - crashesFree - 1))
	}
}

// prune forgets crashes that hold nothing back any more.
func (s *supervisor) prune(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.crashes, func(_ processKey, c *crashes) bool {
		return now.After(c.retryAt) && now.Sub(c.at[len(c.at)-1]) > crashesWithin
	})
}

// ProcessState is how the processes of a stdio server fare.
type ProcessState struct {
	Running int       // processes now
	Starts  int       // since the gateway was started, or the entry changed
	Failed  int       // starts that failed since one succeeded
	Crashes int       // ends by itself, or starts in vain, within a minute, of who had most of them
	Last    string    // why the last one ended by itself or did not start
	LastAt  time.Time // zero if none did
	NextTry time.Time // zero if the next start need not wait
	// Confined is false where the manifest switches it off. Holds is what holds
	// the newest process, or would hold one on this machine.
	Confined bool
	Holds    confine.Report
}

// Processes says how the processes of a server fare; ok is false if it has none.
func (p *Proxy) Processes(s registry.Server) (st ProcessState, ok bool) {
	x := s.Transport.Stdio
	if x == nil {
		return st, false
	}
	if profile := profileOf(x, "", nil); profile != nil {
		st.Confined, st.Holds = true, profile.Foresee()
	}
	p.mu.Lock()
	t := p.targets[s.ID]
	if t != nil && !t.same(s) {
		t = nil
	}
	p.mu.Unlock()
	if t != nil {
		t.life.tell(&st, time.Now())
	}
	return st, true
}

func (s *supervisor) tell(st *ProcessState, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Running, st.Starts, st.Failed, st.Last, st.LastAt = s.running, s.starts, s.fails, s.last, s.lastAt
	next := s.retryAt
	for _, c := range s.crashes {
		if now.Sub(c.at[len(c.at)-1]) <= crashesWithin {
			st.Crashes = max(st.Crashes, len(c.at))
		}
		if c.retryAt.After(next) {
			next = c.retryAt
		}
	}
	if next.After(now) {
		st.NextTry = next
	}
	if s.report != nil && st.Confined {
		st.Holds = *s.report
	}
}
