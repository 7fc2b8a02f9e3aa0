package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// Log is what is to be cosigned.
type Log interface {
	Sealed() (audit.Checkpoint, []byte)
	Witnessed() (audit.Checkpoint, []byte)
	Unwitnessed() <-chan struct{}
	Consistency(old, size uint64) ([][32]byte, error)
	Cosigned(signed []byte) error
	Contradict(signed []byte) error
}

// Peer is a witness that is asked.
type Peer struct {
	URL string // submission prefix
	Key string // vkey
}

// SubmitterConfig configures a Submitter. All members are required.
type SubmitterConfig struct {
	Log       Log
	Peers     []Peer
	Transport http.RoundTripper // judges addresses and follows no redirect
	Logger    *slog.Logger
	Now       func() time.Time
	// Trouble is told why witnesses have not cosigned for long, or "" when they do.
	Trouble func(why string)
}

// Bounds of asking.
const (
	every       = time.Minute      // at most, between rounds
	attemptTime = 10 * time.Second // of one request
	absent      = 10 * time.Minute // after which it is trouble
	maxAnswer   = 64 << 10         // bytes read of an answer
)

// Submitter asks witnesses to cosign. It never holds up the log.
type Submitter struct {
	cfg   SubmitterConfig
	peers []*peer
	run   context.Context
	stop  context.CancelFunc
	done  chan struct{}
	began time.Time

	mu    sync.Mutex
	whys  []string // of the last round
	last  time.Time
	state string // last said to Trouble
}

type peer struct {
	Peer
	verifier note.Verifier
	size     uint64 // it cosigned, as far as known
}

// NewSubmitter returns a Submitter that works until Close.
func NewSubmitter(cfg SubmitterConfig) (*Submitter, error) {
	if cfg.Log == nil || len(cfg.Peers) == 0 || cfg.Transport == nil || cfg.Logger == nil || cfg.Now == nil || cfg.Trouble == nil {
		return nil, errors.New("witness: a dependency is missing")
	}
	s := &Submitter{cfg: cfg, done: make(chan struct{}), began: cfg.Now(), state: "\x00"}
	for _, p := range cfg.Peers {
		v, err := audit.Cosigner(p.Key)
		if err != nil {
			return nil, err
		}
		s.peers = append(s.peers, &peer{Peer: p, verifier: v})
	}
	s.run, s.stop = context.WithCancel(context.Background())
	go s.loop()
	return s, nil
}

// Close ends asking.
func (s *Submitter) Close() {
	s.stop()
	<-s.done
}

// Status says when enough witnesses cosigned last and what the others say.
func (s *Submitter) Status() (last time.Time, whys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, append([]string(nil), s.whys...)
}

func (s *Submitter) loop() {
	defer close(s.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for s.run.Err() == nil {
		s.round()
		select {
		case <-s.run.Done():
		case <-tick.C:
		case <-s.cfg.Log.Unwitnessed():
		}
	}
}

// round has the newest checkpoint cosigned by everybody who answers.
func (s *Submitter) round() {
	c, signed := s.cfg.Log.Sealed()
	have, _ := s.cfg.Log.Witnessed()
	nothingNew := c.Size == have.Size // but somebody may not have cosigned it
	if _, whys := s.Status(); c.Size == 0 || nothingNew && len(whys) == 0 {
		s.after(nil, nil)
		return
	}
	lines, whys := make([]string, len(s.peers)), make([]error, len(s.peers))
	var all sync.WaitGroup
	for i, p := range s.peers {
		all.Go(func() { lines[i], whys[i] = s.ask(p, &c, signed) })
	}
	all.Wait()
	if s.run.Err() != nil {
		return
	}
	var err error
	if !nothingNew {
		err = s.cfg.Log.Cosigned(append(bytes.Clone(signed), strings.Join(lines, "")...))
	}
	s.after(err, whys)
}

// after keeps how a round went and tells of trouble.
func (s *Submitter) after(err error, whys []error) {
	s.mu.Lock()
	s.whys = nil
	for i, w := range whys {
		if w != nil {
			s.whys = append(s.whys, fmt.Sprintf("%s: %v", s.peers[i].URL, w))
		}
	}
	now := s.cfg.Now()
	if err == nil {
		s.last = now
	}
	since, why := s.last, strings.Join(s.whys, "; ")
	if since.IsZero() {
		since = s.began
	}
	s.mu.Unlock()
	say := s.state
	switch {
	case err == nil:
		say = ""
	case now.Sub(since) > absent:
		say = fmt.Sprintf("%v: %s", err, why)
	}
	for _, w := range whys {
		var history *historyError
		if errors.As(w, &history) {
			say = history.Error()
		}
	}
	if err != nil {
		s.cfg.Logger.Warn("the newest checkpoint is not cosigned", "err", err, "why", why)
	}
	if say != s.state && say != "\x00" {
		s.state = say
		s.cfg.Trouble(say)
	}
}

var errNotContinued = errors.New("it says that this log does not continue the one it cosigned")

// historyError is what a witness says where our history is not the one it knows.
type historyError struct{ why string }

func (e *historyError) Error() string { return e.why }

// ask has one witness cosign a checkpoint and returns its line.
func (s *Submitter) ask(p *peer, c *audit.Checkpoint, signed []byte) (string, error) {
	for range 2 { // the second time with the size it says
		line, size, err := s.try(p, c, signed)
		if err == nil {
			p.size = c.Size
			return line, nil
		}
		if errors.Is(err, errNotContinued) {
			return "", s.compare(p, c, err.Error())
		}
		if size == nil {
			return "", err
		}
		if *size > c.Size || *size == c.Size && p.size == *size {
			return "", s.compare(p, c, fmt.Sprintf("it cosigned %d leaves of this log, and not these", *size))
		}
		if *size == p.size {
			return "", err
		}
		p.size = *size
	}
	return "", access.Errorf(access.CodeUnavailable, "it keeps naming another size")
}

// compare looks at what a witness has that is not what we asked about: a checkpoint
// of ours that this directory does not hold is proof that it is old or altered. What a
// witness only says is none.
func (s *Submitter) compare(p *peer, c *audit.Checkpoint, says string) error {
	sum := sha256.Sum256([]byte(c.Origin))
	status, body, err := s.send(http.MethodGet, p.URL, hex.EncodeToString(sum[:])+"/checkpoint", nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return access.Errorf(access.CodeUnavailable, "%s; it shows no checkpoint (status %d)", says, status)
	}
	err = s.cfg.Log.Contradict(body)
	switch {
	case access.CodeOf(err) == access.CodeEvidence:
		return &historyError{err.Error()}
	case err != nil: // it could not be compared
		return err
	}
	return access.Errorf(access.CodeUnavailable, "%s; it is asked again", says)
}

// try asks once. size is what a witness names with 409.
func (s *Submitter) try(p *peer, c *audit.Checkpoint, signed []byte) (line string, size *uint64, err error) {
	proof, err := s.cfg.Log.Consistency(p.size, c.Size)
	if err != nil {
		return "", nil, err
	}
	body := fmt.Appendf(nil, "old %d\n", p.size)
	for _, h := range proof {
		body = append(base64.StdEncoding.AppendEncode(body, h[:]), '\n')
	}
	status, answer, err := s.send(http.MethodPost, p.URL, "add-checkpoint", append(append(body, '\n'), signed...))
	if err != nil {
		return "", nil, err
	}
	switch status {
	case http.StatusOK:
		line, err := s.line(p, c, signed, answer)
		return line, nil, err
	case http.StatusConflict:
		n, err := strconv.ParseUint(strings.TrimSuffix(string(answer), "\n"), 10, 62)
		if err != nil {
			return "", nil, access.Errorf(access.CodeUnavailable, "it answered 409 without a size")
		}
		return "", &n, access.Errorf(access.CodeUnavailable, "it cosigned %d leaves", n)
	case http.StatusUnprocessableEntity:
		return "", nil, fmt.Errorf("%w: %d leaves, and the %d it cosigned", errNotContinued, c.Size, p.size)
	case http.StatusNotFound:
		return "", nil, access.Errorf(access.CodeUnavailable, "it does not witness this log: give its operator the log's key")
	}
	return "", nil, access.Errorf(access.CodeUnavailable, "it answered with status %d", status)
}

// line returns the cosignature of the witness itself in an answer.
func (s *Submitter) line(p *peer, c *audit.Checkpoint, signed, answer []byte) (string, error) {
	n, err := note.Open(append(bytes.Clone(signed), answer...), note.VerifierList(p.verifier))
	if err != nil || len(n.Sigs) != 1 || n.Text != c.Text {
		return "", access.Errorf(access.CodeUnavailable, "its answer holds no cosignature by its key")
	}
	return "— " + n.Sigs[0].Name + " " + n.Sigs[0].Base64 + "\n", nil
}

func (s *Submitter) send(method, prefix, path string, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(s.run, attemptTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(prefix, "/")+"/"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, access.Errorf(access.CodeInvalid, "the address cannot be used")
	}
	out, err := s.cfg.Transport.RoundTrip(r)
	if err != nil {
		return 0, nil, access.Errorf(access.CodeUnavailable, "it cannot be reached, or its address is none that may be (see egress.allow in the configuration)")
	}
	defer out.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(out.Body, maxAnswer))
	if err != nil {
		return 0, nil, access.Errorf(access.CodeUnavailable, "its answer broke off")
	}
	return out.StatusCode, answer, nil
}
