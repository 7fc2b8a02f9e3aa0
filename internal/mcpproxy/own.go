package mcpproxy

import (
	"context"
	"encoding/json"
	"net/http"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/petition"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// ownLink is the way to the gateway's own server: there is no other process and no
// connection. What reaches it has passed the gate like any call; who calls is what
// the gate judged, never an argument.
type ownLink struct {
	desk *petition.Desk
	peer *peer // what it says of itself
}

const ownInstructions = "Tools of the gateway itself: open a task for a piece of work, ask a person for access you lack, see what you have, close the task when the work is done."

func newOwnLink(desk *petition.Desk) (*ownLink, error) {
	caps, err := rawjson.Parse([]byte(`{"tools":{}}`), rawjson.Limits{})
	return &ownLink{desk, &peer{modern: true, version: version2026, capabilities: caps, info: []byte(ourInfo), instructions: rawjson.AppendString(nil, ownInstructions)}}, err
}

func (l *ownLink) call(ctx context.Context, x *exchange) (*reply, access.Reach, error) {
	var result []byte
	var err error
	switch x.method.name {
	case "tools/list":
		result = ownList()
	case "tools/call":
		result, err = l.tool(ctx, x)
	default:
		return nil, access.ReachNo, methodNotFound(true)
	}
	if err != nil {
		return nil, access.ReachUnknown, err
	}
	rep := &reply{status: http.StatusOK}
	_, err = rep.read(appendResult(nil, x.id, result), x.id, x.limits)
	return rep, access.ReachYes, err
}

func (*ownLink) send(context.Context, *gate.Dispatch, []byte) error { return nil }
func (*ownLink) answer(*gate.Dispatch, []byte)                      {}
func (*ownLink) close(context.Context)                              {}

// ownList is the result of tools/list.
func ownList() []byte {
	b := []byte(`{"resultType":"complete","tools":[`)
	for i, t := range registry.OwnTools() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, t.Pinned...)
	}
	return append(b, `],"ttlMs":`+aggregateTTL+`,"cacheScope":"private"}`...)
}

// tool runs one tool. What the caller can mend is a result it reads; an error is
// the gateway's own trouble.
func (l *ownLink) tool(ctx context.Context, x *exchange) ([]byte, error) {
	name, _ := x.params.Get("name").Str()
	args := &ownArgs{v: x.params.Get("arguments")}
	var out any
	var err error
	switch who := x.d.Who; name {
	case "rutile_task_open":
		out, err = l.taskOpen(ctx, who, args)
	case "rutile_task_close":
		out, err = l.taskClose(ctx, who, args)
	case "rutile_access_request":
		out, err = l.accessRequest(ctx, who, args)
	case "rutile_access_delegate":
		out, err = l.accessDelegate(ctx, who, args)
	case "rutile_access_withdraw":
		out, err = l.accessWithdraw(ctx, who, args)
	case "rutile_access_status":
		out, err = l.accessStatus(ctx, who, args)
	default:
		return nil, access.Errorf(access.CodeInternal, "the gateway has no tool %q", name)
	}
	switch access.CodeOf(err) {
	case "":
	case access.CodeInvalid, access.CodeDenied, access.CodeConflict, access.CodeNotFound, access.CodeTooLarge, access.CodeUnauthenticated:
		b := rawjson.AppendString([]byte(`{"resultType":"complete","content":[{"type":"text","text":`), err.Error())
		return append(b, `}],"isError":true}`...), nil
	default:
		return nil, err
	}
	structured, err := json.Marshal(out)
	if err != nil {
		return nil, access.Errorf(access.CodeInternal, "writing an answer: %w", err)
	}
	b := rawjson.AppendString([]byte(`{"resultType":"complete","content":[{"type":"text","text":`), string(structured))
	return append(append(append(b, `}],"structuredContent":`...), structured...), '}'), nil
}

var _ link = (*ownLink)(nil)
