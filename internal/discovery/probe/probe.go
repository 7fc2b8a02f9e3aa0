// Package probe asks given hosts and networks whether they speak MCP or A2A,
// without harm (discovery.md 7).
//
// It MUST NOT connect to an address nobody named, to one the guard rails
// refuse, nor faster than its pace; it MUST NOT send a credential, call a tool,
// follow a redirect to another host, or leave a session open that it opened.
// What a server says of itself is a claim: it is recorded, bounded, and decides
// nothing but the verdict; what would mislead a model in an agent card is a finding,
// without the text. The package writes no file and keeps no evidence.
package probe

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
)

// Limits of section 7. What is asked for may be slower, never faster.
const (
	DefaultRate  = 20 // connections a second
	DefaultHost  = 2  // connections a second to one address, and at once
	stepTime     = 3 * time.Second
	placeTime    = 45 * time.Second
	eventTime    = 2 * time.Second
	maxBody      = 64 << 10
	maxAddresses = 1 << 12 // a /20
	maxEver      = 1 << 24
	maxFound     = 10_000
	workers      = 64
	saveEvery    = 5 * time.Second
)

// Ports are those asked where a target names none.
func Ports() []uint16 {
	return []uint16{80, 443, 3000, 3001, 3333, 5000, 6274, 6277, 7000, 8000, 8001, 8080, 8081, 8443, 8811, 8888, 9000, 9090}
}

// Paths are those asked where a target names none.
func Paths() []string {
	return []string{"/mcp", "/", "/sse", "/mcp/sse", "/api/mcp", "/v1/mcp", "/messages"}
}

// Config says what may be probed and how. The zero value probes private and
// loopback addresses at the usual pace.
type Config struct {
	Version     string           // of Rutile, for the User-Agent
	Contact     string           // whom to ask about the probe, for the User-Agent
	Ports       []uint16         // besides the usual ones
	Gentle      bool             // never open a session: no initialize
	Enumerate   bool             // ask servers without authentication for their list of tools
	CheckOrigin bool             // ask whether a foreign Origin is refused
	Authorized  bool             // more than a /20 was asked for by somebody who may
	Allow       []netip.Prefix   // public networks that may be probed
	Own         []netip.AddrPort // listeners of our own gateway
	OwnHosts    []string         // names it is called by
	Rate        float64          // connections a second, at most; 0 means DefaultRate
	HostRate    float64          // the same to one address; 0 means DefaultHost
	Resume      *State           // where an earlier run of the same targets ended

	// Resolve looks a name up; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Progress is told how far the run is, after each place. It must not block.
	Progress func(done, places, found int)
	// Save is given the state now and then, and at the end of a run that was
	// interrupted. An error of it ends the run.
	Save func(State) error
}

// Verdict is what a place turned out to be.
type Verdict string

// The verdicts. Nothing is said of a place without one.
const (
	Modern    Verdict = "modern"    // speaks MCP 2026-07-28 or later
	Legacy    Verdict = "legacy"    // speaks MCP over Streamable HTTP, up to 2025-11-25
	SSE       Verdict = "sse"       // speaks MCP over HTTP+SSE, of 2024-11-05
	Protected Verdict = "protected" // asks for a token for what its metadata calls MCP
	Probable  Verdict = "probable"  // a protected resource or a card, and no protocol answer
	Suspect   Verdict = "suspect"   // answers, but not as a server would: a honeypot, a catch-all
	Agent     Verdict = "agent"     // publishes an A2A agent card
	Catalog   Verdict = "catalog"   // publishes an AI catalogue
)

// Found is one place that answered as something of interest. Texts are the
// server's own words, cut to a bound.
type Found struct {
	URL          string         `json:"url"`
	Address      netip.AddrPort `json:"address"`
	Verdict      Verdict        `json:"verdict"`
	Confidence   float64        `json:"confidence"`
	Why          []string       `json:"why"`
	Versions     []string       `json:"versions,omitempty"`
	Capabilities []string       `json:"capabilities,omitempty"`
	Name         string         `json:"name,omitempty"`
	Version      string         `json:"version,omitempty"`
	Open         bool           `json:"open"`             // answered the protocol without authentication
	Listed       bool           `json:"listed"`           // gave its list of tools without authentication
	Tools        []string       `json:"tools,omitempty"`  // their names
	Origin       string         `json:"origin,omitempty"` // "refused", "accepted", "unknown", "" if not asked
	Resource     string         `json:"resource,omitempty"`
	Issuers      []string       `json:"issuers,omitempty"` // authorization servers
	Scopes       []string       `json:"scopes,omitempty"`
	Card         string         `json:"card,omitempty"` // digest of the card or catalogue
	// CardTier is what the texts of an agent card call for: "review", "block", "" for
	// nothing. CardSays are the findings, a line each, without the texts.
	CardTier string       `json:"cardTier,omitempty"`
	CardSays []string     `json:"cardSays,omitempty"`
	TLS      *Certificate `json:"tls,omitempty"`
}

// Certificate is what a TLS server showed.
type Certificate struct {
	Names      []string  `json:"names"`
	Issuer     string    `json:"issuer"`
	SelfSigned bool      `json:"selfSigned"`
	Until      time.Time `json:"until"`
}

// Refusal is a target, or an address of one, that was not probed.
type Refusal struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Report is what a run saw. Every place is in exactly one of Closed, Silent,
// Refused, Failed and Open.
type Report struct {
	Found       []Found   `json:"found"`
	Places      int       `json:"places"` // addresses × ports of the plan
	Done        int       `json:"done"`
	Closed      int       `json:"closed"`  // no connection
	Silent      int       `json:"silent"`  // no answer in time
	Refused     int       `json:"refused"` // by the guard rails
	Open        int       `json:"open"`    // answered
	Connections int       `json:"connections"`
	Requests    int       `json:"requests"`
	Refusals    []Refusal `json:"refusals,omitempty"` // the first of them
	Unresolved  []Refusal `json:"unresolved,omitempty"`
	Cut         bool      `json:"cut,omitempty"` // more was found than is kept
	Complete    bool      `json:"complete"`
}

// maxRefusals is how many refusals are spelled out.
const maxRefusals = 100

// Run probes the targets: URLs, hosts, host:port, addresses and CIDRs. What the
// guard rails refuse in the words of a target is an error and nothing is sent;
// what they refuse of a name or inside a network is left out and reported. When
// ctx ends, Run returns what was found so far and ctx's error.
func Run(ctx context.Context, cfg Config, targets []string) (Report, error) {
	g, err := newGuard(cfg)
	if err != nil {
		return Report{}, err
	}
	parsed, err := parseTargets(targets, g, cfg.Authorized)
	if err != nil {
		return Report{}, err
	}
	r := &runner{cfg: cfg, guard: g, answering: map[netip.Addr]int{}}
	if err := r.plan(ctx, parsed); err != nil {
		return r.report, err
	}
	if err := r.start(fingerprint(cfg, targets)); err != nil {
		return Report{}, err
	}
	err = r.run(ctx)
	r.judgeHosts()
	r.report.Complete = err == nil
	slices.SortFunc(r.report.Found, func(a, b Found) int {
		if c := a.Address.Compare(b.Address); c != 0 {
			return c
		}
		return strings.Compare(a.URL, b.URL)
	})
	return r.report, err
}

// runner is one run.
type runner struct {
	cfg    Config
	guard  *guard
	pace   *pace
	groups []group
	order  order

	mu        sync.Mutex
	report    Report
	state     State
	ahead     map[uint64]bool    // done, beyond state.Next
	answering map[netip.Addr]int // ports of an address that speak a protocol
	saved     time.Time
	failed    error
}

// run gives the places to the workers until all are done or ctx ends.
func (r *runner) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	places := make(chan uint64)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := range places {
				r.visit(ctx, n, stop)
			}
		})
	}
	for n := r.state.Next; n < r.order.n && ctx.Err() == nil; n++ {
		if r.done(n) {
			continue
		}
		select {
		case places <- n:
		case <-ctx.Done():
		}
	}
	close(places)
	wg.Wait()
	if r.failed != nil {
		return r.failed
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(err, r.save())
	}
	return nil
}

// done reports whether an earlier run was there.
func (r *runner) done(n uint64) bool {
	if r.cfg.Resume == nil {
		return false
	}
	_, ok := slices.BinarySearch(r.cfg.Resume.Ahead, n)
	return ok
}

// visit probes the place that is n-th in the order of this run.
func (r *runner) visit(ctx context.Context, n uint64, stop context.CancelFunc) {
	p, ok := r.place(r.order.at(n))
	var out outcome
	if ok {
		out = r.probe(ctx, p)
		if out.state == interrupted {
			r.keep(out) // it is probed again when the run is resumed
			return
		}
	} else {
		out.state = repeated
	}
	r.keep(out)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Done++
	r.ahead[n] = true
	for r.ahead[r.state.Next] {
		delete(r.ahead, r.state.Next)
		r.state.Next++
	}
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.report.Done, r.report.Places, len(r.report.Found))
	}
	if time.Since(r.saved) > saveEvery && r.failed == nil {
		if err := r.saveLocked(); err != nil {
			r.failed = err
			stop()
		}
	}
}

// keep counts an outcome and keeps what it found.
func (r *runner) keep(out outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Connections += out.connections
	r.report.Requests += out.requests
	switch out.state {
	case closed:
		r.report.Closed++
	case silent:
		r.report.Silent++
	case answered:
		r.report.Open++
	case refused:
		r.report.Refused++
		r.refuse(out)
	case interrupted, repeated:
	}
	for _, f := range out.found {
		if slices.ContainsFunc(r.report.Found, func(o Found) bool { return o.URL == f.URL && o.Address == f.Address && o.Verdict == f.Verdict }) {
			continue
		}
		if len(r.report.Found) >= maxFound {
			r.report.Cut = true
			return
		}
		r.report.Found = append(r.report.Found, f)
		if f.Verdict != Agent && f.Verdict != Catalog {
			r.answering[f.Address.Addr()]++
		}
	}
}

// refuse spells a refusal out, once for all ports of an address. That the edges
// of a network are left out needs no word.
func (r *runner) refuse(out outcome) {
	x := Refusal{What: out.place.String(), Why: out.why}
	if out.place.why != "" {
		return
	}
	if out.why != whyOwn {
		x.What = strings.Replace(x.What, ":"+strconv.Itoa(int(out.place.addr.Port())), "", 1)
	}
	if len(r.report.Refusals) < maxRefusals && !slices.Contains(r.report.Refusals, x) {
		r.report.Refusals = append(r.report.Refusals, x)
	}
}

// judgeHosts doubts addresses where most ports claim to be servers: a machine
// with that many of them is a honeypot more often than a workshop.
func (r *runner) judgeHosts() {
	ports := len(Ports()) + len(r.cfg.Ports)
	for i := range r.report.Found {
		f := &r.report.Found[i]
		if r.answering[f.Address.Addr()]*2 < ports || f.Verdict == Agent || f.Verdict == Catalog {
			continue
		}
		f.Verdict, f.Confidence = Suspect, 0.3
		f.Why = append(f.Why, "most ports of this address claim to be MCP servers")
	}
}

// errTarget is what a person reads about a target that cannot be probed.
func errTarget(format string, args ...any) error {
	return access.Errorf(access.CodeUsage, format, args...)
}
