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
	"strconv"
	"strings"
	"sync"
	"time"
)

// order tells a generator what to do; sample is what it saw.
type order struct {
	URL      string        `json:"url"`
	Token    string        `json:"token"`
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
	u, err := url.Parse(o.URL)
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	callers := make([]*caller, o.C)
	for i := range callers {
		if callers[i], err = newCaller(u, o.Token, i); err != nil {
			return sample{}, err
		}
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

// caller makes one call after the other on one connection. It writes prepared
// bytes and reads just enough, so as to take little from what it measures.
type caller struct {
	conn  net.Conn
	in    *bufio.Reader
	out   []byte
	nonce []byte // inside out
	body  bytes.Buffer
	took  []time.Duration
	err   error
}

const nonceDigits = 20

func newCaller(u *url.URL, token string, number int) (*caller, error) {
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	mark := strings.Repeat("0", nonceDigits)
	body := `{"jsonrpc":"2.0","id":` + strconv.Itoa(number+1) + `,"method":"tools/call","params":{"name":"echo","arguments":{"nonce":"` + mark + `","text":"`
	tail := `"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}`
	body += strings.Repeat("lorem ipsum ", 100)[:1024-len(body)-len(tail)] + tail
	head := "POST " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	c := &caller{conn: conn, in: bufio.NewReader(conn), out: []byte(head + "\r\n" + body)}
	at := len(head) + 2 + strings.Index(body, mark)
	c.nonce = c.out[at : at+nonceDigits]
	copy(c.nonce, fmt.Sprintf("%05d", number)) // the rest counts
	return c, nil
}

func (c *caller) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		for i, v := nonceDigits-1, n; i >= 5; i, v = i-1, v/10 {
			c.nonce[i] = byte('0' + v%10)
		}
		start := time.Now()
		if c.err = c.call(); c.err != nil {
			return
		}
		c.took = append(c.took, time.Since(start))
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
	case !bytes.Contains(c.body.Bytes(), c.nonce):
		return fmt.Errorf("answered somebody else's call: %.300s", c.body.Bytes())
	case bytes.Contains(c.body.Bytes(), []byte(`"isError":true`)):
		return fmt.Errorf("answered a tool error: %.300s", c.body.Bytes())
	case resp.Close:
		return errors.New("the connection is not kept")
	}
	return nil
}
