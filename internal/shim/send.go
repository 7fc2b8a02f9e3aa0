package shim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// skewNoted is the difference of clocks from which it is named as a likely
// cause.
const skewNoted = 30 * time.Second

// errSilence says that a long stream carried nothing for too long.
var errSilence = errors.New("the stream has been silent for too long")

// send makes one request to the server's endpoint and tries again, within the
// patience, while the gateway was not reached or said to come later. The answer
// is none of 401, 403, 429 and a redirect. The caller closes its body.
func (s *Shim) send(ctx context.Context, method string, body []byte, h http.Header) (*http.Response, *failure) {
	end := time.Now().Add(s.cfg.Patience)
	renewed := false
	for n := 0; ; n++ {
		resp, token, r := s.once(ctx, method, body, h)
		switch {
		case r == nil:
			return resp, nil
		case ctx.Err() != nil:
			return nil, s.lost(context.Cause(ctx))
		case errors.Is(r.err, errSilence):
			return nil, s.lost(errSilence)
		case r.status == http.StatusUnauthorized && token != "" && !renewed:
			// It may have been revoked with its session; a new one tells.
			renewed = true
			s.tokens.forget(token)
			continue
		}
		wait, again := backoff(r, n)
		if !again || time.Now().Add(wait).After(end) {
			return nil, s.explain(r)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, s.lost(context.Cause(ctx))
		}
	}
}

// once makes one attempt. token is what it was made with.
func (s *Shim) once(ctx context.Context, method string, body []byte, h http.Header) (resp *http.Response, token string, r *reply) {
	if token, r = s.tokens.get(ctx); r != nil {
		return nil, "", r
	}
	ctx, cut := context.WithCancelCause(ctx)
	// A stream is begun at once; a call is begun when it has something to say.
	late := time.AfterFunc(within(method, h, s.cfg), func() { cut(errSilence) })
	defer late.Stop()
	defer func() {
		if r != nil {
			cut(nil)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, method, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, token, &reply{err: err}
	}
	req.Header = h.Clone()
	req.Header.Set("Authorization", "Bearer "+token)
	if resp, err = s.http.Do(req); err != nil {
		return nil, token, &reply{err: err}
	}
	switch c := resp.StatusCode; {
	case c == http.StatusUnauthorized || c == http.StatusForbidden || c == http.StatusTooManyRequests || c >= 300 && c < 400,
		c == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		defer resp.Body.Close()
		return nil, token, &reply{status: c, header: resp.Header, text: said(resp)}
	}
	resp.Body = &ending{resp.Body, cut}
	return resp, token, nil
}

// ending is a body that ends its request's context when it is closed.
type ending struct {
	io.ReadCloser
	cut context.CancelCauseFunc
}

func (e *ending) Close() error {
	defer e.cut(nil)
	return e.ReadCloser.Close()
}

// within bounds the wait for the first sign of an answer.
func within(method string, h http.Header, c Config) time.Duration {
	if method == http.MethodGet || h.Get("Mcp-Method") == "subscriptions/listen" {
		return c.Silence
	}
	return c.CallMax
}

// backoff says how long to wait before another attempt and whether one is safe
// and sensible: the request was not taken, and may be later.
func backoff(r *reply, n int) (wait time.Duration, again bool) {
	switch {
	case r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable:
		if wait = retryAfter(r.header); wait == 0 {
			wait = time.Second
		}
		return wait, true
	case r.status == 0 && (r.token || notSent(r.err)):
		wait = min(100*time.Millisecond<<min(n, 5), 2*time.Second)
		return wait + rand.N(wait/2), true
	}
	return 0, false
}

// notSent reports whether the request cannot have reached the gateway.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// retryAfter reads the seconds of Retry-After, or the time until its date.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// said is the text of a refusal: the challenge's description, or a short body.
func said(resp *http.Response) string {
	if _, rest, ok := strings.Cut(resp.Header.Get("WWW-Authenticate"), `error_description="`); ok {
		if text, _, ok := strings.Cut(rest, `"`); ok {
			return text
		}
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what came is enough
	if m, f := readAnswer(b, len(b)+1); f == nil {
		if text, ok := m.Path("error", "message").Str(); ok {
			return clip(text)
		}
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		return clip(strings.TrimSpace(string(b)))
	}
	return ""
}

func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}

// explain turns an attempt that failed for good into the client's error.
func (s *Shim) explain(r *reply) *failure {
	at, text := s.cfg.Profile.Gateway, ""
	if r.text != "" {
		text = ": " + r.text
	}
	f := &failure{code: codeInternal, err: r.err, after: int((retryAfter(r.header) + time.Second - 1) / time.Second)}
	switch {
	case r.status == 0 && notSent(r.err):
		f.kind, f.msg = "gateway_unavailable", "the gateway does not answer at "+at+" ("+reason(r.err)+"); start it with rutile up, or see what is wrong with rutile doctor"
	case r.status == 0 && r.token:
		f.kind, f.msg = "gateway_unavailable", "the gateway at "+at+" issues no token ("+reason(r.err)+"), so nothing was sent; see what is wrong with rutile doctor"
	case r.status == 0:
		f.kind, f.msg = "gateway_unavailable", "the gateway at "+at+" gave no answer ("+reason(r.err)+"), and whether the request took effect is not known; see rutile doctor"
	case r.status == http.StatusTooManyRequests:
		f.code, f.kind, f.msg = codeRateLimit, "rate_limited", "the gateway takes no more requests now"+text+"; try again later"
	case r.code == "invalid_target":
		what := "no server " + s.cfg.Server
		if s.cfg.Server == "" {
			what = "no endpoint for all servers together"
		}
		f.kind, f.msg = "unknown_server", "the gateway has "+what+text+"; list servers with rutile server list and name one"
	case r.status == http.StatusUnauthorized || r.code != "" && r.status < 500:
		f.kind, f.msg = "unauthenticated", "the gateway does not accept this machine's key for agent "+s.cfg.Profile.Agent+text
		if r.skew.Abs() >= skewNoted {
			f.msg += fmt.Sprintf("; this machine's clock is %s the gateway's: set it right", apart(r.skew))
		} else {
			f.msg += "; if the key was removed, enroll again with rutile connect --enroll"
		}
	case r.status == http.StatusForbidden:
		f.code, f.kind, f.msg = codeDenied, "denied", "the gateway refuses"+text
	case r.status >= 300 && r.status < 400:
		f.kind, f.msg = "gateway_unavailable", "what answers at "+at+" sends elsewhere, and the token goes to the enrolled gateway only; check the address and enroll again if it changed"
	default:
		f.kind, f.msg = "gateway_unavailable", "the gateway at "+at+" answered "+strconv.Itoa(r.status)+text+"; see rutile doctor"
	}
	return f
}

func apart(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Second).String() + " behind"
	}
	return d.Round(time.Second).String() + " ahead of"
}

// reason is the inner cause of a network error, without the URL.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	if inner := errors.Unwrap(err); inner != nil {
		return inner.Error()
	}
	return err.Error()
}

// lost is the error of a request whose answer did not come.
func (s *Shim) lost(cause error) *failure {
	f := &failure{code: codeInternal, kind: "gateway_lost", err: cause,
		msg: "the connection to the gateway ended before its answer, and whether the request took effect is not known; look with rutile audit tail before you repeat it"}
	if errors.Is(cause, context.Canceled) {
		f.kind, f.msg = "closed", "the client closed its end before the answer came; whether the request took effect is not known"
	}
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, errSilence) {
		f.kind, f.msg = "gateway_timeout", "the gateway did not answer in time, and whether the request took effect is not known; look with rutile audit tail before you repeat it"
	}
	return f
}

// watch ends a stream that carries nothing for the silence.
type watch struct {
	io.ReadCloser
	timer *time.Timer
	after time.Duration
}

func (w *watch) Read(b []byte) (int, error) {
	w.timer.Reset(w.after)
	return w.ReadCloser.Read(b)
}
