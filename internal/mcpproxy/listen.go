package mcpproxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// inbound is one HTTP request of an agent, checked as far as HTTP goes.
type inbound struct {
	p        *Proxy
	w        http.ResponseWriter
	r        *http.Request
	id       string // the server asked for, "" where a request to the aggregate names none
	all      bool   // the endpoint is the aggregate's
	server   registry.Server
	known    bool // the server is registered; true of the aggregate itself
	who      access.Identity
	msg      message
	buf      []byte
	received time.Time
	over     bool // the principal has as many requests in flight as it may
}

var inboundPool = sync.Pool{New: func() any { return &inbound{buf: make([]byte, 0, 8<<10)} }}

const (
	maxHeaderBytes = 8 << 10
	maxHeaders     = 64
	// unreadTime is how long the body of a refused request may take to arrive:
	// net/http reads it before it answers.
	unreadTime = 5 * time.Second
	// bodyAhead is how many bytes of a body are made room for before they arrive.
	bodyAhead = 64 << 10
)

// ServeHTTP serves /mcp/{server} and the aggregate /mcp. The order of the checks is mcp.md section 3,
// rules 1 to 6.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		p.readBy(w, unreadTime)
	}
	if !p.hosts[r.Host] {
		http.Error(w, "this host name is not served here", http.StatusForbidden)
		return
	}
	if o := r.Header["Origin"]; len(o) > 1 || (len(o) == 1 && !p.origins[o[0]]) {
		http.Error(w, "this origin is not allowed", http.StatusForbidden)
		return
	}
	id, ok := strings.CutPrefix(r.URL.Path, "/mcp/")
	all := r.URL.Path == "/mcp" && r.URL.RawPath == ""
	if !all && (!ok || !access.ValidID(id)) {
		http.Error(w, "no such endpoint; agents use /mcp/{server} or /mcp", http.StatusNotFound)
		return
	}
	in := inboundPool.Get().(*inbound)
	defer func() {
		in.msg.doc.Reset()
		buf, doc := in.buf, in.msg.doc
		if cap(buf) > 256<<10 {
			buf = nil
		}
		*in = inbound{buf: buf[:0]}
		in.msg.doc = doc
		inboundPool.Put(in)
	}()
	in.p, in.w, in.r, in.received = p, w, r, time.Now()
	if in.all = all; all {
		id = "" // of its path nothing is left to cut off
	}
	if !in.authenticate(id) {
		return
	}
	end, ok := in.begin()
	if !ok {
		in.tooMany()
		return
	}
	defer end()
	if in.known = true; !all {
		in.is(id)
	}
	switch r.Method {
	case http.MethodPost:
		in.post()
	case http.MethodGet:
		in.get()
	case http.MethodDelete:
		in.delete()
	default:
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// What a principal at its bound may send at once all the same: it ends what runs
// or what is waited for, and so makes room.
const (
	roomEach = 8
	roomAll  = 256
)

// begin counts the request among those in flight until end is called. One that
// is over the bound goes on, among a few, if it may turn out to make room.
func (in *inbound) begin() (end func(), ok bool) {
	p, who := in.p, in.who.Principal()
	if p.flow.begin(who, p.cfg.InFlight, p.cfg.InFlightAll) {
		return func() { p.flow.end(who) }, true
	}
	in.over = true
	if in.r.Method != http.MethodPost && in.r.Method != http.MethodDelete || !p.room.begin(who, roomEach, roomAll) {
		return nil, false
	}
	return func() { p.room.end(who) }, true
}

func (in *inbound) tooMany() {
	in.w.Header().Set("Retry-After", "1")
	http.Error(in.w, "too many requests are in flight; wait until some have ended", http.StatusTooManyRequests)
}

var errTokenInQuery error = &identity.BearerError{Problem: identity.ProblemMalformed,
	Msg: "a token in the query string is not accepted (RFC 6750, OAuth 2.1); use the Authorization header"}

// is makes id the server the request is about.
func (in *inbound) is(id string) {
	in.id = id
	in.server, in.known = in.p.gate.State().View.Server(id)
}

// authenticate answers 400 or 401 itself and reports whether to go on.
func (in *inbound) authenticate(server string) bool {
	resource := identity.Resource(in.p.cfg.URL, server)
	bearer, err := identity.BearerToken(in.r.Header["Authorization"])
	if in.r.URL.RawQuery != "" && in.r.URL.Query().Has("access_token") {
		err = errTokenInQuery
	}
	if err == nil {
		in.who, err = in.p.verifier.Verify(in.r.Context(), bearer, resource)
	}
	if err == nil {
		return true
	}
	var b *identity.BearerError
	if errors.As(err, &b) && b.Agent != "" {
		r := &access.Request{
			ID: access.NewID(access.PrefixDecision), At: in.received, Who: access.Identity{Actor: access.Actor{Agent: b.Agent}},
			Protocol: "mcp", Method: "authenticate", Server: server, Kind: access.KindServer,
		}
		r.Client, _ = netAddr(in.r.RemoteAddr)
		if gerr := in.p.gate.Refuse(in.r.Context(), r, b.Msg); gerr != nil {
			in.p.log.Error("recording a refused token", "error", access.Reasons(gerr))
			err = gerr
		}
	}
	status, challenge := identity.Challenge(err, identity.ResourceMetadataURL(resource), identity.Scope)
	if challenge != "" {
		in.w.Header().Set("WWW-Authenticate", challenge)
	}
	if status >= 500 {
		in.p.log.Error("verifying a token", "error", access.Reasons(err))
	}
	http.Error(in.w, http.StatusText(status)+": "+publicText(err), status)
	return false
}

// publicText is what of an error a caller may read.
func publicText(err error) string {
	var e *access.Error
	var b *identity.BearerError
	switch {
	case errors.As(err, &b):
		return b.Msg
	case errors.As(err, &e) && e.Code != access.CodeInternal:
		return e.Msg
	}
	return "the request could not be authenticated"
}

// post reads one message and hands it to its era.
func (in *inbound) post() {
	if status, msg := in.checkHeaders(); status != 0 {
		http.Error(in.w, msg, status)
		return
	}
	if err := in.readBody(); err != nil {
		in.fail(err)
		return
	}
	err := in.msg.parse(in.buf, rawjson.Limits{Bytes: in.p.cfg.MaxBody})
	switch {
	case in.over && !in.makesRoom(err):
		in.tooMany()
	case err == nil:
		in.dispatch(in.w)
	case !in.batch():
		in.fail(err)
	}
}

// makesRoom reports whether the message, or each of a batch, is a notification or
// a response.
func (in *inbound) makesRoom(err *rpcError) bool {
	if err == nil {
		return in.msg.kind != isRequest
	}
	root := in.msg.doc.Root()
	if root.Kind() != rawjson.Array || root.Len() == 0 {
		return false
	}
	for m := range root.Items() {
		if m.Kind() != rawjson.Object || m.Get("method").Exists() && m.Get("id").Exists() || !m.Get("method").Exists() && !m.Get("id").Exists() {
			return false
		}
	}
	return true
}

// dispatch chooses the client's era (mcp.md 2.1).
func (in *inbound) dispatch(w http.ResponseWriter) {
	ans := &answer{w: w, id: in.msg.idBytes()}
	defer ans.close() // where no answer was made, nothing may write one when the handler is gone
	version, present, err := oneHeader(in.r.Header, headerVersion)
	switch {
	case err != nil:
		ans.fail(err)
	case in.msg.meta.Get(metaVersion).Exists(), present && !legacyVersion(version) && version != "2024-11-05":
		in.modern(ans)
	default:
		in.legacy(ans)
	}
}

// checkHeaders applies rules 3 to 5 to the headers.
func (in *inbound) checkHeaders() (status int, msg string) {
	h := in.r.Header
	if ct := h["Content-Type"]; len(ct) != 1 || !jsonContent(ct[0]) {
		return http.StatusUnsupportedMediaType, "the Content-Type must be application/json"
	}
	if len(h["Content-Encoding"]) > 0 {
		return http.StatusUnsupportedMediaType, "a Content-Encoding is not accepted"
	}
	if !accepts(h["Accept"], "application/json") || !accepts(h["Accept"], "text/event-stream") {
		return http.StatusNotAcceptable, "the Accept header must list application/json and text/event-stream"
	}
	n := 0
	for k, vs := range h {
		if !strings.HasPrefix(k, "Mcp-") {
			continue
		}
		for _, v := range vs {
			if n++; n > maxHeaders || len(v) > maxHeaderBytes {
				return http.StatusRequestHeaderFieldsTooLarge, "too many or too long Mcp headers"
			}
		}
	}
	return 0, ""
}

func jsonContent(ct string) bool {
	if ct == "application/json" {
		return true
	}
	mt, rest, _ := strings.Cut(ct, ";")
	if !strings.EqualFold(strings.TrimSpace(mt), "application/json") {
		return false
	}
	rest = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(rest), `"`, ""))
	return rest == "" || rest == "charset=utf-8"
}

// accepts reports whether an Accept header lists a media type; */* counts. The
// most specific range that fits decides, and one of quality 0 says no (RFC 9110,
// 12.5.1).
func accepts(h []string, want string) bool {
	best, ok := 0, false
	for _, line := range h {
		for part := range strings.SplitSeq(line, ",") {
			mt, params, _ := strings.Cut(part, ";")
			mt = strings.TrimSpace(mt)
			rank := 0
			switch {
			case strings.EqualFold(mt, want):
				rank = 3
			case strings.EqualFold(mt, want[:strings.IndexByte(want, '/')]+"/*"):
				rank = 2
			case mt == "*/*":
				rank = 1
			}
			if rank > best || rank == best && !ok {
				best, ok = rank, rank > 0 && !refuses(params)
			}
		}
	}
	return ok
}

// refuses reports whether the parameters of a media range say quality 0.
func refuses(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if q, err := strconv.ParseFloat(value, 64); strings.EqualFold(name, "q") && err == nil && q == 0 {
			return true
		}
	}
	return false
}

// readBody buffers the whole body before any upstream is dialled (mcp.md 7.5).
func (in *inbound) readBody() *rpcError {
	tooLarge := &rpcError{status: http.StatusRequestEntityTooLarge, code: codeInvalidRequest, noID: true,
		msg: fmt.Sprintf("the body is over %d bytes", in.p.cfg.MaxBody)}
	if in.r.ContentLength > int64(in.p.cfg.MaxBody) {
		return tooLarge
	}
	if n := min(int(in.r.ContentLength), bodyAhead); n >= cap(in.buf) {
		in.buf = make([]byte, 0, n+1) // the rest as it arrives: what is announced may never come
	}
	wait := in.p.cfg.BodyTimeout
	if in.over {
		wait = unreadTime // its place is one of few
	}
	in.p.readBy(in.w, wait)
	for {
		n, err := in.r.Body.Read(in.buf[len(in.buf):cap(in.buf)])
		in.buf = in.buf[:len(in.buf)+n]
		switch {
		case len(in.buf) > in.p.cfg.MaxBody:
			return tooLarge
		case errors.Is(err, io.EOF):
			in.p.readBy(in.w, 0) // what follows has other bounds
			return nil
		case err != nil:
			return badMessage(codeParse, "the body could not be read")
		case len(in.buf) == cap(in.buf):
			in.buf = roomier(in.buf, in.r.ContentLength)
		}
	}
}

// roomier is a full buffer with room for as much again, or for what is left of
// length, -1 if that is not known, and its end.
func roomier(buf []byte, length int64) []byte {
	n := len(buf)
	if left := int(length) - n + 1; left > 0 {
		n = min(n, left)
	}
	return slices.Grow(buf, n)
}

// readBy bounds how long the rest of a request may take to arrive, at most
// BodyTimeout; 0 lifts the bound. A client that sends slowly must not hold its
// connection for ever, whatever it is answered.
func (p *Proxy) readBy(w http.ResponseWriter, d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(min(d, p.cfg.BodyTimeout))
	}
	_ = http.NewResponseController(w).SetReadDeadline(at) // test recorders have none; a real connection does
}

func (in *inbound) fail(e *rpcError) {
	(&answer{w: in.w, id: in.msg.idBytes()}).fail(e)
}

// request builds the access.Request of the parsed message.
func (in *inbound) request(version string) *access.Request {
	h := in.r.Header
	req := &access.Request{
		ID: access.NewID(access.PrefixDecision), At: in.received, Who: in.who, Protocol: "mcp", Version: version,
		Method: in.msg.name, Server: in.id, Kind: access.KindServer, RPC: string(in.msg.idBytes()), BytesIn: len(in.msg.buf),
	}
	if in.msg.method != nil && in.msg.method.kind != "" {
		req.Kind = in.msg.method.kind
	}
	if v, _ := in.msg.meta.Get("traceparent").Str(); v != "" {
		req.Trace.Parent = v
		req.Trace.State, _ = in.msg.meta.Get("tracestate").Str()
	} else if tp := h["Traceparent"]; len(tp) == 1 {
		req.Trace.Parent = tp[0]
	}
	req.Client, _ = netAddr(in.r.RemoteAddr)
	req.Wire.HTTP = httpVersion(in.r.ProtoMajor, in.r.ProtoMinor)
	if req.Task, _ = in.msg.meta.Get(metaTask).Str(); req.Task == "" {
		req.Task = h.Get(headerTask)
	}
	return req
}
