package audit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"rutile/internal/access"
)

// Durabilities (docs/evidence.md).
const (
	DurabilityStrict  = "strict"        // every leaf is awaited; the default
	DurabilityRelaxed = "relaxed_reads" // leaves of tier 0 tools are written, the sync is not awaited
)

// Config says where and as whom a log is kept.
type Config struct {
	Dir        string        // the evidence directory; made if its parent exists
	Origin     string        // "<domain>/rutile/<cluster>/<node>/<generation>"; never changes
	Node       string        // node id
	Tenant     string        // tenant id
	Durability string        // "" or one of the Durability constants
	Payloads   bool          // keep sealed excerpts of arguments and results, 8 KiB each
	SealEvery  time.Duration // how often tiles are written, default 2 s
	KeyFile    string        // sealed signing key, default Dir + "-signing.key"; outside Dir
	WALBytes   int64         // size of a segment, default 16 MiB, at least 64 KiB
	Now        func() time.Time
	Rand       io.Reader // default crypto/rand
	Log        *slog.Logger
	FS         FS // default OS
	// Witnesses are the vkeys of those who are asked to cosign, Quorum how many must
	// have for a checkpoint to count as cosigned; 0 is all of them.
	Witnesses []string
	Quorum    int
	Retention RetentionPolicy
	// Uptime is how long the process runs, by a clock nobody sets; default the machine's.
	Uptime func() time.Duration
}

func (c *Config) check() error {
	if c.Durability == "" {
		c.Durability = DurabilityStrict
	}
	if c.SealEvery == 0 {
		c.SealEvery = 2 * time.Second
	}
	if c.WALBytes == 0 {
		c.WALBytes = 16 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Uptime == nil {
		began := time.Now()
		c.Uptime = func() time.Duration { return time.Since(began) }
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.FS == nil {
		c.FS = OS{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Dir = filepath.Clean(c.Dir)
	if c.KeyFile == "" {
		c.KeyFile = c.Dir + "-signing.key"
	}
	if c.Durability != DurabilityStrict && c.Durability != DurabilityRelaxed {
		return access.Errorf(access.CodeInvalid, "evidence.durability %q is neither %q nor %q", c.Durability, DurabilityStrict, DurabilityRelaxed)
	}
	if !plain(c.Origin) || !plain(c.Node) || !plain(c.Tenant) {
		return access.Errorf(access.CodeInvalid, "evidence: origin %q, node %q and tenant %q must be 1 to %d letters, digits or _-./:", c.Origin, c.Node, c.Tenant, maxText)
	}
	if c.WALBytes < 64<<10 || c.SealEvery < 0 {
		return access.Errorf(access.CodeInvalid, "evidence: a segment of %d bytes or an interval of %s is too small", c.WALBytes, c.SealEvery)
	}
	if rel, err := filepath.Rel(c.Dir, c.KeyFile); err == nil && !strings.HasPrefix(rel, "..") {
		return access.Errorf(access.CodeInvalid, "evidence: the signing key %s must lie outside %s", c.KeyFile, c.Dir)
	}
	return c.Retention.check()
}

// Log is the evidence log of one node. Its methods are safe for concurrent use.
type Log struct {
	cfg        Config
	fs         FS
	log        *slog.Logger
	lock       *os.File
	originHash [32]byte
	key        *signingKey
	keys       *keyring
	scribe     *scribe
	index      Index

	queue     queue
	listed    chan struct{} // slots of leaves Listed does not wait for
	seal      *sealer
	indexer   *indexer
	witnesses *witnesses
	committed chan struct{} // closed when the committer is done
	sealedAll chan struct{} // closed when the sealer is done

	size atomic.Uint64 // durable leaves
	dead atomic.Pointer[access.Error]
	died chan struct{}

	keeping sync.Mutex // of checkpoints

	erasing      sync.Mutex // one erasure at a time
	erasuresSeen bool       // what a database that was put back undid is done again

	retaining  sync.Mutex    // one run of retention at a time
	clockBase  time.Time     // how far the clock was believed at the start
	lastUptime time.Duration // when retention last ran
	lost       bool          // retention.json was not there at the start
	doubt      string        // why what it said then is not believed, "" where it is
	readers    Readers
	rowsPruned uint64 // the minimum that rows were removed for
	began      uint64 // index of this run's log.open

	mu     sync.Mutex
	kept   retention
	calls  map[uint64]openCall // by intent: what has no outcome yet
	grown  chan struct{}       // closed when size grows; nil if nobody waits
	closed bool
}

// Open takes the directory, recovers it (docs/evidence.md, "Recovery") and
// starts the log. It fails, changing nothing, if the directory is in use, is
// damaged, or is older than what index remembers of it.
func Open(ctx context.Context, cfg Config, keys KeyStore, sealer access.Sealer, index Index) (*Log, error) {
	if keys == nil || sealer == nil || index == nil {
		return nil, errors.New("audit: a dependency is missing")
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	l := &Log{
		cfg: cfg, fs: cfg.FS, log: cfg.Log, index: index, originHash: sha256.Sum256([]byte(cfg.Origin)),
		queue: queue{wake: make(chan struct{}, 1)}, listed: make(chan struct{}, maxListed),
		committed: make(chan struct{}), sealedAll: make(chan struct{}), died: make(chan struct{}), calls: map[uint64]openCall{},
	}
	var err error
	if l.witnesses, err = newWitnesses(&l.cfg); err != nil {
		return nil, err
	}
	if err := l.open(ctx, keys, sealer); err != nil {
		if l.lock != nil {
			_ = unlock(l.lock) // what failed before is what is reported
		}
		return nil, fmt.Errorf("opening the evidence log: %w", err)
	}
	return l, nil
}

func (l *Log) open(ctx context.Context, keys KeyStore, sealer access.Sealer) error {
	if err := l.layout(); err != nil {
		return err
	}
	isNew, err := l.isNew()
	if err != nil {
		return err
	}
	if l.key, err = loadKey(ctx, l.fs, &l.cfg, sealer, isNew); err != nil {
		return err
	}
	r := &recovery{fs: l.fs, dir: l.cfg.Dir, origin: l.cfg.Origin, originHash: l.originHash, verifier: l.key.verifier}
	st, err := r.run()
	if err != nil {
		return err
	}
	if err := l.checkRollback(ctx, st); err != nil {
		return err
	}
	if err := l.loadWitnessed(st); err != nil {
		return err
	}
	if l.keys, err = newKeyring(ctx, keys, sealer, &l.cfg); err != nil {
		return err
	}
	if err := l.tellHold(ctx); err != nil {
		return err
	}
	if err := l.loadRetention(st.head.size); err != nil {
		return err
	}
	boot, err := l.nextBoot(st.boot)
	if err != nil {
		return fmt.Errorf("counting boots: %w", err)
	}
	l.scribe = &scribe{
		keys: l.keys, node: l.cfg.Node, tenant: l.cfg.Tenant, boot: boot,
		payloads: l.cfg.Payloads, now: l.cfg.Now, rand: l.cfg.Rand,
	}
	return l.start(ctx, st)
}

// start seals the recovered tail, begins a fresh segment and runs the log. The
// tail goes into new files, because after a failed sync the page cache can show
// what the disk lacks.
func (l *Log) start(ctx context.Context, st *recovered) error {
	l.seal = newSealer(l, l.key.signer, st)
	l.size.Store(st.size)
	if len(st.groups) > 0 || st.checkpoint == nil {
		if err := l.seal.attempt(); err != nil {
			return fmt.Errorf("sealing what was recovered: %w", err)
		}
	}
	spare, err := newSpare(l.fs, l.walDir(), l.cfg.WALBytes)
	if err != nil {
		return err
	}
	seg, err := startSegment(l.fs, l.walDir(), spare, l.cfg.WALBytes, l.originHash, st.size, l.cfg.Rand)
	if err != nil {
		return errors.Join(err, spare.Close())
	}
	if err := dropSegments(l.fs, l.walDir(), st.size); err != nil {
		l.log.Warn("removing old segments", "err", err)
	}
	c := &committer{l: l, seg: seg, next: st.size, durable: st.size, limit: int(min(maxGroupBytes, l.cfg.WALBytes/4))}
	l.indexer = newIndexer(l)
	go c.run()
	go l.seal.run()
	go l.indexer.run()
	if err := l.begin(ctx, st.size); err != nil {
		return errors.Join(err, l.stop(ctx))
	}
	return nil
}

// begin closes what earlier boots left open and writes log.open.
func (l *Log) begin(ctx context.Context, size uint64) error {
	if err := l.closeOpenIntents(ctx, size); err != nil {
		return fmt.Errorf("closing intents of earlier boots: %w", err)
	}
	e, err := l.scribe.logOpen(ctx, opened{l.cfg.Origin, l.key.vkey, l.cfg.Durability, l.size.Load()})
	if err != nil {
		return err
	}
	ref, err := l.submit(ctx, e)
	if err != nil {
		return err
	}
	l.began = ref.Index
	return l.seal.now(ctx)
}

// layout takes the lock, makes the directories and removes temporary files.
func (l *Log) layout() error {
	if err := l.fs.Mkdir(l.cfg.Dir); err != nil {
		return err
	}
	var err error
	if l.lock, err = lockFile(filepath.Join(l.cfg.Dir, "LOCK")); err != nil {
		return &access.Error{Code: access.CodeConflict, Msg: fmt.Sprintf("the evidence directory %s is in use by another process; one log has one writer", l.cfg.Dir), Err: err}
	}
	if err := l.fs.SyncDir(filepath.Dir(l.cfg.Dir)); err != nil {
		return err
	}
	for _, dir := range []string{l.logDir(), l.walDir(), l.tmpDir()} {
		if err := makeDirs(l.fs, l.cfg.Dir, dir); err != nil {
			return err
		}
	}
	names, err := l.fs.List(l.tmpDir())
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := l.fs.Remove(filepath.Join(l.tmpDir(), n)); err != nil {
			return err
		}
	}
	if err := l.fs.Remove(filepath.Join(l.walDir(), spareName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isNew reports whether nothing was ever written here.
func (l *Log) isNew() (bool, error) {
	segs, err := l.fs.List(l.walDir())
	if err != nil {
		return false, err
	}
	files, err := l.fs.List(l.logDir())
	return len(segs) == 0 && len(files) == 0, err
}

func (l *Log) inLog(name string) string   { return filepath.Join(l.logDir(), name) }
func (l *Log) logDir() string             { return filepath.Join(l.cfg.Dir, "log") }
func (l *Log) walDir() string             { return filepath.Join(l.cfg.Dir, "wal") }
func (l *Log) tmpDir() string             { return filepath.Join(l.cfg.Dir, "tmp") }
func (l *Log) tmpName(name string) string { return filepath.Join(l.tmpDir(), name) }

// nextBoot increases the boot counter durably. last is the boot of the last
// leaf: boots that wrote none are in the file alone.
func (l *Log) nextBoot(last uint64) (uint64, error) {
	name := filepath.Join(l.cfg.Dir, "boot")
	b, err := readFile(l.fs, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	boot := last
	if err == nil {
		counted, err := strconv.ParseUint(strings.TrimRightFunc(string(b), unicode.IsSpace), 10, 53)
		if err != nil {
			return 0, access.Errorf(access.CodeEvidence, "%s does not hold a number: remove it, and the count goes on from the log", name)
		}
		boot = max(boot, counted)
	}
	boot++
	if err := writeAtomic(l.fs, l.tmpName("boot"), name, fmt.Appendf(nil, "%d\n", boot)); err != nil {
		return 0, err
	}
	return boot, l.fs.SyncDir(l.cfg.Dir)
}

// publish makes synced groups known: to the sealer, to readers, to the indexer.
// era is the earliest of the keys the leaves were written with.
func (l *Log) publish(groups []*group, rows []*Row, era uint64, urgent bool) {
	l.seal.add(groups)
	l.size.Store(groups[len(groups)-1].end())
	l.indexer.add(rows, era)
	l.mu.Lock()
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	l.mu.Unlock()
	if urgent {
		l.seal.nudge()
	}
}

// Healthy returns why the log takes nothing any more, nil while it does.
func (l *Log) Healthy() error {
	if e := l.dead.Load(); e != nil {
		return e
	}
	return nil
}

// Head returns the size and root of the latest signed checkpoint.
func (l *Log) Head() (size uint64, root [32]byte) {
	l.seal.mu.Lock()
	defer l.seal.mu.Unlock()
	return l.seal.head.size, l.seal.head.root
}

// Size returns the number of durable leaves; Head follows it.
func (l *Log) Size() uint64 { return l.size.Load() }

// Queued returns how many records wait to be written.
func (l *Log) Queued() int { return l.queue.len() }

// Checkpoint returns the latest signed checkpoint.
func (l *Log) Checkpoint() []byte {
	l.seal.mu.Lock()
	defer l.seal.mu.Unlock()
	return append([]byte(nil), l.seal.checkpoint...)
}

// VerifierKey returns the public key as a C2SP vkey.
func (l *Log) VerifierKey() string { return l.key.vkey }

// Origin returns the log's name.
func (l *Log) Origin() string { return l.cfg.Origin }

// Close writes log.close, seals everything, brings the index up to date and
// releases the directory. Appends fail from then on. Only the index may be left
// behind when ctx ends: the next start completes it.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		return nil
	}
	var err error
	if l.Healthy() == nil {
		var e *entry
		if e, err = l.scribe.logClose(context.WithoutCancel(ctx)); err == nil {
			l.queue.close(e)
			<-e.done
			err = e.err
		}
	}
	return errors.Join(err, l.stop(ctx))
}

// stop ends the goroutines in order: what is queued is committed, what is
// committed is sealed, what is sealed is indexed.
func (l *Log) stop(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.queue.close(nil)
	<-l.committed
	<-l.sealedAll
	l.indexer.stop(ctx)
	return unlock(l.lock)
}
