// Package mcpregistry serves the catalog of servers to MCP clients, in the shape
// of the official MCP registry's API v0.1.
//
// A client that installs a server from here is led to the gateway: the only
// remote of an entry is /mcp/{server}. Only servers that may be called now are
// in it, sanctioned and deprecated ones; every other one is answered exactly as
// one that does not exist. It MUST show nothing of where a server is, what
// starts it, who owns it or which credential it takes. It changes nothing.
package mcpregistry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/registry"
)

// Path is where the API is mounted.
const Path = "/v0.1/"

// How many entries a page holds, as the official registry has it.
const (
	defaultLimit = 30
	maxLimit     = 100
)

// maxQuery bounds the text a client may search for, and a cursor, in bytes.
const maxQuery = 256

// Config configures the API.
type Config struct {
	// URL is the public base address of the agents' listener.
	URL string
	// Namespace is what stands before the slash of every name: a domain in
	// reverse, such as com.example.
	Namespace string
	// Origins are the web origins whose pages may read the catalog, "*" for all.
	// None may by default: the catalog tells what there is, and a page in a
	// browser of this machine reaches a loopback listener.
	Origins []string
}

// namespace is what the official schema allows before the slash, with at least
// one character, and bounded so that any id fits behind it.
var namespace = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,126}[a-zA-Z0-9])?$`)

// ValidNamespace reports whether s can be Config.Namespace.
func ValidNamespace(s string) bool { return namespace.MatchString(s) && !strings.Contains(s, "..") }

// NamespaceOf returns a domain in reverse: com.example of example.com.
func NamespaceOf(domain string) string {
	labels := strings.Split(domain, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}

// API serves the catalog. It is safe for concurrent use.
type API struct {
	cfg  Config
	view func() *registry.View
}

// New returns an API over the view that counts at the time of each request.
func New(cfg Config, view func() *registry.View) (*API, error) {
	switch {
	case view == nil:
		return nil, errors.New("mcpregistry: a dependency is missing")
	case cfg.URL == "" || !ValidNamespace(cfg.Namespace):
		return nil, errors.New("mcpregistry: the address or the namespace is missing")
	}
	return &API{cfg: cfg, view: view}, nil
}

// ServeHTTP answers GET and HEAD, and the preflights of pages that may read.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.cross(w, r)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		fail(w, http.StatusMethodNotAllowed, "this registry is read only")
		return
	}
	// The path as it was sent: a name is one segment, its slash encoded.
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), Path+"servers")
	if !ok {
		fail(w, http.StatusNotFound, "there is nothing here")
		return
	}
	if rest == "" || rest == "/" {
		a.list(w, r)
		return
	}
	parts := strings.Split(strings.TrimPrefix(rest, "/"), "/")
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil {
			fail(w, http.StatusNotFound, "there is nothing here")
			return
		}
		parts[i] = plain
	}
	switch {
	case rest[0] != '/' || len(parts) < 2 || parts[1] != "versions" || len(parts) > 3:
		fail(w, http.StatusNotFound, "there is nothing here")
	case len(parts) == 2:
		a.versions(w, parts[0])
	default:
		a.version(w, parts[0], parts[2])
	}
}

// cross lets the pages of configured origins read the answer.
func (a *API) cross(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache") // what is blocked is gone at once
	h.Set("X-Content-Type-Options", "nosniff")
	all := slices.Contains(a.cfg.Origins, "*")
	origin := r.Header.Get("Origin")
	if !all {
		h.Add("Vary", "Origin")
	}
	switch {
	case all:
		h.Set("Access-Control-Allow-Origin", "*")
	case origin != "" && slices.Contains(a.cfg.Origins, origin):
		h.Set("Access-Control-Allow-Origin", origin)
	default:
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, MCP-Protocol-Version")
	h.Set("Access-Control-Max-Age", "600")
}

// filter is what a client asks of a list.
type filter struct {
	after   string // name of the last entry it has
	search  string // in lower case
	version string // exact, or "latest", or ""
	since   time.Time
	limit   int
}

func readFilter(raw string) (filter, string) {
	f := filter{limit: defaultLimit}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return f, "the query cannot be read"
	}
	for k, v := range q {
		if len(v) != 1 {
			return f, "a parameter is given twice"
		}
		if len(v[0]) > maxQuery {
			return f, "the parameter " + strconv.Quote(k[:min(len(k), 40)]) + " is too long"
		}
	}
	if s := q.Get("limit"); s != "" {
		if f.limit, err = strconv.Atoi(s); err != nil || f.limit < 1 || f.limit > maxLimit {
			return f, "limit must be a number from 1 to " + strconv.Itoa(maxLimit)
		}
	}
	if s := q.Get("cursor"); s != "" {
		name, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || len(name) == 0 {
			return f, "the cursor is none of this registry: begin without one"
		}
		f.after = string(name)
	}
	if s := q.Get("updated_since"); s != "" {
		if f.since, err = time.Parse(time.RFC3339, s); err != nil {
			return f, "updated_since must be a time such as 2026-11-24T10:00:00Z"
		}
	}
	f.search, f.version = strings.ToLower(q.Get("search")), q.Get("version")
	return f, ""
}

func (a *API) list(w http.ResponseWriter, r *http.Request) {
	f, bad := readFilter(r.URL.RawQuery)
	if bad != "" {
		fail(w, http.StatusBadRequest, bad)
		return
	}
	view := a.view()
	out := List{Servers: []Entry{}}
	for _, s := range view.Servers() { // sorted by id, and so by name
		if !view.ServerStanding(s.ID).OK {
			continue
		}
		e := a.entry(view, s)
		switch {
		case f.after != "" && e.Server.Name <= f.after,
			!strings.Contains(strings.ToLower(e.Server.Name), f.search),
			f.version != "" && f.version != latest && f.version != e.Server.Version,
			s.Changed.Before(f.since):
			continue
		}
		if len(out.Servers) == f.limit {
			out.Metadata.Next = base64.RawURLEncoding.EncodeToString([]byte(out.Servers[f.limit-1].Server.Name))
			break
		}
		out.Servers = append(out.Servers, e)
	}
	out.Metadata.Count = len(out.Servers)
	answer(w, http.StatusOK, out)
}

// find returns the entry of a name that may be shown.
func (a *API) find(name string) (Entry, bool) {
	id, ok := strings.CutPrefix(name, a.cfg.Namespace+"/")
	if !ok {
		return Entry{}, false
	}
	view := a.view()
	s, ok := view.Server(id)
	if !ok || !view.ServerStanding(id).OK {
		return Entry{}, false
	}
	return a.entry(view, s), true
}

func (a *API) versions(w http.ResponseWriter, name string) {
	e, ok := a.find(name)
	if !ok {
		fail(w, http.StatusNotFound, "Server not found")
		return
	}
	answer(w, http.StatusOK, List{Servers: []Entry{e}, Metadata: Metadata{Count: 1}})
}

func (a *API) version(w http.ResponseWriter, name, version string) {
	e, ok := a.find(name)
	if !ok || version != latest && version != e.Server.Version {
		fail(w, http.StatusNotFound, "Server not found")
		return
	}
	answer(w, http.StatusOK, e)
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // only strings, numbers and times are in it
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that went away needs no answer
}

func fail(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}
