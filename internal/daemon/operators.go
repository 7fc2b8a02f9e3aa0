package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/console"
)

// operators builds the operators' handlers: the API over the unix socket and
// over TCP, with health and metrics beside it.
func (d *Daemon) operators() (local, remote http.Handler, err error) {
	local, remote, err = d.api()
	if err != nil {
		return nil, nil, err
	}
	probes := http.NewServeMux()
	probes.HandleFunc("GET /healthz", d.healthz)
	probes.HandleFunc("GET /readyz", d.readyz)
	probes.Handle("GET /metrics", d.telemetry.handler())
	pages, err := console.New(console.Config{
		Hosts: d.operatorsHosts(), Public: d.OperatorsURL, Local: d.localOperators(), Log: d.log, Links: d.Links, Issuer: d.AgentsURL, Work: d.consoleWork(), SignIns: d.SignIns, Provider: d.provider,
	}, d.Admin, d.Desk)
	if err != nil {
		return nil, nil, err
	}
	d.pages = pages
	mount := func(api, probes http.Handler) *http.ServeMux {
		mux := http.NewServeMux()
		mux.Handle("/api/v1/", api) // checks the Host itself
		mux.Handle("/", probes)
		return mux
	}
	network := mount(remote, d.ownHosts(d.lis.operators, d.Config.Listen.Operators, d.OperatorsURL, probes))
	network.Handle("GET /{$}", http.RedirectHandler(console.Home, http.StatusSeeOther))
	network.Handle(console.Home, pages)
	network.Handle(console.Path, pages) // checks the Host itself; no browser speaks to the socket
	return mount(local, probes), network, nil
}

// operatorsHosts are the Host headers the operators' address answers to.
func (d *Daemon) operatorsHosts() []string {
	return hostsOf(d.lis.operators, d.Config.Listen.Operators, d.OperatorsURL)
}

// localOperators is the address people on this machine use, "" if the operators'
// address does not listen on its own network alone.
func (d *Daemon) localOperators() string {
	if !loopback(d.lis.operators.Addr().String()) {
		return ""
	}
	return address(d.lis.operators, d.Config.TLS.Cert != "")
}

// consoleWork is what the console stands on.
func (d *Daemon) consoleWork() *console.Work {
	started := time.Now().UTC()
	return &console.Work{
		Effects: d.Effects, Evidence: proofs{d.Evidence, evidence{d.Evidence, d.Config.Data}}, Calls: d.gate.Calls, Inventory: d.Inventory, Findings: d.Findings, Views: d.views, Learn: d.Proxy.Learn, Conduct: d.conductOf, Rehearsal: tried{rehearsals{d, d.stage}}, Privileges: privileges{d},
		Settings: func() []console.Setting {
			var out []console.Setting
			for _, s := range d.Config.Settings() {
				out = append(out, console.Setting(s))
			}
			return out
		},
		Status: func() console.Status {
			s := d.status(started)
			return console.Status{Version: s.Version, Node: s.Node, Mode: s.Mode, Store: s.Store, Data: s.Data, Agents: s.Agents, Operators: s.Operators, Started: s.Started, Generation: s.Generation}
		},
		Doctor: func(ctx context.Context) []console.Check {
			var out []console.Check
			for _, c := range d.doctor(ctx) {
				out = append(out, console.Check{Name: c.Name, Level: string(c.Level), Reason: c.Reason, Mend: c.Mend})
			}
			return out
		},
	}
}

// proofs is the log as the console shows it.
type proofs struct {
	*audit.Log
	shown evidence
}

// Proof is the file that rutile audit prove writes.
func (p proofs) Proof(ctx context.Context, leaves []uint64) ([]byte, error) {
	proof, err := p.shown.Prove(ctx, leaves)
	if err != nil {
		return nil, err
	}
	return api.Marshal(proof)
}

// SignInLink returns an address that signs an actor in to the console once.
func (d *Daemon) SignInLink(actor admin.Actor) (link string, until time.Time, err error) {
	return d.pages.Invite(actor)
}

// OwnLink is SignInLink for the account that runs the gateway.
func (d *Daemon) OwnLink(ctx context.Context) (string, error) {
	account := admin.Account{UID: strconv.Itoa(os.Getuid())}
	if u, err := user.Current(); err == nil {
		account.Name = u.Username
	}
	actor, err := d.Admin.LocalActor(ctx, account, true)
	if err != nil {
		return "", err
	}
	link, _, err := d.SignInLink(actor)
	return link, err
}

// ApprovalURL returns the address of the page on which people answer a request.
func (d *Daemon) ApprovalURL(request string) string { return console.URL(d.OperatorsURL, request) }

// healthz says that the process answers.
func (d *Daemon) healthz(w http.ResponseWriter, _ *http.Request) {
	writeStatus(w, http.StatusOK, map[string]string{"status": "ok"})
}

// minFree is the space below which no evidence can be expected to be kept.
const minFree = 1 << 20 // bytes

// readyz says whether calls can be served: the store answers, what is decided on
// is not too old, and evidence can be kept. It names the part that is not ready,
// not why.
func (d *Daemon) readyz(w http.ResponseWriter, r *http.Request) {
	parts := map[string]string{"status": "ok", "store": "ok", "evidence": "ok"}
	status := http.StatusOK
	fail := func(part string, err error) {
		d.log.Warn("not ready", "part", part, "error", access.Reasons(err))
		parts[part], parts["status"] = "failing", "unavailable"
		status = http.StatusServiceUnavailable
	}
	select {
	case <-d.ready:
	default:
		parts["status"], status = "starting", http.StatusServiceUnavailable
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := d.store.Ping(ctx); err != nil {
		fail("store", err)
	}
	if d.states.expired() {
		fail("store", errors.New("the view of the registry is older than its lease"))
	}
	if err := d.recorder.healthy(); err != nil {
		fail("evidence", err)
	} else if free, err := freeSpace(d.Config.Data); err == nil && free < minFree {
		fail("evidence", fmt.Errorf("%d bytes are left in %s", free, d.Config.Data))
	}
	writeStatus(w, status, parts)
}

func writeStatus(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the prober may have gone
}

// metrics publishes what is read at scrape time.
func (d *Daemon) metrics() {
	d.telemetry.gauge("rutile_agents_connections", "Connections agents have open.", func() float64 { return float64(d.lis.ofAgents.count()) })
	d.telemetry.gauge("rutile_evidence_size", "Leaves in the evidence log.", func() float64 {
		size, _ := d.Evidence.Head()
		return float64(size)
	})
	d.telemetry.gauge("rutile_evidence_witnessed_size", "Leaves under the newest checkpoint that enough witnesses cosigned.", func() float64 {
		c, _ := d.Evidence.Witnessed()
		return float64(c.Size)
	})
	d.telemetry.gauge("rutile_evidence_healthy", "1 while evidence can be kept.", func() float64 {
		if d.recorder.healthy() != nil {
			return 0
		}
		return 1
	})
	d.telemetry.gauge("rutile_evidence_queue", "Records that wait to be written.", func() float64 { return float64(d.Evidence.Queued()) })
	d.telemetry.gauge("rutile_evidence_open_intents", "Calls that were dispatched and have no outcome yet.", func() float64 {
		n, _ := d.Evidence.OpenCalls()
		return float64(n)
	})
	d.telemetry.gauge("rutile_evidence_oldest_open_seconds", "Age of the oldest of them, 0 if there is none.", func() float64 {
		n, oldest := d.Evidence.OpenCalls()
		if n == 0 {
			return 0
		}
		return time.Since(oldest).Seconds()
	})
	if d.judge != nil {
		d.telemetry.gauge("rutile_judge_dropped", "Texts the outside judge was not asked about, as too many waited or they were too long.", func() float64 { return float64(d.judge.Status().Dropped) })
	}
	d.telemetry.gauge("rutile_mcp_sessions", "Open legacy MCP sessions.", func() float64 { return float64(d.Proxy.Sessions()) })
}
