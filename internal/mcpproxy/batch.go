package mcpproxy

import (
	"net/http"

	"rutile/internal/rawjson"
)

// maxBatch bounds the messages of one batch.
const maxBatch = 16

// batch serves a JSON-RPC batch, which only sessions of 2025-03-26 may send
// (rule 8): it is split and every message is judged on its own. It reports
// whether the body was one it answered.
func (in *inbound) batch() bool {
	if in.msg.doc.Root().Kind() != rawjson.Array {
		return false
	}
	s := in.session()
	if s == nil || s.version != version2503 || in.sessionVersion(s) != nil {
		return false
	}
	root := in.msg.doc.Root()
	if root.Len() == 0 || root.Len() > maxBatch {
		in.fail(badMessage(codeInvalidRequest, "a batch holds 1 to 16 messages"))
		return true
	}
	out, n := []byte{'['}, 0
	for item := range root.Items() {
		answer := in.one(s, append([]byte(nil), item.Raw()...))
		if answer == nil {
			continue
		}
		if n++; n > 1 {
			out = append(out, ',')
		}
		out = append(out, answer...)
	}
	if n == 0 {
		in.w.WriteHeader(http.StatusAccepted)
		return true
	}
	_ = (&answer{w: in.w}).final(http.StatusOK, append(out, ']')) // the client may have gone
	return true
}

// one serves one message of a batch and returns its answer, nil if it has none.
func (in *inbound) one(s *session, body []byte) []byte {
	part := &inbound{p: in.p, w: discard{}, r: in.r, id: in.id, all: in.all, server: in.server, known: in.known, who: in.who, received: in.received}
	ans := &answer{w: part.w, collect: true}
	if err := part.msg.parse(body, rawjson.Limits{Bytes: in.p.cfg.MaxBody}); err != nil {
		ans.id = part.msg.idBytes()
		ans.fail(err)
		return ans.collected
	}
	ans.id = part.msg.idBytes()
	if part.msg.meta.Get(metaVersion).Exists() {
		// It is modern whatever it stands in (mcp.md 2.1), and then alone.
		if part.msg.kind == isRequest {
			ans.fail(badRequest(codeInvalidRequest, "a message of 2026-07-28 is not accepted in a batch"))
		}
		return ans.collected
	}
	switch part.msg.kind {
	case isResponse:
		if matched, err := s.waiting(&part.msg).respond(in.r.Context(), &part.msg); !matched || err != nil {
			in.p.log.Debug("dropped a response in a batch", "server", s.server)
		}
	case isNotification:
		part.notification(s)
	default:
		part.sessionRequest(s, ans)
	}
	return ans.collected
}

// discard is the ResponseWriter of a message whose answer is collected.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
