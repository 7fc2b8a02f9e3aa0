package mcpproxy

import (
	"context"
	"errors"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// maxTasks bounds the tasks of one subscription.
const maxTasks = 256

// watchedTask is a task a client subscribed to.
type watchedTask struct {
	ref  *taskRef
	ours []byte // raw id the client gave
}

// watchTasks opens the tasks of a subscription and returns the raw list the
// server gets: of ids that are this principal's, its own. A client that did not
// declare the extension is refused.
func (c *call) watchTasks(ctx context.Context, list rawjson.Value) ([]byte, error) {
	if err := c.mayWatchTasks(list); err != nil {
		return nil, err
	}
	c.watched = map[string]watchedTask{}
	out := []byte{'['}
	for item := range list.Items() {
		text, _ := item.Str()
		ref := c.taskOf(ctx, text)
		if ref == nil || !c.in.p.gate.Visible(c.entryRequest(access.KindTool, ref.Tool)) {
			continue // acknowledged is what is left
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, ref.ID...)
		c.watched[ref.name()] = watchedTask{ref, item.Raw()}
	}
	return append(out, ']'), nil
}

// mayWatchTasks checks what a subscription names as its tasks.
func (c *call) mayWatchTasks(list rawjson.Value) *rpcError {
	if !declares(c.in.msg.meta.Get(metaCapabilities), extTasks) {
		return errTaskUndeclared
	}
	if list.Kind() != rawjson.Array || list.Len() > maxTasks {
		return invalidParams("/params/notifications/taskIds must be an array of at most 256 task ids")
	}
	return nil
}

// acknowledgedTasks puts the client's ids into an acknowledgement.
func (c *call) acknowledgedTasks(msg []byte, v rawjson.Value) []byte {
	list := v.Path("params", "notifications", "taskIds")
	if list.Kind() != rawjson.Array {
		return msg
	}
	out := []byte{'['}
	for item := range list.Items() {
		id, _ := item.Str()
		w, ok := c.watched[id]
		if !ok {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, w.ours...)
	}
	s, e := list.Span()
	return rawjson.Splice(msg, rawjson.Edit{Start: s, End: e, Text: append(out, ']')})
}

// errNotShown says that a state of a task is not for the client.
var errNotShown = errors.New("the state of the task is not shown")

// taskMoved returns the message that tells a client how a task of its own
// stands. It may carry a result, so it is decided and recorded like asking for
// the task.
func (c *call) taskMoved(ctx context.Context, d *gate.Dispatch, msg []byte, v rawjson.Value) ([]byte, error) {
	id, _ := v.Path("params", "taskId").Str()
	w, ok := c.watched[id]
	if !ok {
		return nil, errNotShown
	}
	r := *c.req
	r.ID, r.Method = access.NewID(access.PrefixDecision), "notifications/tasks"
	if !w.ref.about(&r, c.in.p.cfg.MaxBody) {
		return nil, errNotShown
	}
	resp, dec, err := c.in.p.gate.Do(ctx, &r, func(ctx context.Context, _ *gate.Dispatch) (access.Response, error) {
		resp := access.Response{Reached: access.ReachYes}
		params := v.Get("params")
		changes, err := c.shownTask(ctx, params, w.ref, w.ours)
		if err != nil {
			return resp, err
		}
		resp.Body = d.Scrub(rawjson.Splice(msg, rawjson.EditObject(params, changes...)...))
		resp.Failed = params.Get("status").Equals("failed")
		resp.Started = !params.Get("status").Equals("completed")
		resp.ToolErr, _ = params.Path("result", "isError").Bool()
		resp.Findings = c.findings()
		return resp, nil
	})
	if err != nil {
		return nil, err
	}
	if !dec.Allowed() {
		return nil, errNotShown
	}
	return resp.Body, nil
}
