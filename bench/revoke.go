package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// What is under way while an agent is revoked.
const (
	revokeCallers = 16                     // calls one after the other
	revokeHeld    = 4                      // calls that the upstream does not end
	revokeBefore  = 150 * time.Millisecond // of load, before the order
	revokeAfter   = 150 * time.Millisecond // and after it: a call that passed is seen
)

// revoked is what was seen of one revocation.
type revoked struct {
	ordered  time.Duration // the order until the API returned
	returned time.Duration // the API's return until the last permitted answer was here; 0 if none came after it
	denied   time.Duration // the order until then
	cut      time.Duration // the order until the last held call had ended
	passed   int           // calls begun after the return that were permitted
}

// revocations revokes the agent that calls, again and again: revoking ends its tokens,
// and it signs in anew.
func revocations(ctx context.Context, cfg config, targets []target, out io.Writer) error {
	fmt.Fprintf(out, "\nrevoke: an agent through the API, %d times, while %d callers call and %d calls wait for the upstream; ms, p50/p99/max\n", cfg.revocations, revokeCallers, revokeHeld)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "target\torder→return\treturn→denied\torder→denied\torder→streams cut\tpermitted after\t")
	for _, t := range targets {
		if t.api == nil {
			continue
		}
		var all []revoked
		for range cfg.revocations {
			one, err := revoke(ctx, t)
			if err != nil {
				return fmt.Errorf("revoking of %s: %w", t.name, err)
			}
			all = append(all, one)
		}
		passed := 0
		for _, r := range all {
			passed += r.passed
		}
		of := func(f func(revoked) time.Duration) string {
			v := make([]time.Duration, len(all))
			for i, r := range all {
				v[i] = f(r)
			}
			slices.Sort(v)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
			return fmt.Sprintf("%.1f/%.1f/%.1f", ms(v[len(v)/2]), ms(v[(len(v)*99-1)/100]), ms(v[len(v)-1]))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t\n", t.name, of(func(r revoked) time.Duration { return r.ordered }), of(func(r revoked) time.Duration { return r.returned }),
			of(func(r revoked) time.Duration { return r.denied }), of(func(r revoked) time.Duration { return r.cut }), passed)
	}
	return w.Flush()
}

// attempt is one call that was permitted.
type attempt struct{ began, ended time.Time }

// revoke revokes once, under load.
func revoke(ctx context.Context, t target) (revoked, error) {
	token, err := t.token(ctx, echoServer)
	if err != nil {
		return revoked{}, err
	}
	o := order{Work: "call", URL: t.at(echoServer), Token: token, Decides: true}
	held, err := hold(o)
	if err != nil {
		return revoked{}, err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	permitted := make([][]attempt, revokeCallers)
	var wg sync.WaitGroup
	for i := range revokeCallers {
		wg.Go(func() { permitted[i] = insist(loading, o, i) })
	}
	time.Sleep(revokeBefore)
	began := time.Now()
	if err := t.api(ctx, "revocations", map[string]string{"kind": "agent", "id": benchAgent, "reason": "measured"}); err != nil {
		return revoked{}, err
	}
	ended := time.Now()
	r := revoked{ordered: ended.Sub(began)}
	for range revokeHeld {
		select {
		case at := <-held:
			r.cut = max(r.cut, at.Sub(began))
		case <-time.After(10 * time.Second):
			return r, fmt.Errorf("a call was not cut within 10 s")
		}
	}
	time.Sleep(revokeAfter)
	stop()
	wg.Wait()
	calls := 0
	for _, a := range slices.Concat(permitted...) {
		calls++
		r.returned = max(r.returned, a.ended.Sub(ended))
		r.denied = max(r.denied, a.ended.Sub(began))
		if a.began.After(ended) {
			r.passed++
		}
	}
	if calls == 0 {
		return r, fmt.Errorf("no call was permitted before the order")
	}
	return r, nil
}

// insist calls on, whatever the answers, and returns the calls that were permitted.
func insist(ctx context.Context, o order, number int) (out []attempt) {
	var c *caller
	for n := 0; ctx.Err() == nil; n++ {
		if c == nil {
			var err error
			if c, err = newCaller(o, number); err != nil {
				continue
			}
		}
		c.count(n)
		began := time.Now()
		if err := c.call(); err != nil {
			c.conn.Close()
			c = nil
			continue
		}
		out = append(out, attempt{began, time.Now()})
	}
	if c != nil {
		c.conn.Close()
	}
	return out
}

// hold begins calls that the upstream does not end. When one has ended the time comes.
func hold(o order) (ended chan time.Time, err error) {
	ended = make(chan time.Time, revokeHeld)
	for i := range revokeHeld {
		o.Work = "hold"
		c, err := newCaller(o, i)
		if err != nil {
			return nil, err
		}
		if _, err := c.conn.Write(c.out); err != nil {
			return nil, err
		}
		go func() {
			defer c.conn.Close()
			if resp, err := http.ReadResponse(c.in, nil); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body) // however it ends
				resp.Body.Close()
			}
			ended <- time.Now()
		}()
	}
	return ended, nil
}

// apiOf posts to the administration API behind a socket.
func apiOf(socket string) func(ctx context.Context, path string, in any) error {
	var d net.Dialer
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}}}
	return func(ctx context.Context, path string, in any) error {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://rutile/api/v1/"+path, bytes.NewReader(raw))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode/100 != 2 {
			err = fmt.Errorf("%s: %s: %.300s", path, resp.Status, answer)
		}
		return err
	}
}
