package mcpproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"rutile/internal/rawjson"
)

const (
	stdioBuffer = 16 << 10
	// A line over the cap is skipped, one this many times over it never ends.
	stdioEndless = 16
	// stdioDrain is how long a pipe may be silent after the process ended, and
	// stdioDrainBytes how much may come, before it is taken for a pipe that
	// somebody outside of its process group keeps open. No pipe holds more.
	stdioDrain      = 200 * time.Millisecond
	stdioDrainBytes = 1 << 20
	// Of a longer line of standard error the end is dropped, and with it the
	// beginning of a secret that the cut may have hidden from scrubbing.
	stdioErrorLine = 8 << 10
	stdioErrorTail = 4 << 10
)

var errStdioEndless = errors.New("a line that does not end")

// stdioPipe reads what a process writes, and after its end only what the pipe
// still holds.
type stdioPipe struct {
	file    *os.File
	drained int
	over    atomic.Bool
}

// end wakes a blocked Read. The deadline comes first, so that it cannot undo
// the one Read sets when it sees over.
func (p *stdioPipe) end() {
	_ = p.file.SetReadDeadline(time.Unix(1, 0)) // where there are none, the pipe ends with its writers
	p.over.Store(true)
}

func (p *stdioPipe) Read(b []byte) (int, error) {
	for {
		over := p.over.Load()
		if over {
			if p.drained >= stdioDrainBytes {
				return 0, io.EOF
			}
			_ = p.file.SetReadDeadline(time.Now().Add(stdioDrain)) // as above
		}
		n, err := p.file.Read(b)
		if over {
			p.drained += n
		}
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if over {
			return 0, io.EOF
		}
	}
}

// stdioLines splits a stream into lines of at most max bytes.
type stdioLines struct {
	r   *bufio.Reader
	max int
}

// next returns the next line without its newline, or what there is of it before
// an error. size is the length of the line; where it is over max, line is its
// beginning. The line is the caller's.
func (l *stdioLines) next() (line []byte, size int, err error) {
	for {
		part, err := l.r.ReadSlice('\n')
		part, whole := bytes.CutSuffix(part, []byte("\n"))
		size += len(part)
		if keep := min(len(part), l.max-len(line)); keep > 0 {
			line = append(line, part[:keep]...)
		}
		switch {
		case whole:
			return line, size, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, size, err
		case size > stdioEndless*l.max:
			return line, size, errStdioEndless
		}
	}
}

// read hands on the messages on standard output. What is not one counts: noise
// where only messages may be is a sign of a server that cannot be followed, or
// of one that tries its readers.
func (p *stdioProcess) read() {
	defer close(p.messages)
	lines := stdioLines{r: bufio.NewReaderSize(&p.out, stdioBuffer), max: p.cfg.MaxLine}
	var doc rawjson.Doc
	for strikes := 0; ; {
		line, size, err := lines.next()
		if err != nil && !errors.Is(err, errStdioEndless) {
			if size > 0 {
				p.cfg.Log.Warn("dropped the unfinished last line of a process", "bytes", size)
			}
			break
		}
		if size <= p.cfg.MaxLine && len(bytes.TrimSpace(line)) == 0 {
			continue // an empty line is neither a message nor noise
		}
		if why := p.judge(&doc, line, size); why != "" {
			strikes++
			p.cfg.Log.Warn("dropped a line of a process that is no message", "reason", why, "bytes", size, "strike", strikes)
			if strikes >= stdioStrikes || err != nil {
				p.stop(errStdioNoise)
				break
			}
			continue
		}
		select {
		case p.messages <- line:
		case <-p.quit:
		}
	}
	select {
	case <-p.exited:
	case <-time.After(p.cfg.StopGrace):
		p.stop(errStdioMute)
	}
}

// judge says why a line is not a message, "" if it is one.
func (p *stdioProcess) judge(doc *rawjson.Doc, line []byte, size int) string {
	if size > p.cfg.MaxLine {
		return "too long"
	}
	defer doc.Reset()
	if err := doc.Parse(line, rawjson.Limits{Bytes: p.cfg.MaxLine}); err != nil {
		return faultOf(err)
	}
	if doc.Root().Kind() != rawjson.Object {
		return "not an object"
	}
	return ""
}

// readErrors logs standard error line by line, and keeps the last line for Err.
func (p *stdioProcess) readErrors() {
	lines := stdioLines{r: bufio.NewReaderSize(&p.errs, stdioErrorTail), max: stdioErrorLine + stdioErrorTail}
	verbose := p.cfg.Log.Enabled(context.Background(), slog.LevelDebug)
	for {
		line, size, err := lines.next()
		if text := p.errorText(line, size > len(line)); text != "" {
			p.last = text
			if verbose {
				p.cfg.Log.Debug("a process wrote to standard error", "line", text)
			}
		}
		if err != nil && !errors.Is(err, errStdioEndless) {
			return
		}
	}
}

// errorText makes a line of standard error fit for the log.
func (p *stdioProcess) errorText(line []byte, cut bool) string {
	if p.cfg.Scrub != nil {
		line = p.cfg.Scrub(line)
	}
	if cut {
		line = line[:max(0, len(line)-stdioErrorTail)]
	}
	line = line[:min(len(line), stdioErrorLine)]
	return strings.ToValidUTF8(string(bytes.TrimSpace(line)), "\uFFFD")
}
