package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
)

// searchPage is evidence that was looked for. The query is the page's address.
type searchPage struct {
	Fields   []searchField
	Outcomes []filter
	Rows     []audit.Row
	Next     string
	Further  string    // goes on where the search gave up, "" where it did not
	Back     time.Time // with Further: so far back it looked
	Size     uint64
}

type searchField struct{ Name, Label, Value string }

func (c *Console) search(v *visit) (any, error) {
	p := searchPage{Size: c.work.Evidence.Size()}
	for _, f := range []searchField{{"text", "Text", ""}, {"agent", "Agent", ""}, {"subject", "Person", ""}, {"server", "Server", ""}, {"tool", "Tool", ""},
		{"session", "Session", ""}, {"task", "Task", ""}, {"grant", "Grant", ""}, {"label", "Label", ""}, {"policy", "Policy", ""}, {"decision", "Decision", ""},
		{"type", "Kind of event", ""}, {"status", "Status", ""}, {"trace", "Trace", ""}, {"since", "Since", ""}, {"until", "Until", ""}} {
		f.Value, f.Label = v.q.Get(f.Name), v.words.t(f.Label)
		p.Fields = append(p.Fields, f)
	}
	p.Outcomes = choices(v, "outcome", "permit", "deny", "mask", "require_approval", "rate_limit", "quarantine", "revoke", "terminate")
	q := audit.Query{
		Text: v.q.Get("text"), Agent: v.q.Get("agent"), Subject: v.q.Get("subject"), Server: v.q.Get("server"), Tool: v.q.Get("tool"), Session: v.q.Get("session"),
		Task: v.q.Get("task"), Decision: v.q.Get("decision"), Outcome: v.q.Get("outcome"),
		Grant: v.q.Get("grant"), Label: v.q.Get("label"), Policy: v.q.Get("policy"), Status: v.q.Get("status"), Trace: v.q.Get("trace"), Limit: rowsPerPage + 1,
	}
	if t := v.q.Get("type"); t != "" {
		q.Types = strings.Split(t, ",")
	}
	var err error
	if q.Since, err = moment(v, "since"); err != nil {
		return nil, err
	}
	if q.Until, err = moment(v, "until"); err != nil {
		return nil, err
	}
	if s := v.q.Get(cursorKey); s != "" {
		if q.Before, err = strconv.ParseUint(s, 10, 63); err != nil || q.Before == 0 {
			return nil, access.Errorf(access.CodeInvalid, "the address is not one that a search gave")
		}
	}
	part, err := c.work.Evidence.SearchPart(v.Context(), q)
	if err != nil {
		return nil, err
	}
	if part.Below > 0 {
		p.Back, p.Further = part.Back, more(v, cursorKey, strconv.FormatUint(part.Below, 10))
	}
	p.Rows, p.Next = newest(v, part.Rows, func(r audit.Row) string { return strconv.FormatUint(r.Index, 10) })
	return p, nil
}

// moment reads a time, a day or a span such as 1h that counts back from now.
func moment(v *visit, name string) (time.Time, error) {
	s := v.q.Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return v.now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, access.Errorf(access.CodeInvalid, "%s: write a time such as 2026-11-24T10:00:00Z, a day, or a span such as 1h", name)
}

// maxStory is how many leaves of a story are shown, the newest.
const maxStory = 100

// eventPage is the whole story of a call or a change: every leaf of it, in order.
type eventPage struct {
	Row    audit.Row
	Chain  []chainLink // how it came to be permitted
	Around []audit.Row // what was changed of that
	Leaves []leafView
	Longer bool   // it has leaves that are not here
	Proof  string // address of the proof
	Why    string // address of why it was decided so, "" where nothing was
	File   string
}

type leafView struct {
	Index   uint64
	Type    string
	At      time.Time
	Status  string
	Erased  bool
	Gone    time.Time // when retention deleted the excerpt
	Sealed  []fact
	Excerpt string
	Total   uint64
	Raw     string
}

func (c *Console) event(v *visit) (any, error) {
	index, err := strconv.ParseUint(v.PathValue("index"), 10, 63)
	if err != nil || index >= c.work.Evidence.Size() {
		return nil, access.Errorf(access.CodeNotFound, "the log has no such leaf")
	}
	rev, err := c.work.Evidence.Reveal(v.Context(), index)
	if err != nil {
		return nil, err
	}
	leaves, longer := []uint64{index}, false
	row := rev.Row
	if row.Decision != "" {
		rows, err := c.work.Evidence.Search(v.Context(), audit.Query{Decision: row.Decision, Limit: maxStory + 1})
		if err != nil {
			return nil, err
		}
		longer = len(rows) > maxStory
		rows = rows[:min(len(rows), maxStory)]
		if len(rows) > 0 {
			leaves, row = audit.LeavesOf(rows), rows[len(rows)-1]
		}
		if !slices.Contains(leaves, index) {
			leaves = append(leaves, index)
			slices.Sort(leaves)
		}
	}
	why := ""
	if row.Decision != "" && row.Outcome != "" {
		why = at("decisions", row.Decision)
	}
	p := eventPage{Row: row, Why: why, Longer: longer, File: fmt.Sprintf("proof-%d.json", index), Proof: at("evidence", strconv.FormatUint(index, 10), "proof")}
	if p.Chain, p.Around, err = c.around(v, &row); err != nil {
		return nil, err
	}
	for _, i := range leaves {
		l, err := c.leaf(v, i)
		if err != nil {
			return nil, err
		}
		p.Leaves = append(p.Leaves, l)
	}
	return p, nil
}

func (c *Console) leaf(v *visit, index uint64) (leafView, error) {
	rev, err := c.work.Evidence.Reveal(v.Context(), index)
	if err != nil {
		return leafView{}, err
	}
	l := leafView{Index: index, Type: rev.Row.Type, At: rev.Row.At, Status: rev.Row.Status, Erased: rev.Erased, Gone: rev.Gone, Excerpt: block(string(rev.Payload)), Total: rev.Total}
	keys := make([]string, 0, len(rev.Sealed))
	for k := range rev.Sealed {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		l.Sealed = append(l.Sealed, fact{line(k), block(rev.Sealed[k])})
	}
	raw, err := json.MarshalIndent(json.RawMessage(rev.Leaf), "", "  ")
	l.Raw = block(string(raw))
	return l, err
}

// proof hands out the proof of a story as a file.
func (c *Console) proof(w http.ResponseWriter, r *http.Request) {
	v, ok := c.visitor(w, r, admin.OpEvidence)
	if !ok {
		return
	}
	data, err := c.event(v)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	p, _ := data.(eventPage)
	var leaves []uint64
	for _, l := range p.Leaves {
		leaves = append(leaves, l.Index)
	}
	b, err := c.work.Evidence.Proof(r.Context(), leaves)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", "attachment; filename="+url.PathEscape(p.File))
	_, _ = w.Write(b) // the reader may have gone
}
