package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/compliance"
)

// Evidence is what the API needs of the log and its index.
type Evidence interface {
	compliance.Evidence
	// Search finds rows among everything durable when it is called.
	Search(ctx context.Context, q audit.Query) ([]audit.Row, error)
	// SearchPart is Search that gives up after so many rows that it looked at.
	SearchPart(ctx context.Context, q audit.Query) (audit.Part, error)
	// Show returns a leaf with what its keys still open.
	Show(ctx context.Context, index uint64) (Leaf, error)
	// Prove returns proofs of leaves that verify without this gateway.
	Prove(ctx context.Context, indices []uint64) (Proof, error)
	// Export writes a bundle of the leaves that match as a tar file.
	Export(ctx context.Context, w io.Writer, q audit.Query, o audit.ExportOptions) error
	Reindex(ctx context.Context) error
	// PlanErasure says what erasing a person would destroy; Erase does it.
	PlanErasure(ctx context.Context, person, issuer string) (audit.ErasurePlan, error)
	Erase(ctx context.Context, o audit.ErasureOrder) (audit.Erasure, audit.ErasurePlan, error)
	// PlanRetention says what is too old to be kept; Retain lets it go.
	PlanRetention(ctx context.Context, o audit.RetentionOrder) (audit.RetentionPlan, error)
	Retain(ctx context.Context, o audit.RetentionOrder) (audit.RetentionPlan, error)
}

// Leaf is one piece of evidence.
type Leaf struct {
	audit.Row                   // of this leaf alone, with pseudonyms resolved
	Raw       json.RawMessage   `json:"raw"`              // as it stands in the log, which only commits and seals
	Sealed    map[string]string `json:"sealed,omitempty"` // what it seals, opened
	Excerpt   *Excerpt          `json:"excerpt,omitempty"`
	Erased    bool              `json:"erased,omitempty"` // its key was destroyed
	Pruned    time.Time         `json:"pruned,omitzero"`  // when retention deleted its excerpt
}

// Proof shows that leaves are in the log. It is a file by itself: rutile audit
// verify needs nothing else, and other verifiers take its members.
type Proof struct {
	Key    string   `json:"key"` // the log's vkey: its own word, compare it with what you know
	Leaves []Proven `json:"leaves"`
}

// Proven is one leaf with its proof.
type Proven struct {
	Index uint64 `json:"index"`
	Proof string `json:"proof"` // C2SP tlog-proof with the signed checkpoint
	Leaf  []byte `json:"leaf"`  // exact bytes, base64
}

// Excerpt is the beginning of arguments, a result or a change.
type Excerpt struct {
	Text  string `json:"text"`
	Bytes uint64 `json:"bytes"` // of the whole
}

// Leaves are the leaves of one decision or change, in the order they were
// written.
type Leaves struct {
	Items []Leaf `json:"items"`
}

// Rows are found evidence.
type Rows struct {
	Page[audit.Row]
	SearchedTo *time.Time `json:"searchedTo,omitempty"` // the search ended before it was whole: so far back it looked, and Next goes on
}

// tailPause is how often a tail looks for more.
const tailPause = 200 * time.Millisecond

// searchKeys are the parameters of a search, and more.
func searchKeys(more ...string) []string {
	return append(more, "type", "agent", "subject", "session", "task", "server", "tool", "decision", "outcome", "status", "policy", "grant", "label", "trace", "text", "since", "until", "limit", "cursor")
}

// ParseSearch reads the parameters of a search. now is what durations such as
// "1h" count back from.
func ParseSearch(v url.Values, now time.Time) (audit.Query, error) {
	q := audit.Query{
		Agent: v.Get("agent"), Subject: v.Get("subject"), Session: v.Get("session"), Task: v.Get("task"), Server: v.Get("server"), Tool: v.Get("tool"),
		Decision: v.Get("decision"), Outcome: v.Get("outcome"), Status: v.Get("status"), Policy: v.Get("policy"), Trace: v.Get("trace"), Text: v.Get("text"),
		Grant: v.Get("grant"), Label: v.Get("label"),
	}
	if t := v.Get("type"); t != "" {
		q.Types = strings.Split(t, ",")
	}
	var err error
	if q.Since, err = moment("since", v.Get("since"), now); err != nil {
		return q, err
	}
	if q.Until, err = moment("until", v.Get("until"), now); err != nil {
		return q, err
	}
	if c := v.Get("cursor"); c != "" {
		if q.Before, err = strconv.ParseUint(c, 10, 63); err != nil || q.Before == 0 {
			return q, access.Errorf(access.CodeInvalid, "the cursor is not one that a search gave")
		}
	}
	return q, nil
}

// moment reads a time, a day or a duration that counts back from now.
func moment(name, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, access.Errorf(access.CodeInvalid, "%s: %q is neither a time such as 2026-11-24T10:00:00Z, a day, nor a duration such as 1h", name, s)
}

func (a *API) search(c *call) (any, error) {
	v, limit, err := c.query(searchKeys()...)
	if err != nil {
		return nil, err
	}
	q, err := ParseSearch(v, a.cfg.Now())
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = defaultLimit
	}
	q.Limit = limit
	part, err := a.deps.Evidence.SearchPart(c.Context(), q)
	if err != nil {
		return nil, err
	}
	out := Rows{Page: Page[audit.Row]{Items: append([]audit.Row{}, part.Rows...)}}
	n, below := len(part.Rows), part.Below
	switch {
	case below > 0:
		out.SearchedTo = &part.Back
	case n == limit:
		below = part.Rows[n-1].Index
	}
	if below > 0 {
		out.More, out.Next = -1, strconv.FormatUint(below, 10)
	}
	return out, nil
}

// Counted says how many events match. More says that there may be more.
type Counted struct {
	Count int  `json:"count"`
	More  bool `json:"more,omitempty"`
}

func (a *API) count(c *call) (any, error) {
	v, _, err := c.query(searchKeys()...)
	if err != nil {
		return nil, err
	}
	q, err := ParseSearch(v, a.cfg.Now())
	if err != nil {
		return nil, err
	}
	n, err := a.deps.Evidence.Count(c.Context(), q, audit.MostCounted)
	return Counted{n, n == audit.MostCounted}, err
}

// tail writes the newest rows and then, with follow, every further one as a
// line of JSON until the caller goes or the gateway stops.
func (a *API) tail(c *call) (any, error) {
	v, limit, err := c.query(searchKeys("follow")...)
	if err != nil {
		return nil, err
	}
	q, err := ParseSearch(v, a.cfg.Now())
	if err != nil {
		return nil, err
	}
	follow := v.Get("follow") == "true"
	// What begins from here on is left to the following, which also shows what of
	// the newest rows changes.
	size := a.deps.Evidence.Size()
	q.Limit = max(limit, 1) // what cannot be searched for is refused before the first byte
	if q.Before == 0 || q.Before > size {
		q.Before = size
	}
	rows, err := a.deps.Evidence.Search(c.Context(), q)
	if err != nil {
		return nil, err
	}
	if size == 0 { // before no leaf is before any
		rows = nil
	}
	rows = rows[:min(len(rows), limit)]
	c.w.Header().Set("Content-Type", "application/jsonl")
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	c.w.WriteHeader(http.StatusOK)
	s := &stream{w: c.w, rc: http.NewResponseController(c.w)}
	shown := map[uint64]bool{}            // newest leaves of rows that changed before they were found
	for i := len(rows) - 1; i >= 0; i-- { // newest first from the index
		s.put(rows[i])
		if last := rows[i].Last(); last >= size {
			shown[last] = true
		}
	}
	s.flush()
	if follow {
		q.Before, q.Until = 0, time.Time{}
		a.follow(c, s, q, size, shown)
	}
	return streamed{}, nil
}

// follow writes the rows of leaves from index next on as they come: a call when
// it begins and again when it ends, unless it was shown like that already.
func (a *API) follow(c *call, s *stream, q audit.Query, next uint64, shown map[uint64]bool) {
	ctx := c.Context()
	q.Ascending, q.Following, q.Limit = true, true, maxLimit
	pause := time.NewTicker(tailPause)
	defer pause.Stop()
	for s.err == nil {
		select {
		case <-ctx.Done():
			return
		case <-a.cfg.Stop:
			return
		case <-pause.C:
		}
		if err := a.deps.Admin.Authorize(ctx, c.actor, admin.OpEvidence); err != nil {
			a.cfg.Log.Info("a stream of evidence ends: its reader may not read it any more", "actor", c.actor.String(), "error", err)
			panic(http.ErrAbortHandler) // no orderly end
		}
		size := a.deps.Evidence.Size()
		for next < size && s.err == nil {
			q.From = next
			rows, err := a.deps.Evidence.Search(ctx, q)
			if access.CodeOf(err) == access.CodeUnavailable && ctx.Err() == nil {
				a.cfg.Log.Warn("following the evidence; it is tried again", "error", err)
				break // nothing was shown, so nothing is lost
			}
			if err != nil {
				if ctx.Err() == nil {
					a.cfg.Log.Error("following the evidence", "error", err)
					panic(http.ErrAbortHandler) // who watches must not take it for an orderly end
				}
				return
			}
			full := len(rows) == q.Limit
			for _, r := range rows {
				if !shown[r.Last()] {
					s.put(r)
				}
				next = r.Last() + 1
			}
			if !full {
				// The search may have seen leaves that came after size was read.
				next = max(next, size)
			}
		}
		s.flush()
	}
}

// stream writes lines of JSON.
type stream struct {
	w   io.Writer
	rc  *http.ResponseController
	err error
}

func (s *stream) put(v any) {
	if s.err != nil {
		return
	}
	b, err := Marshal(v)
	if err == nil {
		_, err = s.w.Write(b)
	}
	s.err = err
}

func (s *stream) flush() {
	if s.err == nil {
		s.err = s.rc.Flush()
	}
}

// indices returns the leaves an id stands for: a leaf's index, or every leaf of
// a decision or change.
func (a *API) indices(ctx context.Context, id string) ([]uint64, error) {
	if n, err := strconv.ParseUint(id, 10, 63); err == nil {
		if n >= a.deps.Evidence.Size() {
			return nil, access.Errorf(access.CodeNotFound, "there is no leaf %d; the log has %d", n, a.deps.Evidence.Size())
		}
		return []uint64{n}, nil
	}
	if !strings.HasPrefix(id, access.PrefixDecision) && !strings.HasPrefix(id, access.PrefixChange) {
		return nil, access.Errorf(access.CodeInvalid, "%q is neither the index of a leaf nor a decision (dec_…) nor a change (chg_…): see rutile audit search", id)
	}
	rows, err := a.deps.Evidence.Search(ctx, audit.Query{Decision: id, Ascending: true, Limit: maxLimit})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, access.Errorf(access.CodeNotFound, "no evidence of %s is in this log", id)
	}
	return audit.LeavesOf(rows), nil
}

func (a *API) leaves(c *call) (any, error) {
	found, err := a.indices(c.Context(), c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var out Leaves
	for _, i := range found {
		l, err := a.deps.Evidence.Show(c.Context(), i)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, l)
	}
	return out, nil
}

// prove proves everything recorded of a decision or change.
func (a *API) prove(c *call) (any, error) {
	found, err := a.indices(c.Context(), c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return answerOf(a.deps.Evidence.Prove(c.Context(), found))
}

// bundle streams a bundle as a tar file. What goes wrong after the first byte
// cuts the stream, so that half a bundle is not taken for a whole one.
func (a *API) bundle(c *call) (any, error) {
	v, _, err := c.query(searchKeys("index", "disclose", "payloads")...)
	if err != nil {
		return nil, err
	}
	q, err := ParseSearch(v, a.cfg.Now())
	if err != nil {
		return nil, err
	}
	if s := v.Get("index"); s != "" {
		n, err := strconv.ParseUint(s, 10, 62)
		if err != nil {
			return nil, access.Errorf(access.CodeInvalid, "%q is not the index of a leaf", s)
		}
		l, err := a.deps.Evidence.Show(c.Context(), n)
		if err != nil {
			return nil, err
		}
		if l.Type == audit.TypeOutcome { // it is in the row of its call
			n = uint64(l.Intent)
		}
		q.Before, q.From, q.Ascending = n+1, n, true
	}
	w := &late{call: c}
	o := audit.ExportOptions{Disclose: v.Get("disclose") == "true", Payloads: v.Get("payloads") == "true"}
	if err := a.deps.Evidence.Export(c.Context(), w, q, o); err != nil {
		if !w.begun {
			return nil, err
		}
		a.cfg.Log.Error("exporting evidence", "error", err)
		panic(http.ErrAbortHandler)
	}
	return streamed{}, nil
}

// late writes the header with the first byte.
type late struct {
	*call
	begun bool
}

func (l *late) Write(b []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/x-tar")
		l.w.Header().Set("Cache-Control", "no-store")
		l.w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	return l.w.Write(b)
}

func (a *API) reindex(c *call) (any, error) {
	var in struct{}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := a.deps.Evidence.Reindex(c.Context()); err != nil {
		return nil, err
	}
	return Done{true}, nil
}
