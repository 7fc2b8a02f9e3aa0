package admin

import (
	"context"
	"strings"

	"rutile/internal/access"
	"rutile/internal/registry"
)

// maxReason bounds the reason a person gives.
const maxReason = 1000

func checkReason(why string) error {
	if len(why) > maxReason || strings.ContainsFunc(why, hidden) {
		return access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d characters", maxReason)
	}
	return nil
}

// ChangeAgent suspends, resumes, quarantines or retires an agent. A verb its
// state does not allow is a CodeConflict error.
func (a *Admin) ChangeAgent(ctx context.Context, actor Actor, id string, verb registry.Verb, why string) (registry.Agent, error) {
	if err := checkReason(why); err != nil {
		return registry.Agent{}, err
	}
	var out registry.Agent
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		old, ok := cur.View.Agent(id)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "agent %q is not registered", clip(id))
		}
		next, err := registry.ChangeAgent(old, verb, actor.String(), why, a.now())
		if err != nil {
			return nil, err
		}
		out = next
		d := newDraft()
		d.changes.Agents[id] = &next
		d.records = []record{{verb: string(verb), kind: kindAgent, object: id, reason: why, detail: fieldsOf(old, next)}}
		return d, nil
	})
	if err == nil && verb == registry.VerbResume && a.resumed != nil {
		a.resumed(id)
	}
	return out, err
}

// ChangeServer triages, approves, quarantines, blocks, releases or retires a
// server. A verb its state does not allow is a CodeConflict error.
func (a *Admin) ChangeServer(ctx context.Context, actor Actor, id string, verb registry.Verb, why string) (registry.Server, error) {
	m, err := a.MoveServer(ctx, actor, id, Move{Verb: verb, Reason: why})
	return m.Server, err
}

// AgentSpec is what rutile agent create says. It means the same as a manifest.
type AgentSpec struct {
	ID         string   `json:"id"`
	Owner      string   `json:"owner"`
	Purpose    string   `json:"purpose,omitempty"`
	Runtime    string   `json:"runtime,omitempty"`
	Model      string   `json:"model,omitempty"`
	Class      string   `json:"class,omitempty"`
	RiskTier   *int     `json:"riskTier,omitempty"` // default 1
	Expires    string   `json:"expires,omitempty"`  // a day
	Tools      []string `json:"tools,omitempty"`
	DataScopes []string `json:"dataScopes,omitempty"`
	Keys       []string `json:"keys,omitempty"` // JWK or PEM text of public keys
}

// CreateAgent registers a new agent. It writes the manifest the spec stands for
// and reads it as apply does, so that both accept the same.
func (a *Admin) CreateAgent(ctx context.Context, actor Actor, spec AgentSpec) (registry.Agent, error) {
	doc := spec.document()
	manifests, problems := parseAll([]Document{doc})
	if err := problems.err(); err != nil {
		return registry.Agent{}, err
	}
	var out registry.Agent
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		if old, exists := cur.View.Agent(spec.ID); exists {
			return nil, access.Errorf(access.CodeConflict, "agent %q is there already and is %s: change it with rutile apply", spec.ID, old.State)
		}
		p := &planner{cur: cur, now: a.now(), by: actor.String(), draft: newDraft()}
		p.all(manifests)
		if err := p.problems.err(); err != nil {
			return nil, err
		}
		for i := range p.draft.records {
			p.draft.records[i].verb = "create"
		}
		out = *p.draft.changes.Agents[spec.ID]
		return p.draft, nil
	})
	return out, err
}

func (s AgentSpec) document() Document {
	const file = "agent"
	e := &emitter{}
	e.line(0, "kind", kindAgent)
	e.text(0, "id", s.ID)
	e.text(0, "owner", s.Owner)
	e.text(0, "purpose", s.Purpose)
	e.text(0, "runtime", s.Runtime)
	e.text(0, "model", s.Model)
	e.text(0, "class", s.Class)
	if s.RiskTier != nil {
		e.number(0, "riskTier", *s.RiskTier)
	}
	e.text(0, "expires", s.Expires)
	e.list(0, "tools", s.Tools)
	e.list(0, "dataScopes", s.DataScopes)
	doc := Document{File: file}
	if len(s.Keys) > 0 {
		doc.Keys = map[string]string{}
		e.open(0, "keys")
		for i, k := range s.Keys {
			name := "key-" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
			doc.Keys[name] = k
			e.item(1, "file", name)
		}
	}
	doc.Text = e.String()
	return doc
}
