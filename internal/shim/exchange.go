package shim

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"rutile/internal/rawjson"
)

// exchange makes one request and relays everything that comes of it. What it
// returns is for the ids that have no answer then.
func (s *Shim) exchange(f *flight) *failure {
	if f.method != "subscriptions/listen" {
		ctx, cancel := context.WithTimeout(f.ctx, s.cfg.CallMax)
		defer cancel()
		f.ctx = ctx
	}
	switch {
	case f.ctx.Err() != nil:
		return s.lost(context.Cause(f.ctx))
	case f.version != "":
		return s.modern(f)
	}
	s.mu.Lock()
	ses := s.session
	s.mu.Unlock()
	if f.method == "initialize" && ses == nil {
		return s.initialize(f)
	}
	return s.legacy(f, ses)
}

// headers are those of every request with a body.
func headers(version string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if version != "" {
		h.Set("Mcp-Protocol-Version", version)
	}
	return h
}

// relay passes on what a response holds: a message, or a stream of them. seen,
// if not nil, is shown each answer of the request before it is passed on and
// may replace it; nil keeps it back.
func (s *Shim) relay(f *flight, resp *http.Response, seen func(answer rawjson.Value) []byte) *failure {
	defer resp.Body.Close()
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "text/event-stream" && resp.StatusCode == http.StatusOK:
		return s.relayStream(f, resp, seen)
	case err == nil && kind == "application/json":
		b, fault := s.readBody(f.ctx, resp.Body)
		if fault != nil {
			return fault
		}
		if fault := s.deliver(f, b, resp.StatusCode, seen); fault != nil {
			return fault
		}
		if left := f.waiting(); len(left) > 0 {
			return s.unexpected(resp.StatusCode, "")
		}
		return nil
	case resp.StatusCode == http.StatusAccepted && f.dropped():
		return nil
	}
	return s.unexpected(resp.StatusCode, said(resp))
}

func (s *Shim) readBody(ctx context.Context, r io.Reader) ([]byte, *failure) {
	b, err := io.ReadAll(io.LimitReader(r, int64(s.cfg.MaxAnswer)+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, s.lost(context.Cause(ctx))
	case err != nil:
		return nil, s.lost(err)
	case len(b) > s.cfg.MaxAnswer:
		return nil, tooLarge(s.cfg.MaxAnswer)
	}
	return b, nil
}

func tooLarge(max int) *failure {
	return &failure{code: codeInternal, kind: "too_large", msg: "the gateway's answer has more than " + strconv.Itoa(max) + " bytes; ask for less at once"}
}

// unexpected is the error for an answer that is none of MCP's.
func (s *Shim) unexpected(status int, text string) *failure {
	f := s.explain(&reply{status: status, text: text})
	switch status {
	case http.StatusRequestEntityTooLarge:
		f.kind, f.msg = "too_large", "the request is larger than the gateway takes; send less at once"
	case http.StatusOK, http.StatusAccepted:
		f.kind, f.msg = "gateway_malformed", "what answers at "+s.cfg.Profile.Gateway+" did not answer the request; see rutile doctor"
	}
	return f
}

func (s *Shim) relayStream(f *flight, resp *http.Response, seen func(rawjson.Value) []byte) *failure {
	ctx, cancel := context.WithCancelCause(f.ctx)
	defer cancel(nil)
	body := resp.Body
	if f.method == "subscriptions/listen" {
		// Here the gateway sends keep-alives; a call may think in silence.
		timer := time.AfterFunc(s.cfg.Silence, func() { cancel(errSilence); resp.Body.Close() })
		defer timer.Stop()
		body = &watch{body, timer, s.cfg.Silence}
	}
	stream := newEvents(body, s.cfg.MaxAnswer)
	for {
		data, err := stream.next()
		switch {
		case errors.Is(err, errTooLarge):
			return tooLarge(s.cfg.MaxAnswer)
		case err != nil && ctx.Err() != nil:
			return s.lost(context.Cause(ctx))
		case err != nil:
			return s.lost(err)
		}
		if fault := s.deliver(f, data, resp.StatusCode, seen); fault != nil {
			return fault
		}
		if len(f.waiting()) == 0 {
			return nil
		}
	}
}

// readAnswer reads a message of the gateway.
func readAnswer(b []byte, max int) (rawjson.Value, *failure) {
	v, err := rawjson.Parse(b, rawjson.Limits{Bytes: max, Members: 1 << 20, Depth: 256})
	if err != nil {
		return v, &failure{code: codeInternal, kind: "gateway_malformed", msg: "the gateway sent what is no message; see rutile doctor", err: err}
	}
	return v, nil
}

// deliver passes on one message that belongs to a request.
func (s *Shim) deliver(f *flight, b []byte, status int, seen func(rawjson.Value) []byte) *failure {
	v, fault := readAnswer(b, s.cfg.MaxAnswer)
	if fault != nil {
		return fault
	}
	if v.Kind() == rawjson.Array {
		return s.deliverBatch(f, v)
	}
	if v.Kind() != rawjson.Object {
		return &failure{code: codeInternal, kind: "gateway_malformed", msg: "the gateway sent what is no message; see rutile doctor"}
	}
	if v.Get("method").Exists() {
		if !f.dropped() {
			s.out.write(b)
		}
		return nil
	}
	id := v.Get("id")
	if !id.Exists() || id.Kind() == rawjson.Null {
		// The gateway could not say which request it is about; we can.
		if e := v.Get("error"); e.Kind() == rawjson.Object && len(f.ids) == 1 {
			b = append([]byte(`{"jsonrpc":"2.0","id":`), f.ids[0]...)
			b = append(append(append(b, `,"error":`...), e.Raw()...), '}')
			if v, fault = readAnswer(b, s.cfg.MaxAnswer+len(b)); fault != nil {
				return fault
			}
			id = v.Get("id")
		}
	}
	if !v.Get("result").Exists() && !v.Get("error").Exists() || !f.expects(id.Raw()) {
		s.log.Warn("dropped an answer to no request", "status", status)
		return nil
	}
	if seen != nil {
		if b = seen(v); b == nil {
			return nil
		}
	}
	if s.settle(f, string(id.Raw())) && !f.dropped() {
		s.out.write(b)
	}
	return nil
}

// deliverBatch passes on the answers to a batch, which are a batch too.
func (s *Shim) deliverBatch(f *flight, v rawjson.Value) *failure {
	for one := range v.Items() {
		if !one.Get("method").Exists() && !f.expects(one.Get("id").Raw()) {
			return &failure{code: codeInternal, kind: "gateway_malformed", msg: "the gateway answered another batch; see rutile doctor"}
		}
	}
	for one := range v.Items() {
		s.settle(f, string(one.Get("id").Raw()))
	}
	s.out.write(v.Raw())
	return nil
}

func (f *flight) expects(id []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open[string(id)]
}
