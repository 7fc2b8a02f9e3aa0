// Package traffic reads logs of proxies and gateways for traffic to MCP servers
// (discovery.md 9).
//
// Since 2026-07-28 a request says in its header what it is, so that no body need
// be read. The package MUST keep no value of a query, no body and no header but
// those that name a method; people come out as the log names them, and who calls
// it makes pseudonyms of them before anything is kept. A line that cannot be read
// is counted and hides no other.
package traffic

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
)

// Strengths of the evidence (discovery.md 3).
const (
	spoken = 0.9 // a header or a body that only MCP has
	shaped = 0.6 // it asks as MCP clients ask
	called = 0.4 // by host or path
	looked = 0.3 // its name was asked for
)

// Bounds of what is kept of one file.
const (
	maxLine         = 1 << 20
	maxDestinations = 20_000
	maxNames        = 20
	maxPeople       = 10_000
)

// Record is one request of a log.
type Record struct {
	Time     time.Time
	URL      string // scheme, host, port and path; what stands in a query is dropped
	Method   string // of HTTP
	Status   int
	Person   string // as the log names them
	From     string // the address that asked
	Agent    string // User-Agent
	MCP      string // method of MCP
	Version  string // of MCP
	Session  bool   // it names a session
	Streams  bool   // it accepts JSON and event streams, as MCP clients do
	Resolved bool   // only a name was asked for: DNS or the name in TLS
}

// Destination is one address that was asked, and how often.
type Destination struct {
	URL      string
	Requests int
	First    time.Time
	Last     time.Time
	Strength float64
	Methods  []string // of MCP, bounded
	Versions []string // of MCP, bounded
	People   []string // as the log names them, bounded
	From     []string // addresses that asked, bounded
	Why      []string
}

// Summary is what one file told.
type Summary struct {
	Format       string
	Lines        int
	Unread       int // lines that are not of the format
	Records      int // that are of MCP
	Destinations []Destination
	Cut          bool // there were more destinations than are kept
}

// Read reads a log. format is one of Formats, or "" to tell by its beginning.
// through are addresses of our own gateway: what they ask went through it and is
// left out. When ctx ends, what was read so far is returned with its error.
func Read(ctx context.Context, r io.Reader, format string, through []string) (Summary, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if format == "" {
		head, _ := in.Peek(32 << 10)
		format = guess(string(head))
	}
	parse := parserOf(format)
	if parse == nil {
		return Summary{}, access.Errorf(access.CodeUsage, "the form of the log is not known: say which with --logs-format %s", strings.Join(Formats(), ", "))
	}
	s := Summary{Format: format}
	by := map[string]*Destination{}
	for {
		line, err := readLine(in)
		if line != "" {
			s.Lines++
			records, ok := parse(line)
			if !ok {
				s.Unread++
			}
			for _, rec := range records {
				s.take(rec, by, through)
			}
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			s.settle(by)
			if errors.Is(err, io.EOF) {
				return s, nil
			}
			return s, fmt.Errorf("reading the log: %w", err)
		}
	}
}

// readLine returns the next line without its end; of one that is too long it
// returns a text that no format knows.
func readLine(in *bufio.Reader) (string, error) {
	var b []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(b) <= maxLine {
			b = append(b, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(b) > maxLine {
			return "\x00", err
		}
		return strings.TrimRight(string(b), "\r\n"), err
	}
}

// take adds a record to its destination, if it is of MCP.
func (s *Summary) take(r Record, by map[string]*Destination, through []string) {
	strength, why := r.judge()
	if strength == 0 || slices.Contains(through, r.From) {
		return
	}
	at, ok := r.destination()
	if !ok {
		return
	}
	s.Records++
	d := by[at]
	if d == nil {
		if len(by) >= maxDestinations {
			s.Cut = true
			return
		}
		d = &Destination{URL: at}
		by[at] = d
	}
	d.Requests++
	if !r.Time.IsZero() && (d.First.IsZero() || r.Time.Before(d.First)) {
		d.First = r.Time
	}
	if r.Time.After(d.Last) {
		d.Last = r.Time
	}
	d.Strength = max(d.Strength, strength)
	d.Why = note(d.Why, why, maxNames)
	d.Methods = note(d.Methods, word(r.MCP), maxNames)
	d.Versions = note(d.Versions, word(r.Version), maxNames)
	d.People = note(d.People, r.Person, maxPeople)
	d.From = note(d.From, r.From, maxPeople)
}

// note adds a text to a sorted list without repetitions, up to a bound.
func note(list []string, s string, most int) []string {
	i, found := slices.BinarySearch(list, s)
	if s == "" || found || len(list) >= most {
		return list
	}
	return slices.Insert(list, i, s)
}

func (s *Summary) settle(by map[string]*Destination) {
	for _, d := range by {
		s.Destinations = append(s.Destinations, *d)
	}
	slices.SortFunc(s.Destinations, func(a, b Destination) int { return strings.Compare(a.URL, b.URL) })
}

var (
	// hostName is a name or an address: what else stands there is nobody's host.
	hostName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$|^[0-9a-fA-F:.]{2,45}$`)
	mcpHost  = regexp.MustCompile(`(?i)(^|[.-])mcp([.-]|$)`)
	mcpPath  = regexp.MustCompile(`(?i)(^|/)(mcp|sse)/?$|/mcp/`)
	// methodName are the methods of MCP a client sends, in any revision.
	methodName = regexp.MustCompile(`^(initialize|ping|server/discover|subscriptions/listen|(tools|prompts|resources|resources/templates|completion|logging|tasks|roots|sampling|elicitation|notifications)/[a-zA-Z/_]{1,40})$`)
)

// judge says how surely a request is of MCP, 0 if it is not.
func (r Record) judge() (float64, string) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" {
		return 0, ""
	}
	named := mcpHost.MatchString(u.Hostname())
	switch {
	case methodName.MatchString(r.MCP):
		return spoken, "its requests name methods of MCP"
	case r.Version != "" || r.Session:
		return spoken, "its requests carry headers of MCP"
	case r.Resolved && named:
		return looked, "its name says MCP, and was asked for"
	case r.Resolved:
		return 0, ""
	case r.Streams && (r.Method == "POST" || named || mcpPath.MatchString(u.Path)):
		return shaped, "its requests accept JSON and event streams, as those of MCP clients do"
	case r.Status == 404 || r.Status == 410 || documentation(u):
		return 0, ""
	case mcpPath.MatchString(u.Path):
		return called, "its path says MCP"
	case named:
		return called, "its name says MCP"
	}
	return 0, ""
}

// documentation reports addresses that speak about MCP.
func documentation(u *url.URL) bool {
	first, _, _ := strings.Cut(strings.ToLower(u.Hostname()), ".")
	return slices.Contains([]string{"docs", "blog", "www", "learn", "help", "support", "developer", "developers"}, first) || strings.HasPrefix(u.Path, "/docs") || strings.HasSuffix(u.Path, ".html")
}

// destination is where a record goes, without its query. What was only reached
// by name stands for the whole host.
func (r Record) destination() (string, bool) {
	u, err := url.Parse(r.URL)
	if err != nil || !hostName.MatchString(u.Hostname()) {
		return "", false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if p := u.Port(); p != "" && (u.Scheme != "https" || p != "443") && (u.Scheme != "http" || p != "80") {
		host = net.JoinHostPort(host, p)
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "http" && scheme != "https" {
		scheme = "https"
	}
	return scheme + "://" + host + strings.TrimSuffix(u.EscapedPath(), "/"), true
}

// word is a text that may be shown as it is: names of methods and versions.
func word(s string) string {
	for _, c := range s {
		if c != '/' && c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	if len(s) > 64 {
		return ""
	}
	return s
}

// address makes the URL of a record from its parts.
func address(scheme, host, port, path string) string {
	if host == "" {
		return ""
	}
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	if strings.Contains(path, "://") { // a proxy's request line
		if u, err := url.Parse(path); err == nil && u.Host != "" {
			return u.Scheme + "://" + u.Host + u.EscapedPath()
		}
	}
	if _, _, err := net.SplitHostPort(host); err != nil && port != "" && port != "0" {
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	if scheme == "" {
		scheme = "https"
		if _, p, err := net.SplitHostPort(host); err == nil && p != "443" && p != "8443" {
			scheme = "http"
		}
	}
	if path != "" && !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: scheme, Host: host, Path: path}).String()
}

func streams(accept string) bool {
	return strings.Contains(accept, "application/json") && strings.Contains(accept, "text/event-stream")
}

// stamp reads the ways logs write a time, the zero time if it is none of them.
func stamp(s string) time.Time {
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 {
		for f > 1e11 {
			f /= 1000 // milliseconds, microseconds, nanoseconds
		}
		return time.Unix(int64(f), 0).UTC()
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "02/Jan/2006:15:04:05 -0700"} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

func status(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 999 {
		return 0
	}
	return n
}
