package admin

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/registry"
)

const kindTool = "Tool"

// toolObject names a tool in evidence and messages. No server id holds a slash.
func toolObject(t registry.Tool) string { return t.Server + "/" + t.Name }

func serverOf(object string) string { s, _, _ := strings.Cut(object, "/"); return s }

func findTool(cur *Current, server, name string) (registry.Tool, error) {
	if _, ok := cur.View.Server(server); !ok {
		return registry.Tool{}, access.Errorf(access.CodeNotFound, "server %q is not registered", clip(server))
	}
	t, ok := cur.View.Tool(server, name)
	if !ok {
		return registry.Tool{}, access.Errorf(access.CodeNotFound, "server %q has no definition %q: see rutile tool list", server, clip(name))
	}
	return t, nil
}

// Observe takes over a complete listing of one kind of a server, as the gateway
// received it, and says what it means. A listing that changes nothing costs one
// comparison and records nothing; any other is one change of the server.
func (a *Admin) Observe(ctx context.Context, server string, l registry.Listing) ([]registry.Change, error) {
	now := a.current.Load().View
	seen, err := registry.Observe(now, server, l, a.inspect.on(now), a.now())
	if err != nil {
		return nil, err
	}
	if len(seen.Tools) == 0 && seen.Server == nil {
		return seen.Changes, nil
	}
	err = a.change(ctx, System(), func(cur *Current) (*draft, error) {
		seen, err = registry.Observe(cur.View, server, l, a.inspect.on(cur.View), a.now())
		if err != nil {
			return nil, err
		}
		d := observed(server, seen)
		if d.next, err = a.after(cur, d); ProblemsOf(err) != nil {
			// A policy does not fit what the server turns out to offer. What is seen
			// is kept, and a person approves it once the policy is right.
			seen = seen.Hold("a policy does not fit it: " + clip(ProblemsOf(err)[0].String()))
			d = observed(server, seen)
			d.next, err = a.after(cur, d)
		}
		return d, err
	})
	if err != nil {
		return nil, err
	}
	return seen.Changes, nil
}

func observed(server string, seen registry.Observation) *draft {
	d := newDraft()
	for i := range seen.Tools {
		d.changes.Tools[ToolKey{server, seen.Tools[i].Name}] = &seen.Tools[i]
	}
	if seen.Server != nil {
		d.changes.Servers[server] = seen.Server
	}
	d.records = []record{{verb: "observe", kind: kindServer, object: server, detail: seen.Changes}}
	return d
}

// Approval says what exactly is approved.
type Approval struct {
	// Digest is the canonical digest that was reviewed. Where it is given and is
	// not what was last seen, nothing is approved: the definition changed again.
	Digest string `json:"digest,omitempty"`
	// Class is what the person says the tool is; it stays through later approvals.
	// Nil accepts the proposal, or keeps what a person said before.
	Class  *registry.ToolClass `json:"class,omitempty"`
	Reason string              `json:"reason,omitempty"`
}

// ApproveTool pins what a server last listed under name (registry.NameOf).
func (a *Admin) ApproveTool(ctx context.Context, actor Actor, server, name string, ap Approval) (registry.Tool, error) {
	if err := checkReason(ap.Reason); err != nil {
		return registry.Tool{}, err
	}
	if ap.Class != nil {
		if _, err := ap.Class.Words(); err != nil {
			return registry.Tool{}, err
		}
	}
	var out registry.Tool
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, err := findTool(cur, server, name)
		if err != nil {
			return nil, err
		}
		if ap.Digest != "" && ap.Digest != old.SeenDigest {
			return nil, access.Errorf(access.CodeConflict, "%s %q of server %q changed after it was reviewed: see rutile tool diff %s %s", old.Kind(), old.Bare(), server, server, name)
		}
		next, err := registry.Approve(old, a.inspect.on(cur.View), actor.String(), a.now())
		if err != nil {
			return nil, err
		}
		d := newDraft()
		if ap.Class != nil {
			next.Class, next.ClassBy = *ap.Class, actor.String()
		}
		out = next
		d.changes.Tools[ToolKey{server, name}] = &next
		detail := map[string]any{"before": old.PinDigest, "after": next.PinDigest, "class": next.Class}
		if len(next.Accepted) > 0 {
			detail["accepted"] = next.Accepted
		}
		if old.Drift != nil {
			detail["drift"] = old.Drift
		}
		d.records = []record{{verb: "approve", kind: kindTool, object: toolObject(next), reason: ap.Reason, detail: detail}}
		return d, nil
	})
	return out, err
}

// ChangeTool quarantines, blocks, releases or retires a tool. Releasing never
// approves.
func (a *Admin) ChangeTool(ctx context.Context, actor Actor, server, name string, verb registry.Verb, why string) (registry.Tool, error) {
	if err := checkReason(why); err != nil {
		return registry.Tool{}, err
	}
	var out registry.Tool
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, err := findTool(cur, server, name)
		if err != nil {
			return nil, err
		}
		next, err := registry.ChangeTool(old, verb)
		if err != nil {
			return nil, err
		}
		out = next
		d := newDraft()
		d.changes.Tools[ToolKey{server, name}] = &next
		d.records = []record{{verb: string(verb), kind: kindTool, object: toolObject(next), reason: why, detail: map[string]registry.ToolState{"before": old.State, "after": next.State}}}
		return d, nil
	})
	return out, err
}

// pinFields is what a plan compares and shows of a pin.
func pinFields(t registry.Tool) []string {
	return []string{string(t.State), t.PinDigest, t.Class.Class, strconv.Itoa(t.Class.Tier), t.ClassBy}
}

func quote(s []string) json.RawMessage {
	b, err := json.Marshal(strings.Join(s, " "))
	if err != nil {
		return nil
	}
	return b
}
