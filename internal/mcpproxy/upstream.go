package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// link is one conversation with an upstream. The modern HTTP link is stateless
// and shared; legacy and stdio links belong to one principal, or to one of its
// sessions.
type link interface {
	// call sends x, relays what comes before the final message and returns the
	// final message. The reach is meaningful on errors too.
	call(ctx context.Context, x *exchange) (*reply, access.Reach, error)
	// send delivers a notification or a response.
	send(ctx context.Context, d *gate.Dispatch, msg []byte) error
	// answer sends a response beside the stream that is being read. It may be
	// lost: the server's own request then times out.
	answer(d *gate.Dispatch, msg []byte)
	// close ends the conversation; calls in flight fail.
	close(ctx context.Context)
}

// Bounds of the answers of one conversation that are on their way: a server
// that asks and does not take the answers must not pile them up.
const (
	maxAnswers = 16
	answerTime = 10 * time.Second
)

// answers sends responses beside what is being read.
type answers struct{ running atomic.Int32 }

// send runs f, unless too many run.
func (a *answers) send(log *slog.Logger, f func(ctx context.Context)) {
	if a.running.Add(1) > maxAnswers {
		a.running.Add(-1)
		return
	}
	go func() {
		defer a.running.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		contain(log, "an answer to a server", func() { f(ctx) })
	}()
}

// exchange is one request on its way to an upstream.
type exchange struct {
	method *method
	body   []byte
	id     []byte // raw id in body
	token  []byte // raw progress token in body, nil if none
	params rawjson.Value
	shape  *shape         // of the tool called, for Mcp-Param headers; may be nil
	name   string         // what Mcp-Name says, "" for what params name
	extra  []string       // name, value pairs of unrecognised Mcp-Param headers
	d      *gate.Dispatch // credential and scrubber
	relay  relay          // where earlier messages go; never nil
	known  *reply         // what may be the answer again, but for its id; nil if nothing is
	limits rawjson.Limits
}

// relay takes what an upstream sends before the final message. An error ends
// the call.
type relay interface {
	// begin tells the representation as soon as the upstream's headers are in.
	begin(sse bool) error
	// note takes a notification.
	note(msg []byte, v rawjson.Value) error
	// ask takes a request of the server; answering it must not block the stream.
	ask(msg []byte, v rawjson.Value)
	// retry takes an SSE reconnection time in milliseconds.
	retry(ms string) error
}

// reply is the final message of an exchange, parsed once.
type reply struct {
	body   []byte
	lent   bool // body is to be given back
	doc    rawjson.Doc
	root   rawjson.Value
	result rawjson.Value // Missing if the upstream answered with an error
	fault  rawjson.Value // the error object
	status int           // HTTP status, 200 on stdio
	http   string        // version of HTTP it came in, "" on stdio
}

// read parses body as the response to id (rules 17 and 37).
func (r *reply) read(body, id []byte, lim rawjson.Limits) (matched bool, err error) {
	r.body = body
	if err := r.doc.Parse(body, lim); err != nil {
		return false, malformed("its answer is not acceptable JSON: " + faultOf(err))
	}
	r.root = r.doc.Root()
	return r.match(id)
}

// again reports whether body is this reply with another id. What is the same
// byte for byte needs no parsing.
func (r *reply) again(status int, body, id []byte) bool {
	at, end := r.root.Get("id").Span()
	return r.status == status && end > at && len(body) == len(r.body)-(end-at)+len(id) && bytes.Equal(body[:at], r.body[:at]) &&
		bytes.Equal(body[at:at+len(id)], id) && bytes.Equal(body[at+len(id):], r.body[end:])
}

func (r *reply) match(id []byte) (bool, error) {
	if err := checkUpstream(r.root); err != nil {
		return false, err
	}
	r.result, r.fault = r.root.Get("result"), r.root.Get("error")
	if r.root.Get("method").Exists() || r.result.Exists() == r.fault.Exists() {
		return false, nil
	}
	got := r.root.Get("id")
	if !got.Exists() || got.Kind() == rawjson.Null {
		// An error about a request whose id could not be read.
		if !r.fault.Exists() {
			return false, nil
		}
	} else {
		want, err := rawjson.Parse(id, rawjson.Limits{})
		if err != nil {
			return false, err
		}
		if !sameID(got, want) {
			return false, nil
		}
	}
	if r.fault.Exists() {
		if _, ok := r.fault.Get("code").Int64(); !ok || r.fault.Get("message").Kind() != rawjson.String {
			return false, malformed("its error has no code or message")
		}
	} else if err := checkResult(r.result); err != nil {
		return false, err
	}
	return true, nil
}

// resultMembers are the members of results that somebody acts on.
var resultMembers = []string{"resultType", "_meta", "nextCursor", "ttlMs", "cacheScope", "tools", "prompts", "resources", "resourceTemplates",
	"content", "structuredContent", "isError", "messages", "contents", "completion", "inputRequests", "requestState",
	"supportedVersions", "protocolVersion", "capabilities", "serverInfo", "instructions"}

// checkResult holds a result to rules 10 and 11: a client that folds case must
// not read another list than the one that was judged.
func checkResult(result rawjson.Value) error {
	if result.Kind() != rawjson.Object {
		return malformed("its result is not an object")
	}
	if result.FoldDuplicate(false) != "" {
		return malformed("two members of its result differ only in case")
	}
	if _, name, ok := result.FoldsTo(resultMembers...); ok {
		return malformed("a member of its result is written in another case than " + name)
	}
	asks := result.Get("inputRequests")
	if asks.FoldDuplicate(false) != "" {
		return malformed("two of its requests for input differ only in case")
	}
	for _, ask := range asks.Members() {
		if err := checkAsk(ask); err != nil {
			return err
		}
	}
	return nil
}

// askMembers are the members of a server's request or notification that
// somebody acts on, besides those MCP has in other params.
var askMembers = append([]string{"mode", "message", "url", "requestedSchema", "elicitationId", "messages", "maxTokens", "tools", "toolChoice",
	"systemPrompt", "includeContext", "modelPreferences", "progress", "total", "data", "logger"}, paramMembers...)

// checkAsk holds a server's request or notification to rules 10 and 11: a client
// that folds case must not be asked for something else than was judged.
func checkAsk(ask rawjson.Value) error {
	for _, o := range []struct {
		v       rawjson.Value
		members []string
	}{{ask, envelopeMembers}, {ask.Get("params"), askMembers}} {
		if o.v.FoldDuplicate(false) != "" {
			return malformed("two members of a message differ only in case")
		}
		if _, name, ok := o.v.FoldsTo(o.members...); ok {
			return malformed("a member of a message is written in another case than " + name)
		}
	}
	return nil
}

// code returns the JSON-RPC error code of the reply, 0 if it is a result.
func (r *reply) code() int64 {
	n, _ := r.fault.Get("code").Int64()
	return n
}

// checkUpstream holds a message of an upstream to rules 10 to 12.
func checkUpstream(root rawjson.Value) error {
	if root.Kind() != rawjson.Object || !root.Get("jsonrpc").Equals("2.0") {
		return malformed("a message is not a JSON-RPC 2.0 object")
	}
	if err := checkAsk(root); err != nil {
		return err
	}
	for k := range root.Members() {
		if !slices.ContainsFunc(envelopeMembers, k.Equals) {
			return malformed("a message has an unknown top-level member")
		}
	}
	if p := root.Get("params"); p.Exists() && p.Kind() != rawjson.Object {
		return malformed("the params of a message are not an object")
	}
	return nil
}

func malformed(what string) error {
	return access.Errorf(access.CodeUpstream, "the upstream broke the protocol: %s", what)
}

// faultOf says which rule of strict parsing a message of an upstream broke and at
// which byte. The place would quote its keys, which may be anything.
func faultOf(err error) string {
	var e *rawjson.Error
	if !errors.As(err, &e) {
		return "it cannot be parsed"
	}
	return fmt.Sprintf("rule %s, byte %d", e.Rule, e.Offset)
}

// errSessionEnded says that an upstream session is no more (httpLegacy.lost).
var errSessionEnded = access.Errorf(access.CodeUnavailable, "the upstream ended its session; initialize again")

// noRelay drops everything: for requests of the gateway itself. A server that
// asks something of it is refused by the link.
type noRelay struct{}

func (noRelay) begin(bool) error                 { return nil }
func (noRelay) note([]byte, rawjson.Value) error { return nil }
func (noRelay) ask([]byte, rawjson.Value)        {}
func (noRelay) retry(string) error               { return nil }

// route gives a parsed message of an upstream that is not the final one to the
// relay; other answers than the awaited one are dropped (rule 17).
func route(rl relay, body []byte, root rawjson.Value) error {
	method := root.Get("method")
	if !method.Exists() {
		return nil
	}
	if method.Kind() != rawjson.String {
		return malformed("a method is not a string")
	}
	if id := root.Get("id"); id.Exists() {
		if badID(id) != "" {
			return malformed("a request has an invalid id")
		}
		rl.ask(body, root)
		return nil
	}
	return rl.note(body, root)
}

// errRenewed says that the upstream did not take a credential, and that the exchange
// has another one now: it may be sent again.
var errRenewed = errors.New("the credential was renewed")

// again sends an exchange with send, once more where its credential was renewed. An
// upstream that answers HTTP 401 has done nothing of it (RFC 6750 section 3).
func again(send func() (*reply, access.Reach, error)) (*reply, access.Reach, error) {
	rep, reach, err := send()
	if errors.Is(err, errRenewed) {
		rep, reach, err = send()
	}
	return rep, reach, err
}

// refused says that an upstream does not take the credential it was shown. What was
// minted and is not taken is not used again; more is never asked for than the
// credential's manifest says, whatever the upstream's challenge wants (RFC 6750
// section 3.1). Nothing of the challenge is shown.
func (x *exchange) refused(ctx context.Context, resp *http.Response) error {
	if x.d != nil && x.d.Lease == nil && x.d.Server.Credential != nil && resp.StatusCode == http.StatusUnauthorized {
		return access.Errorf(access.CodeUnavailable, "the upstream tells nothing without a token (HTTP 401), not even its lists, and credential %[1]q is each person's own: name a sealed credential as listing in the userOAuth of %[1]q, with which the gateway lists", x.d.Server.Credential.Ref)
	}
	if x.d == nil || !x.d.Minted() {
		return statusError(resp.StatusCode)
	}
	ref := x.d.Server.Credential.Ref
	if resp.StatusCode == http.StatusForbidden {
		if insufficient(resp.Header) {
			return access.Errorf(access.CodeUnavailable, "the upstream wants scopes that credential %q is not asked for (insufficient_scope); if this tool should have them, add them to scopes or toolScopes in the credential's manifest", ref)
		}
		return access.Errorf(access.CodeUnavailable, "the upstream does not permit this with credential %q (HTTP 403); see what its issuer gives it, with: rutile credential show %s", ref, ref)
	}
	switch err := x.d.Lease.Renew(ctx); {
	case err == nil:
		return errRenewed
	case !errors.Is(err, credential.ErrNotTaken):
		return err
	}
	return access.Errorf(access.CodeUnavailable, "the upstream does not take what credential %q was minted as (HTTP 401), and it is not used again; if that goes on, compare issuer, resource and audience with: rutile credential show %s", ref, ref)
}

// insufficient reports a challenge that says a token is not for enough scopes.
func insufficient(h http.Header) bool {
	for _, c := range h.Values("Www-Authenticate") {
		if c = strings.ToLower(c); strings.HasPrefix(c, "bearer ") && (strings.Contains(c, `error="insufficient_scope"`) || strings.Contains(c, "error=insufficient_scope")) {
			return true
		}
	}
	return false
}

// statusError turns an HTTP status of an upstream into an error that shows
// nothing of its headers, challenge or body.
func statusError(status int) error {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return access.Errorf(access.CodeUnavailable, "the upstream refuses the gateway's credential (HTTP %d); the server's owner must renew it with: rutile credential rotate", status)
	case status >= 300 && status < 400:
		return access.Errorf(access.CodeUpstream, "the upstream redirects (HTTP %d); redirects are not followed, put the final address in the manifest", status)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return access.Errorf(access.CodeUnavailable, "the upstream is busy (HTTP %d); try again later", status)
	default:
		return access.Errorf(access.CodeUpstream, "the upstream answered HTTP %d", status)
	}
}
