package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// order tells a generator what to do; sample is what it saw.
type order struct {
	Work     string        `json:"work"`
	URL      string        `json:"url"`
	Token    string        `json:"token"`
	Decides  bool          `json:"decides"` // the target shows only what the agent may use
	C        int           `json:"c"`
	Duration time.Duration `json:"duration"`
}

type sample struct {
	Calls   int           `json:"calls"`
	Failed  int           `json:"failed"`
	Why     string        `json:"why,omitempty"` // the first failure
	Elapsed time.Duration `json:"elapsed"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
}

// generate plays one generator: an order comes in, a sample goes out.
func generate(ctx context.Context, in io.Reader, out io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	s, err := load(ctx, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(s)
}

// load keeps o.C calls in flight, each on a connection of its own, until the
// time is over.
func load(ctx context.Context, o order) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	callers := make([]*caller, o.C)
	for i := range callers {
		c, err := newCaller(o, i)
		if err != nil {
			return sample{}, err
		}
		callers[i] = c
		defer callers[i].conn.Close()
	}
	var wg sync.WaitGroup
	start := time.Now()
	for _, c := range callers {
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
	s := sample{Elapsed: time.Since(start)}
	var all []time.Duration
	for _, c := range callers {
		all = append(all, c.took...)
		if c.err != nil {
			s.Failed++
			s.Why = c.err.Error()
		}
	}
	slices.Sort(all)
	if s.Calls = len(all); s.Calls > 0 {
		s.P50, s.P99 = all[s.Calls/2], all[s.Calls*99/100]
	}
	return s, nil
}

// caller makes one request after the other on one connection. It writes prepared
// bytes and reads just enough, so as to take little from what it measures.
type caller struct {
	conn    net.Conn
	in      *bufio.Reader
	work    work
	number  int
	decides bool
	out     []byte
	nonce   []byte // inside out; nil where the work has none
	body    bytes.Buffer
	took    []time.Duration
	err     error
}

const nonceDigits = 20

func newCaller(o order, number int) (*caller, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	w, ok := workOf(o.Work)
	if !ok {
		return nil, fmt.Errorf("%q is no work", o.Work)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	c := &caller{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), work: w, number: number, decides: o.Decides}
	var mark string
	if c.out, mark = w.request(u, o.Token, number); mark != "" {
		at := bytes.Index(c.out, []byte(mark))
		c.nonce = c.out[at : at+nonceDigits]
		copy(c.nonce, fmt.Sprintf("%05d", number)) // the rest counts
	}
	return c, nil
}

func (c *caller) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		c.count(n)
		start := time.Now()
		if c.err = c.call(); c.err != nil {
			return
		}
		c.took = append(c.took, time.Since(start))
	}
}

// count makes the next call one that was not made before.
func (c *caller) count(n int) {
	for i, v := len(c.nonce)-1, n; i >= 5; i, v = i-1, v/10 {
		c.nonce[i] = byte('0' + v%10)
	}
}

func (c *caller) call() error {
	if err := c.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	c.body.Reset()
	if _, err := c.body.ReadFrom(resp.Body); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	resp.Body.Close()
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("answered %s: %.300s", resp.Status, c.body.Bytes())
	case resp.Close:
		return errors.New("the connection is not kept")
	}
	if why := c.work.wrong(c.body.Bytes(), c.nonce, c.number, c.decides); why != "" {
		return fmt.Errorf("answered %s: %.300s", why, c.body.Bytes())
	}
	return nil
}
