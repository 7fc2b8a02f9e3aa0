package rehearsal_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/identity"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
	"rutile/internal/rehearsal"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// rig is a gateway without its listeners: registry, rules and evidence.
type rig struct {
	*testing.T
	dir   string
	db    *store.Store
	vault *credential.Vault
	log   *audit.Log
	admin *admin.Admin
	n     int
}

type nobody struct{}

func (nobody) DevelopmentToken(context.Context, admin.TokenRequest) (identity.Token, error) {
	return identity.Token{}, errors.New("no tokens here")
}

var keeper = admin.Actor{Kind: "user", ID: "keeper", Host: true}

const base = `kind: Agent
id: bot
owner: team
expires: 2099-01-01
tools: ["files/*"]
---
kind: Agent
id: other
owner: team
expires: 2099-01-01
tools: ["files/read"]
---
kind: Server
id: files
owner: team
transport: {http: {url: "https://files.example.com/mcp"}}
state: sanctioned
`

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, dir: storetest.Dir(t)}
	var err error
	if r.db, err = store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: r.dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.db.Close() })
	if r.vault, err = credential.New(t.Context(), credential.Config{Tenant: "default", Dir: r.dir}, r.db); err != nil {
		t.Fatal(err)
	}
	r.open()
	t.Cleanup(func() { r.log.Close(context.WithoutCancel(t.Context())) })
	if r.admin, err = admin.New(t.Context(), admin.Config{Node: "n1"}, admin.Deps{Store: r.db, Registry: r.db, Evidence: r.log, Vault: ending{r.vault}, Authority: nobody{}, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	r.apply(base)
	var l registry.Listing
	for _, name := range []string{"read", "write", "drop"} {
		raw := fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object","properties":{"path":{"type":"string"},"n":{"type":"integer"}}},"annotations":{"readOnlyHint":%t}}`, name, name == "read")
		l.Definitions = append(l.Definitions, registry.Definition{Name: name, Raw: []byte(raw)})
	}
	if _, err := r.admin.Observe(t.Context(), "files", l); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) open() {
	r.Helper()
	var err error
	r.log, err = audit.Open(r.Context(), audit.Config{Dir: filepath.Join(r.dir, "evidence"), Node: "n1", Tenant: "default", Payloads: true, Origin: "example.com/rutile/default/n1/1"}, r.db, r.vault, r.db)
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) apply(text string) {
	r.Helper()
	if _, err := r.admin.Apply(r.Context(), keeper, doc(text), false); err != nil {
		r.Fatal(err)
	}
}

func doc(text string) []admin.Document { return []admin.Document{{File: "m.yaml", Text: text}} }

// State is the state decisions are made on.
func (r *rig) State() *pdp.State {
	cur := r.admin.Current()
	return &pdp.State{View: cur.View.WithOwn(), Set: cur.Set, Monitor: cur.Monitor, Entitlements: cur.Rights}
}

// candidate is the state a draft leads to.
func (r *rig) candidate(text string) *pdp.State {
	r.Helper()
	cur, err := r.admin.Candidate(r.Context(), admin.Draft{Documents: doc(text)})
	if err != nil {
		r.Fatal(err)
	}
	return &pdp.State{View: cur.View.WithOwn(), Set: cur.Set, Entitlements: cur.Rights}
}

func (r *rig) request(agent, tool, args string) *access.Request {
	r.Helper()
	r.n++
	q := &access.Request{ID: fmt.Sprintf("dec_%d", r.n), At: time.Now(), Protocol: "mcp", Method: "tools/call", Server: "files", Kind: access.KindTool, Target: tool,
		Who: access.Identity{Actor: access.Actor{Agent: agent, Attested: true, Source: "development"}, Session: "ses_1"}}
	if args != "" {
		var err error
		if q.Arguments, err = rawjson.Parse([]byte(args), rawjson.Limits{}); err != nil {
			r.Fatal(err)
		}
	}
	return q
}

// call decides a call and records it as the gate does.
func (r *rig) call(agent, tool, args string) access.Decision {
	r.Helper()
	q := r.request(agent, tool, args)
	d := pdp.Decide(r.State(), q)
	r.record(q, &d)
	return d
}

func (r *rig) record(q *access.Request, d *access.Decision) {
	r.Helper()
	i := audit.Intent{Request: q, Decision: d}
	if !d.Allowed() {
		if _, err := r.log.Verdict(r.Context(), i); err != nil {
			r.Fatal(err)
		}
		return
	}
	ref, err := r.log.Intent(r.Context(), i)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := r.log.Outcome(r.Context(), audit.Outcome{Request: q, Intent: ref, Status: audit.StatusOK, Reached: "yes", Result: []byte(`{}`)}); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) replay(change func(*rehearsal.Replaying)) rehearsal.Report {
	r.Helper()
	o := rehearsal.Replaying{Candidate: r.State(), Sealed: true, Held: noGrant, Now: time.Now}
	change(&o)
	got, err := rehearsal.Replay(r.Context(), r.calls(), o)
	if err != nil {
		r.Fatal(err)
	}
	return got
}

func (r *rig) calls() iter.Seq2[*audit.Call, error] {
	return r.log.Calls(r.Context(), 0, r.log.Size())
}

func noGrant(context.Context, string) (access.Held, bool, error) { return access.Held{}, false, nil }

// ending is a vault of which nothing declared is ever alive.
type ending struct{ *credential.Vault }

func (ending) Used(context.Context) (map[string]credential.Use, error) { return nil, nil }

func (ending) End(context.Context, credential.Source, string) credential.Ended {
	return credential.Ended{}
}
