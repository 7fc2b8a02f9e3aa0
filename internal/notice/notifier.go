package notice

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"rutile/internal/access"
)

// Secrets opens sealed credentials.
type Secrets interface {
	// Use hands the value of the credential ref, which is for the origin
	// (scheme://host:port), to use, which must not keep it.
	Use(ctx context.Context, ref, origin string, use func(value []byte) error) error
}

// Notices keeps what was told to whom.
type Notices interface {
	// Told returns which of the items a channel was told of.
	Told(ctx context.Context, channel string, items []string) (map[string]bool, error)
	// Tell keeps that a channel was told. It reports how many it had not been told.
	Tell(ctx context.Context, channel string, items []string, at time.Time) (int, error)
	// Untell takes one back.
	Untell(ctx context.Context, channel, item string) error
	// Claim takes a channel until a time, unless somebody has it. It reports whether it did.
	Claim(ctx context.Context, channel string, now, until time.Time) (bool, error)
	// Release gives back what was claimed until that time, unless somebody else has it.
	Release(ctx context.Context, channel string, until time.Time) error
}

// Config configures a Notifier. All members are required but Roots.
type Config struct {
	// Mails returns the declared receivers as they are now; it must not be changed.
	Mails func() map[string]Mail
	// Waiting returns what waits now and is at least of the severity that m wants.
	Waiting func(ctx context.Context, m *Mail) ([]Item, error)
	Notices Notices
	Secrets Secrets
	// Dial judges addresses.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Roots *x509.CertPool // nil for those of the machine
	Home  string         // the address of the console
	Log   *slog.Logger
	Now   func() time.Time
	// Trouble is told how a receiver fares after each attempt: why it cannot be told, or "".
	Trouble func(m *Mail, why string)
}

// Notifier tells people. It is safe to have one on each of several nodes.
type Notifier struct {
	cfg  Config
	run  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu   sync.Mutex
	wait map[string]retry // by channel
	why  map[string]string
	sent map[string]time.Time // last, by receiver
	busy map[string]bool      // receivers that are looked after now
}

type retry struct {
	failures int
	due      time.Time
}

// lookEvery is how often what waits is looked at.
const lookEvery = 5 * time.Second

// New returns a Notifier that works until Close.
func New(cfg Config) (*Notifier, error) {
	if cfg.Mails == nil || cfg.Waiting == nil || cfg.Notices == nil || cfg.Secrets == nil || cfg.Dial == nil || cfg.Home == "" || cfg.Log == nil || cfg.Now == nil || cfg.Trouble == nil {
		return nil, errors.New("notice: a dependency is missing")
	}
	n := &Notifier{cfg: cfg, wait: map[string]retry{}, why: map[string]string{}, sent: map[string]time.Time{}, busy: map[string]bool{}}
	n.run, n.stop = context.WithCancel(context.Background())
	n.work.Go(n.loop)
	return n, nil
}

// Close ends it. What was not told is after the next start.
func (n *Notifier) Close() {
	n.stop()
	n.work.Wait()
}

func (n *Notifier) loop() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.run.Done():
			return
		case <-tick.C:
			n.work.Go(func() { n.Look(n.run) })
		}
	}
}

// Look tells every receiver what it was not told yet, as far as it may be told again, but
// one that an earlier look is not done with. One that is slow delays no other.
func (n *Notifier) Look(ctx context.Context) {
	var all sync.WaitGroup
	for _, m := range n.cfg.Mails() {
		if m.State != Active || !n.begin(m.ID) {
			continue
		}
		all.Go(func() {
			defer n.end(m.ID)
			if err := n.look(ctx, &m); err != nil && ctx.Err() == nil {
				n.cfg.Log.Error("what waits for people cannot be looked at; it is tried again", "mail", m.ID, "error", access.Reasons(err))
			}
		})
	}
	all.Wait()
}

// begin takes a receiver, unless it is taken.
func (n *Notifier) begin(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy[id] {
		return false
	}
	n.busy[id] = true
	return true
}

func (n *Notifier) end(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.busy, id)
}

func (n *Notifier) look(ctx context.Context, m *Mail) error {
	waiting, err := n.cfg.Waiting(ctx, m)
	if err != nil {
		return err
	}
	by := map[string][]Item{}
	for _, it := range waiting {
		if m.wants(&it) {
			for _, to := range m.to(it.Owner) {
				by[to] = append(by[to], it)
			}
		}
	}
	var errs error
	for to, items := range by {
		errs = errors.Join(errs, n.tell(ctx, m, to, items))
	}
	return errs
}

// claimTime is how long one node has an address. It is far more than a mail and its note
// take, so that clocks of nodes may differ; a node that dies with it delays the next mail by
// as much.
const claimTime = 5 * time.Minute

// tell tells one address. Of several nodes the one that has claimed it does, until what it
// told is noted: what a slow server is about to take is not sent by another meanwhile.
func (n *Notifier) tell(ctx context.Context, m *Mail, to string, items []Item) error {
	channel, now := "mail:"+m.ID+" "+to, n.cfg.Now()
	if items, err := n.untold(ctx, channel, items); err != nil || len(items) == 0 || !n.due(channel, now) {
		return err
	}
	until := now.Add(claimTime)
	if took, err := n.cfg.Notices.Claim(ctx, channel, now, until); err != nil || !took {
		return err
	}
	items, err := n.untold(ctx, channel, items) // who had it before may have told
	if err == nil && len(items) > 0 {
		err = n.mail(ctx, m, channel, to, items, now)
	}
	return errors.Join(err, n.cfg.Notices.Release(context.WithoutCancel(ctx), channel, until))
}

// untold returns the items that a channel was not told of.
func (n *Notifier) untold(ctx context.Context, channel string, items []Item) ([]Item, error) {
	told, err := n.cfg.Notices.Told(ctx, channel, keysOf(items))
	if err != nil {
		return nil, err
	}
	var out []Item
	for _, it := range items {
		if !told[it.Key] {
			out = append(out, it)
		}
	}
	return out, nil
}

func keysOf(items []Item) []string {
	out := make([]string, 0, len(items))
	for i := range items {
		out = append(out, items[i].Key)
	}
	return out
}

// mail tells a claimed address, unless it had its mail of this window.
func (n *Notifier) mail(ctx context.Context, m *Mail, channel, to string, items []Item, now time.Time) error {
	window := "window " + now.UTC().Truncate(m.Every).Format(time.RFC3339)
	if took, err := n.cfg.Notices.Tell(ctx, channel, []string{window}, now); err != nil || took == 0 {
		return err // it had its mail
	}
	if err := n.send(ctx, m, to, items); err != nil {
		n.failed(ctx, m, channel, now, err)
		return n.cfg.Notices.Untell(context.WithoutCancel(ctx), channel, window)
	}
	n.fares(m, "")
	n.mu.Lock()
	delete(n.wait, channel)
	n.sent[m.ID] = now.UTC()
	n.mu.Unlock()
	_, err := n.cfg.Notices.Tell(context.WithoutCancel(ctx), channel, keysOf(items), now)
	return err
}

// due reports whether a channel that failed may be tried again.
func (n *Notifier) due(channel string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	due := n.wait[channel].due
	return !now.Before(due) || due.Sub(now) > longest // the clock was set back
}

// longest is how long a channel that fails is left alone at most.
const longest = 10 * time.Minute

func (n *Notifier) failed(ctx context.Context, m *Mail, channel string, now time.Time, err error) {
	if ctx.Err() != nil {
		return // it was told to stop
	}
	n.mu.Lock()
	r := n.wait[channel]
	r.failures++
	r.due = now.Add(min(longest, 10*time.Second<<min(r.failures-1, 10)))
	n.wait[channel] = r
	n.mu.Unlock()
	n.cfg.Log.Warn("mail cannot be sent; it is tried again", "mail", m.ID, "attempt", r.failures, "why", err)
	n.fares(m, err.Error())
}

func (n *Notifier) fares(m *Mail, why string) {
	n.mu.Lock()
	n.why[m.ID] = why
	n.mu.Unlock()
	n.cfg.Trouble(m, why)
}

// Why says why a receiver cannot be told, "" where it can or nothing was tried.
func (n *Notifier) Why(id string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.why[id]
}

// Sent says when a server last took a mail for a receiver, from this node since it started.
func (n *Notifier) Sent(id string) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent[id]
}

// Test sends a mail that says it is one to every address of a receiver, and says what came
// of it. It is no mail that an address is due.
func (n *Notifier) Test(ctx context.Context, id string) (string, error) {
	m, ok := n.cfg.Mails()[id]
	if !ok || m.State != Active {
		return "", access.Errorf(access.CodeConflict, "the receiver of mail %q is not active", id)
	}
	to := slices.Clone(m.To)
	for _, r := range m.Routes {
		to = append(to, r.To...)
	}
	slices.Sort(to)
	to = slices.Compact(to)
	for i, one := range to {
		if err := n.send(ctx, &m, one, nil); err != nil {
			return "", access.Errorf(access.CodeOf(err), "after %d of %d addresses: %s", i, len(to), access.Reasons(err))
		}
	}
	return fmt.Sprintf("the server took a test mail for %d addresses", len(to)), nil
}

func asError[T error](err error, to *T) bool { return errors.As(err, to) }
