package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"rutile/internal/confine"
	"rutile/internal/rawjson"
)

// stdioConfig says how to start an upstream server that speaks on its standard
// input and output (mcp.md 1.8). Command, Args, Env and Dir MUST come from an
// approved registry entry, never from a request.
type stdioConfig struct {
	Command string
	Args    []string
	Env     map[string]string // added to an environment made from nothing
	Dir     string            // default: the private directory that is also HOME
	// Confine is what the process may have besides its private directory and
	// what its command is made of. Nil confines nothing.
	Confine *confine.Profile
	// Secret gives variables that are put into the environment at the start and
	// kept nowhere else; nil gives none.
	Secret func(set func(name, value string)) error
	// Arguments gives arguments that are replaced, by their index, likewise.
	Arguments func(set func(index, value string) error) error
	// Files gives variables and what is in the files they are to name, likewise.
	Files        func(set func(variable, content string) error) error
	MaxLine      int           // bytes of one message, default 4 MiB
	StartTimeout time.Duration // default 10 s
	StopGrace    time.Duration // between closing the input, SIGTERM and SIGKILL, default 3 s each
	Log          *slog.Logger
	// Scrub removes secrets from a line of standard error. It is called as
	// long as the process lives; nil leaves lines as they are.
	Scrub func([]byte) []byte
}

const (
	stdioMaxLine      = 4 << 20
	stdioStartTimeout = 10 * time.Second
	stdioStopGrace    = 3 * time.Second
	// stdioKillWait is how long the end of a killed process is waited for.
	stdioKillWait = 5 * time.Second
	// stdioStrikes is how many lines that are no messages end a process (rule 36).
	stdioStrikes = 3
	// stdioQueue is how many messages wait for the receiver before the process
	// has to.
	stdioQueue = 4
)

var (
	errStdioEnded  = errors.New("the process has ended")
	errStdioExited = errors.New("the process ended by itself")
	errStdioClosed = errors.New("the process was closed")
	errStdioNoise  = errors.New("the process was stopped because it wrote too many lines that are no messages")
	errStdioMute   = errors.New("the process was stopped because it closed its standard output")
	errStdioLate   = errors.New("the process was stopped because it did not start in time")
	// errStdioUnsent wraps the reason why not one byte of a message was written.
	errStdioUnsent = errors.New("the message was not sent")
)

// stdioProcess is a running server. Its owner MUST receive from Messages until
// that is closed, or call Close: otherwise the process waits for it forever.
type stdioProcess struct {
	cfg      stdioConfig
	home     string
	start    *confine.Start // nil if it is not confined
	report   confine.Report // what holds it, known when startStdio returns
	messages chan []byte
	quit     chan struct{} // closed when messages no longer matter
	exited   chan struct{} // closed when the process is no more
	done     chan struct{} // closed when everything of it is gone
	err      error         // why, set before done is closed

	in   *os.File
	out  stdioPipe
	errs stdioPipe
	last string // scrubbed last line of standard error

	turn chan struct{} // held while writing to in
	buf  []byte        // of the writer
	rest []byte        // what an interrupted write still owes of its line

	mu     sync.Mutex
	cmd    *exec.Cmd // set while signals may be sent
	reason error     // why we stopped it
}

// startStdio starts the process. ctx bounds the start only.
func startStdio(ctx context.Context, cfg stdioConfig) (*stdioProcess, error) {
	if cfg.Log == nil || cfg.Command == "" {
		return nil, errors.New("starting a process: no logger or no command")
	}
	if cfg.MaxLine <= 0 {
		cfg.MaxLine = stdioMaxLine
	}
	if cfg.StartTimeout <= 0 {
		cfg.StartTimeout = stdioStartTimeout
	}
	if cfg.StopGrace <= 0 {
		cfg.StopGrace = stdioStopGrace
	}
	home, err := os.MkdirTemp("", "rutile-server-")
	if err != nil {
		return nil, fmt.Errorf("making a private directory: %w", err)
	}
	p := &stdioProcess{
		cfg: cfg, home: home,
		messages: make(chan []byte, stdioQueue), quit: make(chan struct{}), exited: make(chan struct{}),
		done: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	cmd, err := p.command()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing %s: %w", cfg.Command, err), os.RemoveAll(home))
	}
	p.cfg.Secret, p.cfg.Files, p.cfg.Arguments = nil, nil, nil // they have done their work
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.StartTimeout, errStdioLate)
	defer cancel()
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		if p.contain("running a process", func() { p.run(cmd, started) }) {
			p.err = errPanicked
			p.cleanUp()
			select {
			case started <- errPanicked:
			default: // it had said that it runs
			}
		}
	}()
	select {
	case err := <-started:
		if err != nil {
			return nil, fmt.Errorf("starting %s: %w", cfg.Command, err)
		}
		return p, nil
	case <-ctx.Done():
		p.stop(errStdioLate)
		return nil, fmt.Errorf("starting %s: %w", cfg.Command, context.Cause(ctx))
	}
}

// run is the life of the process. It keeps its thread, because Linux sends the
// parent-death signal when the thread that started the child ends.
func (p *stdioProcess) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.begin(cmd)
	if err != nil {
		p.err = err
		p.cleanUp()
		close(p.messages)
		started <- err
		return
	}
	// Only the start needs the environment, and it holds the secret.
	cmd.Env, cmd.Args = nil, nil
	var readers sync.WaitGroup
	readers.Go(func() { p.contain("reading a process", p.read) })
	readers.Go(func() { p.contain("reading the errors of a process", p.readErrors) })
	started <- nil

	// What the process has started is killed while its own id cannot have been
	// given to somebody else.
	stdioAwait(cmd)
	p.mu.Lock()
	stdioSignal(cmd.Process, stdioKill)
	p.cmd = nil
	p.mu.Unlock()
	_ = cmd.Wait() // the state says it
	close(p.exited)
	p.out.end()
	p.errs.end()
	readers.Wait()
	p.cleanUp()
	p.err = p.verdict(cmd.ProcessState.String())
}

// contain is contain for what reads or runs the process, which is stopped if
// that panics: nobody else would see to it.
func (p *stdioProcess) contain(what string, f func()) (panicked bool) {
	if panicked = contain(p.cfg.Log, what, f); panicked {
		p.stop(errPanicked)
	}
	return panicked
}

// begin starts the process and returns when it is confined and executed, or is
// no more.
func (p *stdioProcess) begin(cmd *exec.Cmd) error {
	err := cmd.Start()
	for _, end := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		_ = end.(*os.File).Close() // the child's end, which it has or never will
	}
	if err == nil {
		p.mu.Lock()
		p.cmd = cmd
		if p.reason != nil {
			stdioSignal(cmd.Process, stdioKill)
		}
		p.mu.Unlock()
	}
	if p.start == nil {
		return err
	}
	p.report, err = p.start.Started(err)
	if err == nil || cmd.Process == nil {
		return err
	}
	p.mu.Lock()
	stdioSignal(cmd.Process, stdioKill)
	p.cmd = nil
	p.mu.Unlock()
	_ = cmd.Wait() // the reason is known
	return err
}

func (p *stdioProcess) cleanUp() {
	for _, f := range []*os.File{p.in, p.out.file, p.errs.file} {
		_ = f.Close() // the input may be closed already
	}
	if err := os.RemoveAll(p.home); err != nil {
		p.cfg.Log.Warn("a process left files that cannot be removed", "error", err)
	}
}

// verdict says why the process ended.
func (p *stdioProcess) verdict(state string) error {
	p.mu.Lock()
	reason := p.reason
	p.mu.Unlock()
	if reason == nil {
		reason = errStdioExited
	}
	if p.last == "" {
		return fmt.Errorf("%w: %s", reason, state)
	}
	return fmt.Errorf("%w: %s; last line on standard error: %q", reason, state, p.last)
}

// giveUp notes why the process is to end and stops waiting for the receiver.
func (p *stdioProcess) giveUp(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == nil {
		p.reason = reason
		close(p.quit)
	}
}

// stop kills the process and all it has started.
func (p *stdioProcess) stop(reason error) {
	p.giveUp(reason)
	p.signal(stdioKill)
}

func (p *stdioProcess) signal(sig stdioSignalKind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		stdioSignal(p.cmd.Process, sig)
	}
}

// Messages returns the channel of the messages of the process, each the line as
// received and owned by the receiver. It is closed when no more will come.
func (p *stdioProcess) Messages() <-chan []byte { return p.messages }

// Done is closed when the process, what it started and what belonged to it are
// gone and its messages are in the channel or received.
func (p *stdioProcess) Done() <-chan struct{} { return p.done }

// Err says why the process ended, nil while Done is not closed. It is for the
// log: it may quote the scrubbed last line of standard error.
func (p *stdioProcess) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Send writes one message as one line. It waits for its turn and for the
// process to read until ctx ends. A line that was begun is completed before the
// next one; errStdioUnsent says that this one was not begun.
func (p *stdioProcess) Send(ctx context.Context, msg []byte) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-p.exited:
		return fmt.Errorf("%w: %w", errStdioUnsent, errStdioEnded)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errStdioUnsent, context.Cause(ctx))
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errStdioUnsent, context.Cause(ctx))
	}
	line, err := stdioLine(p.buf[:0], msg)
	if err != nil {
		return fmt.Errorf("%w: %w", errStdioUnsent, err)
	}
	if p.buf = line; cap(line) > stdioBuffer {
		p.buf = nil
	}
	release := p.bound(ctx)
	defer release()
	if len(p.rest) > 0 {
		n, err := p.in.Write(p.rest)
		if p.rest = p.rest[n:]; err != nil {
			return fmt.Errorf("%w: %w", errStdioUnsent, stdioWriteError(ctx, err))
		}
	}
	n, err := p.in.Write(line)
	switch {
	case err == nil:
		return nil
	case n == 0:
		return fmt.Errorf("%w: %w", errStdioUnsent, stdioWriteError(ctx, err))
	default:
		p.rest = bytes.Clone(line[n:])
		return stdioWriteError(ctx, err)
	}
}

// bound lets the end of ctx interrupt writes until release is called.
func (p *stdioProcess) bound(ctx context.Context) (release func()) {
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		_ = p.in.SetWriteDeadline(time.Unix(1, 0)) // the file is closed, or the write is interrupted
	})
	return func() {
		if !stop() {
			<-over
			_ = p.in.SetWriteDeadline(time.Time{})
		}
	}
}

func stdioWriteError(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", errStdioEnded, err)
}

// stdioLine appends msg and a newline to dst. Line breaks within msg can only be
// white space between tokens, or msg is not JSON and is refused.
func stdioLine(dst, msg []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, msg...)
	line := dst[start:]
	if bytes.ContainsAny(line, "\r\n") {
		var doc rawjson.Doc
		if err := doc.Parse(msg, rawjson.Limits{Bytes: len(msg)}); err != nil {
			return dst[:start], fmt.Errorf("the message has a line break and is not JSON: %w", err)
		}
		for i, c := range line {
			if c == '\n' || c == '\r' {
				line[i] = ' '
			}
		}
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return dst[:start], errors.New("the message is empty")
	}
	return append(dst, '\n'), nil
}

// Close ends the process: it closes its input, after StopGrace sends SIGTERM
// and after StopGrace again SIGKILL, to the process and all it has started.
// When ctx ends it kills at once. The error says that the process still lives.
func (p *stdioProcess) Close(ctx context.Context) error {
	p.giveUp(errStdioClosed)
	_ = p.in.Close() // a second Close finds it closed
	for _, sig := range []stdioSignalKind{stdioTerm, stdioKill} {
		if p.ended(ctx, p.cfg.StopGrace) {
			return nil
		}
		p.signal(sig)
	}
	if p.ended(context.WithoutCancel(ctx), stdioKillWait) {
		return nil
	}
	return fmt.Errorf("closing %s: the process was killed %s ago and still lives", p.cfg.Command, stdioKillWait)
}

// ended waits until everything is gone, but only for d and while ctx lives.
func (p *stdioProcess) ended(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
