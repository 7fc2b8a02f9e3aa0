package mcpproxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// state is what a requestState of the gateway says: to whom it was given, for
// which call, and what the call goes on from. It travels sealed, because it
// comes back from the client.
type state struct {
	Kind      string           `json:"k"`
	Principal access.Principal `json:"p"`
	Server    string           `json:"s"`
	All       bool             `json:"w"` // given at the aggregate, and good there only
	Call      []byte           `json:"c"` // digest of method, target and arguments
	Round     int              `json:"r"` // of asking, the first is 1
	Expires   time.Time        `json:"e"`
	Use       string           `json:"u,omitempty"` // the use of a grant the call runs under

	Park  string                     `json:"f,omitempty"` // the flight that waits, or the request people are to approve
	Inner []byte                     `json:"i,omitempty"` // the upstream's own state as it wrote it, nil if it gave none
	Asked map[string]string          `json:"a,omitempty"` // keys the client was asked for, with their kinds
	Ours  map[string]json.RawMessage `json:"o,omitempty"` // what the gateway answers in the client's stead
}

// The kinds of state.
const (
	stateCarry   = "carry"   // a modern upstream's question
	statePark    = "park"    // a legacy upstream's call that waits here
	stateApprove = "approve" // our own question; the call is made afresh
	stateConnect = "connect" // our own question; the call is made afresh
	stateReissue = "reissue" // a legacy upstream's error; the call is made afresh
)

// stateTime is how long a state may be used behind which nothing waits.
const stateTime = 15 * time.Minute

// maxRounds bounds how often one call may ask.
const maxRounds = 10

// statePurpose is what states are sealed for: no other sealed value opens as one.
const statePurpose = "mcp request state"

// sealed returns st as the raw JSON string a client is given.
func (c *call) sealed(ctx context.Context, st state) ([]byte, error) {
	st.Principal, st.Server, st.All, st.Call = c.req.Who.Principal(), c.req.Server, c.in.all, c.digest()
	st.Use = c.req.Use
	plain, err := json.Marshal(st)
	if err != nil {
		return nil, access.Errorf(access.CodeInternal, "encoding a request state: %w", err)
	}
	box, err := c.in.p.seal.Seal(ctx, statePurpose, plain)
	if err != nil {
		return nil, access.Errorf(access.CodeInternal, "sealing a request state: %w", err)
	}
	return rawjson.AppendString(nil, base64.RawURLEncoding.EncodeToString(box)), nil
}

// digest identifies what a state is good for: the method, what it names and the
// arguments, however they are written.
func (c *call) digest() []byte {
	m := &c.in.msg
	b := rawjson.AppendString(nil, m.name)
	for _, v := range []rawjson.Value{m.params.Get(m.method.source), m.args} {
		if b = append(b, ','); v.Exists() {
			b = rawjson.AppendCanonical(b, v)
		}
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// The refusals of a state. They are few and say nothing of what was sealed.
var (
	errStateForeign = invalidParams("this requestState was not given for this call; send the request without it")
	errStateExpired = invalidParams("this requestState has expired; send the request without it")
	errStateGone    = invalidParams("the call this requestState belongs to waits no longer: it was answered, it ended, or the gateway was restarted; send the request without it")
)

// resume opens the state of a retry and holds it to this request: a retry is an
// independent request, and its state may come from anybody (mcp.md 1.6).
func (c *call) resume(ctx context.Context) *rpcError {
	params := c.in.msg.params
	raw, responses := params.Get("requestState"), params.Get("inputResponses")
	if !raw.Exists() && !responses.Exists() {
		return nil
	}
	if responses.Exists() && responses.Kind() != rawjson.Object {
		return invalidParams("/params/inputResponses must be an object")
	}
	if !raw.Exists() {
		return c.volunteer(ctx, responses)
	}
	text, ok := raw.Str()
	if !ok {
		return invalidParams("/params/requestState must be a string")
	}
	st, err := c.opened(ctx, text)
	if err != nil {
		return err
	}
	if why := st.faulty(responses); why != nil {
		return why
	}
	c.state, c.req.Use = st, st.Use
	return nil
}

// faulty says what is wrong with the answers to what the client was asked.
func (st *state) faulty(responses rawjson.Value) *rpcError {
	if _, name, ok := responses.FoldsTo(slices.Collect(maps.Keys(st.Asked))...); ok {
		return badRequest(codeInvalidRequest, "an input response is written in another case than "+strconv.Quote(name))
	}
	for key, kind := range st.Asked {
		if v := responses.Get(key); v.Exists() {
			if fault := answerFault(kind, v); fault != "" {
				return invalidParams("an input response does not fit its request: " + fault)
			}
		}
	}
	return nil
}

// volunteer looks at answers that come without a state: to nothing the gateway
// saw asked, since every question of its gave one. A modern server may take
// them for answers all the same, so they go on only as far as the client could
// be asked for their kind, whatever the question.
func (c *call) volunteer(ctx context.Context, responses rawjson.Value) *rpcError {
	told, err := c.in.p.toldOf(c.kinds())
	if err != nil {
		return c.failure(err)
	}
	permitted := map[string]bool{}
	out := []byte{'{'}
	for k, v := range responses.Members() {
		kind := kindOfAnswer(v)
		if kind == "" || answerFault(kind, v) != "" || !told.Get(kind).Exists() {
			continue
		}
		if _, known := permitted[kind]; !known {
			r := c.entryRequest(access.KindAsk, kind)
			r.ID, r.Unknown = access.NewID(access.PrefixDecision), false
			dec, err := c.in.p.gate.Check(ctx, r)
			if err != nil {
				return c.failure(err)
			}
			permitted[kind] = dec.Allowed()
		}
		if permitted[kind] {
			key, _ := k.Str()
			out = appendMember(out, key, c.inward(kind, v.Raw()))
		}
	}
	if len(out) > 1 {
		c.unasked = append(out, '}')
	}
	return nil
}

// kindOfAnswer tells what an answer answers by what it must hold.
func kindOfAnswer(v rawjson.Value) string {
	switch {
	case v.Kind() != rawjson.Object:
		return ""
	case v.Get("action").Exists():
		return "elicitation"
	case v.Get("role").Exists():
		return "sampling"
	case v.Get("roots").Exists():
		return "roots"
	}
	return ""
}

func (c *call) opened(ctx context.Context, text string) (*state, *rpcError) {
	box, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errStateForeign
	}
	plain, err := c.in.p.seal.Open(ctx, statePurpose, box)
	if err != nil {
		return nil, errStateForeign
	}
	st := new(state)
	if err := json.Unmarshal(plain, st); err != nil {
		return nil, errStateForeign
	}
	switch {
	case st.Principal != c.req.Who.Principal(), st.Server != c.req.Server, st.All != c.in.all, !bytes.Equal(st.Call, c.digest()):
		return nil, errStateForeign
	case time.Now().After(st.Expires):
		return nil, errStateExpired
	}
	return st, nil
}

// unresumed answers a retry whose state is no good, once that is recorded.
func (c *call) unresumed(why *rpcError) {
	if err := c.in.p.gate.Refuse(c.in.r.Context(), c.req, why.msg); err != nil {
		why = c.failure(err)
	}
	c.ans.fail(why)
}

// carriedOn is what of a retry's params a modern upstream gets: its own state
// exactly, and the answers to what it asked, the gateway's among them.
func (c *call) carriedOn() []rawjson.Change {
	st, responses := c.state, c.in.msg.params.Get("inputResponses")
	if st == nil {
		if responses.Exists() {
			if !c.peer.modern {
				return []rawjson.Change{{Key: "inputResponses"}}
			}
			return []rawjson.Change{{Key: "inputResponses", Raw: c.unasked}}
		}
		return nil
	}
	changes := []rawjson.Change{{Key: "requestState", Raw: st.Inner}, {Key: "inputResponses"}}
	if st.Kind != stateCarry || !c.peer.modern {
		changes[0].Raw = nil
		return changes
	}
	out, same := []byte{'{'}, len(st.Ours) == 0
	for k, v := range responses.Members() {
		key, _ := k.Str()
		if st.Asked[key] == "" {
			same = false
			continue // nobody asked
		}
		raw := c.inward(st.Asked[key], v.Raw())
		same = same && bytes.Equal(raw, v.Raw())
		out = appendMember(out, key, raw)
	}
	for _, key := range slices.Sorted(maps.Keys(st.Ours)) {
		out = appendMember(out, key, st.Ours[key])
	}
	switch {
	case same && responses.Exists():
		changes[1].Raw = responses.Raw()
	case len(out) > 1:
		changes[1].Raw = append(out, '}')
	}
	return changes
}

// appendMember appends a member to an object that is not closed yet.
func appendMember(dst []byte, key string, raw []byte) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	return append(append(rawjson.AppendString(dst, key), ':'), raw...)
}
