// Package api serves and calls the administration API: JSON over HTTP.
//
// The same routes answer on the unix socket, where the system says which user
// calls, and on the operators' address, where a bearer token does. Every change
// goes through package admin, which decides by the actor's roles: a handler MUST
// pass the actor the door has established, and every route says which operation
// it is. Answers carry schemaVersion 1 and
// times in UTC; what is refused is application/problem+json made from one table.
// The package keeps nothing, decides nothing and starts nothing.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"reflect"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/conduct"
	"rutile/internal/credential"
	"rutile/internal/fact"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// SchemaVersion is the version of every answer. It grows when a field goes or
// changes its meaning, not when one is added.
const SchemaVersion = 1

// Bounds of a request's body, in bytes.
const (
	maxSmall   = 256 << 10
	maxApply   = 32 << 20
	maxCommand = 4 << 20
)

// LearnTime bounds how long an answer waits for the servers a change made
// callable to list what they offer.
const LearnTime = 20 * time.Second

// Config configures the API.
type Config struct {
	Token string   // operator token of the TCP listener, at least 32 characters
	Hosts []string // values of Host the TCP listener answers to
	UID   int      // account that, besides root, keeps the gateway
	// Account returns the name of an account of this machine by its uid, "" if
	// the system knows none. Nil asks the system.
	Account func(uid int) string
	Issuer  string // of our people, as agents' tokens name them
	Now     func() time.Time
	Log     *slog.Logger
	// Stop ends streams when it is closed, so that stopping need not wait for
	// whoever watches. Nil never does.
	Stop <-chan struct{}
}

// Deps are the parts the API stands on. All are required.
type Deps struct {
	Admin    *admin.Admin
	Evidence Evidence
	// Learn lists what a server offers and returns when decisions know it.
	Learn  func(ctx context.Context, server string) error
	Status func(ctx context.Context) Status
	// Desk is where requests are answered and grants and tasks looked after.
	Desk *admin.Desk
	// Effects is where sessions are ended and let go.
	Effects *admin.Effects
	// Touched says what sessions have touched.
	Touched Touched
	// Facts says what declared facts hold.
	Facts *fact.Ledger
	// Process says how the processes of a server fare, nil if it has none.
	Process func(s registry.Server) *Process
	Doctor  func(ctx context.Context) []Check
	// Rehearsal lets rules that are not in force judge what is or was decided.
	Rehearsal Rehearsal
	// Privileges says how rights are used.
	Privileges Privileges
	// Webhooks says how declared webhooks fare.
	Webhooks Webhooks
	// Sinks says how declared sinks fare and leaves out what one refuses.
	Sinks Sinks
	// Heard, Told and Mailed say how signals and mail fare, and try them.
	Heard  Heard
	Told   Told
	Mailed Mailed
	// Links are what people connected; nil where nobody can.
	Links Links
	// SignInLink returns an address that signs an actor in to the console once, from
	// the gateway's machine, and until when.
	SignInLink func(actor admin.Actor) (link string, until time.Time, err error)
	// Inventory is what was found, and Findings what is wrong.
	Inventory *admin.Inventory
	Findings  *admin.Findings
	// Fleet lets machines report.
	Fleet *admin.Fleet
	// Conduct is how a tool behaved on this node, nil if it was not called lately. It
	// may be nil itself.
	Conduct func(server, tool string) *conduct.Summary
	// SignIns are what people sign in to the console with.
	SignIns *admin.SignIns
}

// Links lists and ends what people connected.
type Links interface {
	List(ctx context.Context) ([]credential.Link, error)
	// Disconnect ends a link; left says what could not be revoked. by is who asks.
	Disconnect(ctx context.Context, id, by string) (left string, err error)
	// DisconnectOwn is Disconnect of a link of who; another is not there.
	DisconnectOwn(ctx context.Context, who access.Subject, id, by string) (left string, err error)
	// Callbacks are the addresses an issuer may send people back to; "" is one that is
	// found out.
	Callbacks(issuer string) []string
}

// API answers requests. It is safe for concurrent use.
type API struct {
	cfg   Config
	deps  Deps
	hosts map[string]bool
	mux   *http.ServeMux
}

// New builds the API.
func New(cfg Config, d Deps) (*API, error) {
	switch {
	case d.Admin == nil || d.Desk == nil || d.Effects == nil || d.Touched == nil || d.Facts == nil || d.Webhooks == nil || d.Sinks == nil || d.Heard == nil || d.Told == nil || d.Mailed == nil || d.Inventory == nil || d.Findings == nil || d.Fleet == nil || d.SignIns == nil || d.Rehearsal == nil || d.Privileges == nil || d.Evidence == nil || d.Learn == nil || d.Process == nil || d.SignInLink == nil || d.Status == nil || d.Doctor == nil:
		return nil, errors.New("api: a dependency is missing")
	case len(cfg.Token) < 32:
		return nil, errors.New("api: the operator token is too short")
	case cfg.Log == nil:
		return nil, errors.New("api: a log is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Account == nil {
		cfg.Account = systemAccount
	}
	a := &API{cfg: cfg, deps: d, hosts: map[string]bool{}, mux: http.NewServeMux()}
	for _, h := range cfg.Hosts {
		a.hosts[h] = true
	}
	for _, r := range a.routes() {
		a.mux.HandleFunc(r.pattern, func(w http.ResponseWriter, req *http.Request) { a.answer(w, req, r) })
	}
	a.mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, req *http.Request) {
		a.refuse(w, req, access.Errorf(access.CodeNotFound, "there is no %s %s: this may be another version of rutile", req.Method, req.URL.Path))
	})
	return a, nil
}

// route is one line of the API.
type route struct {
	pattern string
	op      admin.Op // what it is to the gateway: who may is decided by it
	limit   int64    // of the body
	do      func(*call) (any, error)
}

func (a *API) routes() []route {
	return []route{
		{"GET /api/v1/status", admin.OpRead, 0, a.status},
		{"GET /api/v1/doctor", admin.OpRead, 0, a.doctor},

		{"POST /api/v1/apply", admin.OpApply, maxApply, a.apply},
		{"POST /api/v1/diff", admin.OpRead, maxApply, a.diff},
		{"GET /api/v1/export", admin.OpRead, 0, a.export},

		{"GET /api/v1/agents", admin.OpRead, 0, a.agents},
		{"POST /api/v1/agents", admin.OpAgent, maxSmall, a.createAgent},
		{"GET /api/v1/agents/{id}", admin.OpRead, 0, a.agent},
		{"POST /api/v1/agents/{id}/token", admin.OpToken, maxSmall, a.token},
		{"POST /api/v1/agents/{id}/enroll", admin.OpAgent, maxSmall, a.invite},
		{"POST /api/v1/agents/{id}/unenroll", admin.OpAgent, maxSmall, a.unenroll},
		{"POST /api/v1/agents/{id}/own", admin.OpAgent, maxSmall, a.ownAgent},
		{"POST /api/v1/agents/{id}/{verb}", admin.OpAgent, maxSmall, a.changeAgent},

		{"GET /api/v1/servers", admin.OpRead, 0, a.servers},
		{"GET /api/v1/servers/{id}", admin.OpRead, 0, a.server},
		{"GET /api/v1/servers/{id}/access", admin.OpRehearse, 0, a.serverAccess},
		{"POST /api/v1/servers/{id}/{verb}", admin.OpServer, maxSmall, a.changeServer},

		{"GET /api/v1/recertifications", admin.OpRead, 0, a.recertifications},
		{"POST /api/v1/recertifications", admin.OpServer, maxSmall, a.startReviews},
		{"POST /api/v1/recertifications/{kind}/{id}", admin.OpServer, maxSmall, a.answerReview},

		{"GET /api/v1/tools", admin.OpRead, 0, a.tools},
		{"GET /api/v1/tools/{server}/show", admin.OpRead, 0, a.tool},
		{"GET /api/v1/tools/{server}/diff", admin.OpRead, 0, a.toolDiff},
		{"POST /api/v1/tools/{server}/{verb}", admin.OpTool, maxSmall, a.changeTool},

		{"GET /api/v1/inventory", admin.OpRead, 0, a.inventory},
		{"GET /api/v1/inventory/show", admin.OpRead, 0, a.found},
		{"GET /api/v1/inventory/export", admin.OpRead, 0, a.exportFound},
		{"POST /api/v1/inventory/reports", admin.OpInventory, maxReport, a.report},
		{"GET /api/v1/inventory/suggestions", admin.OpRead, 0, a.suggestions},
		{"POST /api/v1/inventory/merges", admin.OpInventory, maxSmall, a.merge},
		{"POST /api/v1/inventory/splits", admin.OpInventory, maxSmall, a.split},
		{"GET /api/v1/inventory/owners", admin.OpRead, 0, a.ownersFound},
		{"POST /api/v1/inventory/owners", admin.OpInventory, maxSmall, a.ownFound},
		{"POST /api/v1/inventory/ownings", admin.OpInventory, maxSmall, a.ownMany},
		{"GET /api/v1/inventory/hosts", admin.OpRead, 0, a.foundHosts},
		{"GET /api/v1/inventory/agents", admin.OpRead, 0, a.foundAgents},
		{"GET /api/v1/inventory/credentials", admin.OpRead, 0, a.foundCredentials},

		{"GET /api/v1/devices", admin.OpRead, 0, a.devices},
		{"POST /api/v1/devices", admin.OpInventory, maxSmall, a.inviteDevice},
		{"POST /api/v1/devices/{id}/revoke", admin.OpInventory, maxSmall, a.revokeDevice},

		{"GET /api/v1/findings", admin.OpRead, 0, a.findings},
		{"GET /api/v1/findings/{id}", admin.OpRead, 0, a.finding},
		{"POST /api/v1/findings/{id}/assign", admin.OpFinding, maxSmall, a.assign},
		{"POST /api/v1/findings/{id}/mute", admin.OpFinding, maxSmall, a.mute},
		{"POST /api/v1/findings/{id}/unmute", admin.OpFinding, maxSmall, a.unmute},

		{"POST /api/v1/findings/{id}/answer", admin.OpFinding, maxSmall, a.answerReport},

		{"GET /api/v1/decisions/{id}", admin.OpRead, 0, a.decision},
		{"POST /api/v1/decisions/{id}/report", admin.OpReport, maxSmall, a.reportDenial},

		{"GET /api/v1/users", admin.OpRead, 0, a.users},
		{"GET /api/v1/users/{id}", admin.OpRead, 0, a.user},
		{"POST /api/v1/users/{id}/{verb}", admin.OpUser, maxSmall, a.changeUser},
		{"GET /api/v1/users/{id}/tokens", admin.OpUser, 0, a.userTokens},
		{"POST /api/v1/users/{id}/tokens", admin.OpUser, maxSmall, a.createUserToken},
		{"POST /api/v1/users/{id}/tokens/{token}/revoke", admin.OpUser, maxSmall, a.revokeUserToken},
		{"GET /api/v1/users/{id}/factors", admin.OpUser, 0, a.userFactors},
		{"POST /api/v1/users/{id}/factors/{factor}/remove", admin.OpUser, maxSmall, a.removeUserFactor},
		{"POST /api/v1/users/{id}/password", admin.OpUser, maxSmall, a.setUserPassword},
		{"POST /api/v1/users/{id}/codes", admin.OpUser, maxSmall, a.resetUserCodes},
		{"POST /api/v1/users/{id}/sign-out", admin.OpUser, maxSmall, a.signOutUser},

		{"GET /api/v1/requests", admin.OpRead, 0, a.requests},
		{"GET /api/v1/requests/{id}", admin.OpDecide, 0, a.request},
		{"POST /api/v1/requests/{id}/approve", admin.OpDecide, maxSmall, a.approveRequest},
		{"POST /api/v1/requests/{id}/deny", admin.OpDecide, maxSmall, a.denyRequest},

		{"GET /api/v1/grants", admin.OpRead, 0, a.grants},
		{"POST /api/v1/grants", admin.OpGrant, maxSmall, a.createGrant},
		{"POST /api/v1/grants/break-glass", admin.OpBreak, maxSmall, a.breakGlass},
		{"GET /api/v1/reviews", admin.OpRead, 0, a.reviews},
		{"POST /api/v1/grants/{id}/review", admin.OpReview, maxSmall, a.reviewGrant},
		{"GET /api/v1/grants/{id}", admin.OpRead, 0, a.grant},
		{"POST /api/v1/grants/{id}/delegate", admin.OpGrant, maxSmall, a.delegateGrant},
		{"POST /api/v1/grants/{id}/revoke", admin.OpGrant, maxSmall, a.revokeGrant},

		{"GET /api/v1/sessions", admin.OpRead, 0, a.sessions},
		{"GET /api/v1/sessions/{id}", admin.OpRead, 0, a.session},
		{"POST /api/v1/sessions/{id}/release", admin.OpSession, maxSmall, a.releaseSession},
		// By its kind it is another operation besides: package admin decides it.
		{"POST /api/v1/revocations", admin.OpSession, maxSmall, a.revoke},
		{"POST /api/v1/revocations/plan", admin.OpSession, maxSmall, a.planRevoke},
		{"GET /api/v1/revocations", admin.OpRead, 0, a.receipts},
		{"GET /api/v1/revocations/{id}", admin.OpRead, 0, a.receipt},

		{"GET /api/v1/tasks", admin.OpRead, 0, a.tasks},
		{"POST /api/v1/tasks", admin.OpGrant, maxSmall, a.openTask},
		{"GET /api/v1/tasks/{id}", admin.OpRead, 0, a.task},
		{"POST /api/v1/tasks/{id}/close", admin.OpGrant, maxSmall, a.closeTask},

		{"GET /api/v1/entitlements", admin.OpRead, 0, a.entitlements},
		{"GET /api/v1/entitlements/{id}", admin.OpRead, 0, a.entitlement},
		{"POST /api/v1/entitlements/{id}/confirm", admin.OpOwn, maxSmall, a.confirmEntitlement},

		{"GET /api/v1/webhooks", admin.OpRead, 0, a.webhooks},
		{"GET /api/v1/sinks", admin.OpRead, 0, a.sinks},
		{"POST /api/v1/sinks/{id}/skip", admin.OpOther, maxSmall, a.skipEvent},
		{"GET /api/v1/signals", admin.OpRead, 0, a.signals},
		{"POST /api/v1/signals/{direction}/{id}/test", admin.OpOther, 0, a.testSignal},
		{"GET /api/v1/mails", admin.OpRead, 0, a.mails},
		{"POST /api/v1/mails/{id}/test", admin.OpOther, 0, a.testMail},
		{"GET /api/v1/facts", admin.OpRead, 0, a.facts},
		{"GET /api/v1/facts/{id}", admin.OpRead, 0, a.fact},

		{"GET /api/v1/credentials", admin.OpRead, 0, a.credentials},
		{"GET /api/v1/credentials/{id}", admin.OpRead, 0, a.credential},
		{"POST /api/v1/credentials/rewrap", admin.OpCredential, 0, a.rewrapCredentials},
		{"PUT /api/v1/credentials/{id}", admin.OpCredential, maxSmall, a.setCredential},
		{"POST /api/v1/credentials/{id}/rotate", admin.OpCredential, maxSmall, a.rotateCredential},
		{"DELETE /api/v1/credentials/{id}", admin.OpCredential, 0, a.removeCredential},

		{"GET /api/v1/links", admin.OpRead, 0, a.links},
		{"POST /api/v1/own/sign-in-link", admin.OpOwn, maxSmall, a.signInLink},
		{"GET /api/v1/own/links", admin.OpOwn, 0, a.ownLinks},
		{"DELETE /api/v1/own/links/{id}", admin.OpOwn, 0, a.disconnectOwn},
		{"DELETE /api/v1/links/{id}", admin.OpCredential, 0, a.disconnect},

		{"GET /api/v1/policies", admin.OpRead, 0, a.policies},
		{"POST /api/v1/policies/check", admin.OpRead, maxApply, a.checkPolicies},
		{"POST /api/v1/policies/explain", admin.OpRead, maxCommand, a.explain},
		{"GET /api/v1/policies/versions", admin.OpRead, 0, a.versions},
		{"GET /api/v1/policies/versions/{n}", admin.OpRead, 0, a.version},
		{"GET /api/v1/policies/diff", admin.OpRead, 0, a.diffVersions},
		{"GET /api/v1/policies/suggest", admin.OpRehearse, 0, a.suggest},
		{"GET /api/v1/reports/privileges", admin.OpRehearse, 0, a.privileges},
		{"GET /api/v1/reports/compliance", admin.OpEvidence, 0, a.compliance},
		{"POST /api/v1/reports/privileges/apply", admin.OpApply, maxSmall, a.shrink},
		{"GET /api/v1/policies/simulate", admin.OpRehearse, 0, a.simulated},
		{"POST /api/v1/policies/simulate", admin.OpRehearse, maxApply, a.simulate},
		{"POST /api/v1/policies/simulate/stop", admin.OpRehearse, maxSmall, a.stopSimulation},
		{"POST /api/v1/policies/replay", admin.OpRehearse, maxApply, a.replay},
		{"POST /api/v1/policies/try", admin.OpRehearse, maxApply, a.try},
		{"POST /api/v1/policies/rollback", admin.OpApply, maxSmall, a.rollBack},

		{"GET /api/v1/risk/replay", admin.OpEvidence, 0, a.alarms},

		{"GET /api/v1/audit", admin.OpEvidence, 0, a.search},
		{"GET /api/v1/audit/count", admin.OpEvidence, 0, a.count},
		{"GET /api/v1/audit/tail", admin.OpEvidence, 0, a.tail},
		{"GET /api/v1/audit/leaves/{id}", admin.OpEvidence, 0, a.leaves},
		{"GET /api/v1/audit/proofs/{id}", admin.OpEvidence, 0, a.prove},
		{"GET /api/v1/audit/bundle", admin.OpEvidence, 0, a.bundle},
		{"POST /api/v1/audit/reindex", admin.OpReindex, maxSmall, a.reindex},
		{"POST /api/v1/audit/erase", admin.OpErase, maxSmall, a.erase},
		{"GET /api/v1/audit/retention", admin.OpEvidence, 0, a.retention},
		{"POST /api/v1/audit/retention", admin.OpErase, maxSmall, a.retain},
	}
}

// call is one request on its way through a handler.
type call struct {
	*http.Request
	w     http.ResponseWriter
	actor admin.Actor
}

// streamed is the answer of a handler that has written its own.
type streamed struct{}

func (a *API) answer(w http.ResponseWriter, req *http.Request, r route) {
	actor, ok := actorOf(req.Context())
	if !ok {
		a.refuse(w, req, access.Errorf(access.CodeUnauthenticated, "nobody is known to ask: sign in"))
		return
	}
	if err := a.deps.Admin.Authorize(req.Context(), actor, r.op); err != nil {
		a.refuse(w, req, err)
		return
	}
	req.Body = http.MaxBytesReader(w, req.Body, r.limit)
	out, err := r.do(&call{req, w, actor})
	if err != nil {
		a.refuse(w, req, err)
		return
	}
	switch out := out.(type) {
	case streamed:
	default:
		b, err := Marshal(out)
		if err != nil {
			a.refuse(w, req, err)
			return
		}
		write(w, http.StatusOK, "application/json", b)
	}
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller may have gone
}

// Marshal returns the JSON of an answer: an object that begins with
// schemaVersion.
func Marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) < 2 || b[0] != '{' {
		return nil, errors.New("api: an answer is not an object")
	}
	head := `{"schemaVersion":1`
	if len(b) > 2 {
		head += ","
	}
	return append(append([]byte(head), b[1:]...), '\n'), nil
}

// decode reads the body into v. Duplicate and unknown keys are mistakes.
func (c *call) decode(v any) error {
	if t, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return access.Errorf(access.CodeInvalid, "the body must be application/json")
	}
	body, err := io.ReadAll(c.Body)
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return access.Errorf(access.CodeTooLarge, "the request has more than %d bytes", big.Limit)
		}
		return access.Errorf(access.CodeInvalid, "the request ended early")
	}
	defer clear(body) // it may hold a credential
	if err := strict(body, v); err != nil {
		return access.Errorf(access.CodeInvalid, "the request is not what this route expects: %v", err)
	}
	return nil
}

// strict decodes JSON without duplicate or unknown keys. Its errors name
// members and positions, never values.
func strict(body []byte, v any) error {
	doc, err := rawjson.Parse(body, rawjson.Limits{Bytes: len(body) + 1})
	if err != nil {
		return err
	}
	if unpacked(doc, reflect.TypeOf(v)) > maxUnpacked {
		return errors.New("it has too many items")
	}
	if err := decodeJSON(body, v); err != nil {
		return err
	}
	return exact(doc, reflect.TypeOf(v))
}
