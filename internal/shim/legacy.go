package shim

import (
	"context"
	"errors"
	"net/http"
	"time"

	"rutile/internal/rawjson"
)

// session is the session of a legacy client at the gateway.
type session struct {
	id      string
	version string // as negotiated with the gateway
	caps    string // raw capabilities of the server
	init    []byte // the client's initialize
	initID  []byte
	cut     context.CancelFunc
	broken  *failure // why it cannot go on, nil while it can
}

// header is that of every message of a session.
func (ses *session) header() http.Header {
	h := headers(ses.version)
	if ses.id != "" {
		h.Set("Mcp-Session-Id", ses.id)
	}
	return h
}

// initialize opens the session. A client of the oldest revision is served by
// the next one, less what that adds.
func (s *Shim) initialize(f *flight) *failure {
	ses, body, old := &session{init: f.raw, initID: f.ids[0]}, f.raw, false
	if v := f.params.Get("protocolVersion"); v.Equals(version2411) {
		old = true
		start, end := v.Span()
		body = rawjson.Splice(f.raw, rawjson.Edit{Start: start, End: end, Text: []byte(`"` + version2503 + `"`)})
		ses.init = body
	}
	resp, fault := s.send(f.ctx, http.MethodPost, body, headers(""))
	if fault != nil {
		return fault
	}
	return s.relay(f, resp, func(answer rawjson.Value) []byte {
		if answer.Get("result").Exists() {
			ses.fill(resp.Header, answer)
			s.adopt(ses)
		}
		if v := answer.Path("result", "protocolVersion"); old && v.Equals(version2503) {
			return replaced(answer, v, `"`+version2411+`"`)
		}
		return answer.Raw()
	})
}

// replaced returns the document with one of its values replaced.
func replaced(doc, v rawjson.Value, text string) []byte {
	start, end := v.Span()
	from, _ := doc.Span()
	return rawjson.Splice(doc.Raw(), rawjson.Edit{Start: start - from, End: end - from, Text: []byte(text)})
}

// fill takes what the gateway said about the session.
func (ses *session) fill(h http.Header, answer rawjson.Value) {
	ses.id = h.Get("Mcp-Session-Id")
	ses.version, _ = answer.Path("result", "protocolVersion").Str()
	if !headerValue(ses.version) {
		ses.version = "" // then the gateway's default counts
	}
	ses.caps = string(answer.Path("result", "capabilities").Raw())
}

// adopt makes ses the session and opens its stream.
func (s *Shim) adopt(ses *session) {
	ctx, cut := context.WithCancel(s.base)
	ses.cut = cut
	s.mu.Lock()
	if s.session != nil {
		s.session.cut()
	}
	s.session = ses
	resting := s.resting
	s.mu.Unlock()
	if !resting && ses.id != "" && ses.broken == nil {
		s.work.Go(func() { s.follow(ctx, ses) })
	}
}

// legacy makes a request inside a session; without one the gateway says what
// is missing.
func (s *Shim) legacy(f *flight, ses *session) *failure {
	for tried := false; ; tried = true {
		h := headers("")
		if ses != nil {
			if ses.broken != nil {
				return ses.broken
			}
			h = ses.header()
		}
		resp, fault := s.send(f.ctx, http.MethodPost, f.raw, h)
		if fault != nil {
			return fault
		}
		if resp.StatusCode != http.StatusNotFound || ses == nil || ses.id == "" || tried {
			return s.relay(f, resp, nil)
		}
		// The gateway does not know the session, so nothing was done.
		resp.Body.Close()
		if ses, fault = s.reopen(f.ctx, ses); fault != nil {
			return fault
		}
	}
}

// post sends a notification or an answer.
func (s *Shim) post(ses *session, m *message) *failure {
	ctx, cancel := context.WithTimeout(s.base, s.cfg.Patience+10*time.Second)
	defer cancel()
	if ses.broken != nil {
		return ses.broken
	}
	status, text, fault := s.tell(ctx, ses, m.raw)
	switch {
	case fault != nil:
		return fault
	case status == http.StatusNotFound && m.kind == isNotification:
		// What it is about went with the session, but the next request needs one.
		_, fault = s.reopen(ctx, ses)
		return fault
	case status >= 300:
		return s.unexpected(status, text)
	}
	return nil
}

// tell sends what has no answer.
func (s *Shim) tell(ctx context.Context, ses *session, raw []byte) (status int, text string, f *failure) {
	resp, f := s.send(ctx, http.MethodPost, raw, ses.header())
	if f != nil {
		return 0, "", f
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text = said(resp)
	}
	return resp.StatusCode, text, nil
}

// reopen opens the session again after the gateway lost it, by restart or for
// having been idle, and returns it. Another may have done so already.
func (s *Shim) reopen(ctx context.Context, lost *session) (*session, *failure) {
	s.renew.Lock()
	defer s.renew.Unlock()
	s.mu.Lock()
	now := s.session
	s.mu.Unlock()
	if now != lost {
		return now, now.broken
	}
	resp, fault := s.send(ctx, http.MethodPost, lost.init, headers("")) //nolint:bodyclose // answerTo closes it
	if fault != nil {
		return nil, fault
	}
	answer, fault := s.answerTo(ctx, lost.initID, resp)
	switch {
	case fault != nil:
		return nil, fault
	case !answer.Get("result").Exists():
		text, _ := answer.Path("error", "message").Str()
		return nil, s.unexpected(resp.StatusCode, clip(text))
	}
	ses := &session{init: lost.init, initID: lost.initID}
	ses.fill(resp.Header, answer)
	if ses.version != lost.version || ses.caps != lost.caps {
		ses.broken = changed()
	}
	s.adopt(ses)
	if ses.broken != nil {
		return nil, ses.broken
	}
	if status, text, fault := s.tell(ctx, ses, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); fault != nil {
		return nil, fault
	} else if status >= 300 {
		return nil, s.unexpected(status, text)
	}
	s.log.Info("the gateway had ended the session; it is open again, without subscriptions to resources and log level of before")
	return ses, nil
}

func changed() *failure {
	return &failure{code: codeInternal, kind: "session_changed", msg: "the gateway lost the session, and the server behind it has changed since: restart the client"}
}

// ask makes a request of the shim's own and returns the answer.
func (s *Shim) ask(ctx context.Context, id, body []byte, h http.Header) (rawjson.Value, *failure) {
	resp, fault := s.send(ctx, http.MethodPost, body, h) //nolint:bodyclose // answerTo closes it
	if fault != nil {
		return rawjson.Value{}, fault
	}
	return s.answerTo(ctx, id, resp)
}

// answerTo reads the answer to a request of the shim's own. Other messages on
// its stream belong to nobody.
func (s *Shim) answerTo(ctx context.Context, id []byte, resp *http.Response) (answer rawjson.Value, f *failure) {
	own := &flight{message: &message{ids: [][]byte{id}}, ctx: ctx, gone: true, open: map[string]bool{string(id): true}}
	f = s.relay(own, resp, func(v rawjson.Value) []byte {
		answer = v
		return v.Raw()
	})
	return answer, f
}

// follow keeps the session's own stream open for messages that belong to no
// request.
func (s *Shim) follow(ctx context.Context, ses *session) {
	h := ses.header()
	h.Del("Content-Type")
	h.Set("Accept", "text/event-stream")
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		began := time.Now()
		resp, fault := s.send(ctx, http.MethodGet, nil, h)
		if ctx.Err() != nil {
			if resp != nil {
				resp.Body.Close()
			}
			return
		}
		if fault == nil {
			switch resp.StatusCode {
			case http.StatusOK:
				s.listen(ctx, resp)
			case http.StatusNotFound:
				resp.Body.Close()
				if _, fault := s.reopen(ctx, ses); fault == nil {
					return // the new session has its own
				}
			case http.StatusMethodNotAllowed:
				resp.Body.Close()
				return // there is none
			default:
				resp.Body.Close()
			}
		}
		if time.Since(began) > time.Minute {
			wait = time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// listen passes on what comes on a session's own stream.
func (s *Shim) listen(ctx context.Context, resp *http.Response) {
	defer resp.Body.Close()
	timer := time.AfterFunc(s.cfg.Silence, func() { resp.Body.Close() })
	defer timer.Stop()
	stream := newEvents(&watch{resp.Body, timer, s.cfg.Silence}, s.cfg.MaxAnswer)
	for {
		data, err := stream.next()
		if err != nil {
			if ctx.Err() == nil {
				s.log.Debug("the session's stream ended", "cause", err)
			}
			return
		}
		v, fault := readAnswer(data, s.cfg.MaxAnswer)
		if fault != nil || v.Kind() != rawjson.Object || !v.Get("method").Exists() {
			s.log.Warn("dropped what is no message for the client")
			continue
		}
		s.out.write(data)
	}
}

// end says goodbye to the gateway within a bound.
func (s *Shim) end() {
	s.mu.Lock()
	ses := s.session
	s.mu.Unlock()
	if ses == nil || ses.id == "" {
		return
	}
	ses.cut()
	ctx, cancel := context.WithTimeout(s.base, farewell)
	defer cancel()
	resp, _, r := s.once(ctx, http.MethodDelete, nil, ses.header())
	if r != nil {
		s.log.Debug("the session could not be ended; the gateway ends it when it is idle", "cause", errors.Unwrap(r.err))
		return
	}
	resp.Body.Close()
}
