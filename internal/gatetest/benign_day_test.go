package gatetest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/registry"
	"rutile/internal/rehearsal"
)

// benignRow is a row of a labelled set that somebody found harmless.
type benignRow struct {
	ID, Source, Label string
	Tool              map[string]json.RawMessage
	Annotations       json.RawMessage
	Content           string
}

// benignRows reads the harmless rows of a set; of the answers nothing but the label is
// used. Where the file is missing it has none.
func benignRows(t *testing.T, file string) []benignRow {
	t.Helper()
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []benignRow
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var row benignRow
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if row.Label == "benign" {
			out = append(out, row)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// benignServer is what one source of a set lists.
type benignServer struct {
	id    string
	names []string
	defs  []string
	args  map[string]string // of a call that fits the schema, by tool
	ids   map[string]string // of rows, by tool
}

// benignServers makes a server of every source; a name it has twice counts once.
func benignServers(t *testing.T, rows []benignRow) []*benignServer {
	t.Helper()
	by := map[string]*benignServer{}
	var out []*benignServer
	for _, row := range rows {
		s := by[row.Source]
		if s == nil {
			s = &benignServer{id: fmt.Sprintf("s%02d", len(by)), args: map[string]string{}, ids: map[string]string{}}
			by[row.Source] = s
			out = append(out, s)
		}
		var name string
		if err := json.Unmarshal(row.Tool["name"], &name); err != nil {
			t.Fatalf("%s: %v", row.ID, err)
		}
		if s.ids[name] != "" {
			continue
		}
		if row.Annotations != nil {
			row.Tool["annotations"] = row.Annotations
		}
		def, err := json.Marshal(row.Tool)
		if err != nil {
			t.Fatal(err)
		}
		s.ids[name] = row.ID
		s.args[name] = "{}" // where the schema says nothing
		if args := fitting(row.Tool["inputSchema"]); strings.HasPrefix(args, "{") {
			s.args[name] = args
		}
		s.names, s.defs = append(s.names, name), append(s.defs, string(def))
	}
	return out
}

// fitting makes plain arguments for what a schema requires.
func fitting(schema json.RawMessage) string {
	type node struct {
		Type       any
		Enum       []json.RawMessage
		Const      json.RawMessage
		Properties map[string]json.RawMessage
		Required   []string
		Minimum    json.RawMessage
		MinItems   int
		Items      json.RawMessage
		AnyOf      []json.RawMessage
		OneOf      []json.RawMessage
	}
	var n node
	if json.Unmarshal(schema, &n) != nil {
		return `"quux7h"`
	}
	kind, _ := n.Type.(string)
	if many, ok := n.Type.([]any); ok && len(many) > 0 {
		kind, _ = many[0].(string)
	}
	switch alternatives := append(n.AnyOf, n.OneOf...); {
	case n.Const != nil:
		return string(n.Const)
	case len(n.Enum) > 0:
		return string(n.Enum[0])
	case kind == "" && n.Properties == nil && len(alternatives) > 0:
		return fitting(alternatives[0])
	case kind == "object" || n.Properties != nil:
		var members []string
		for _, name := range n.Required {
			key, _ := json.Marshal(name)
			members = append(members, string(key)+":"+fitting(n.Properties[name]))
		}
		return "{" + strings.Join(members, ",") + "}"
	case kind == "array":
		return "[" + strings.Join(slices.Repeat([]string{fitting(n.Items)}, n.MinItems), ",") + "]"
	case kind == "integer" || kind == "number":
		if n.Minimum != nil {
			return string(n.Minimum)
		}
		return "1"
	case kind == "boolean":
		return "false"
	case kind == "null":
		return "null"
	}
	return `"quux7h"`
}

// day is what happened to harmless tools and answers on their way.
type day struct {
	listed, held, called, denied, whole, masked, lost []string

	later  []string         // calls denied on the days after
	alarms rehearsal.Alarms // what the scores of all days come to
}

func (d *day) String() string {
	var b strings.Builder
	for _, one := range []struct {
		what string
		ids  []string
	}{{"tools held for a person", d.held}, {"calls denied", d.denied}, {"calls denied on later days", d.later}, {"answers masked", d.masked}, {"answers lost", d.lost}} {
		fmt.Fprintf(&b, "%s: %d %s\n", one.what, len(one.ids), one.ids)
	}
	return fmt.Sprintf("%d tools listed, %d called, %d answers whole\n%s", len(d.listed), len(d.called), len(d.whole), b.String())
}

// benignDay sends harmless tools and answers through a gateway as it is when nobody
// configured anything: every server is listed for the first time, and of the tools
// that are offered so many are called that every answer is given once. The same is done
// again on so many days, and what all of it comes to is scored.
func benignDay(t *testing.T, tools, outputs []benignRow, days int) *day {
	t.Helper()
	servers := benignServers(t, tools)
	answers := map[string]string{} // by server and tool
	var manifests strings.Builder
	next := 0
	var ids []string
	for _, s := range servers {
		p := newPeer(t, v2026)
		p.list("tools/list", toolList(s.defs...))
		p.handle("tools/call", func(x *exchange) {
			var params struct{ Name string }
			if err := json.Unmarshal([]byte(x.params), &params); err != nil {
				x.fault(-32602, "no name", "")
				return
			}
			x.text(answers[s.id+"/"+params.Name])
		})
		fmt.Fprintf(&manifests, "---\nkind: Agent\nid: bot-%s\nowner: team\npurpose: test\nriskTier: 1\ntools: [\"%s/*\"]\n", s.id, s.id)
		fmt.Fprintf(&manifests, "---\nkind: Server\nid: %s\nowner: team\ntransport: {http: {url: %q}}\nstate: sanctioned\n", s.id, p.URL+"/mcp")
		ids = append(ids, s.id)
	}
	r := newRig(t)
	r.apply(manifests.String(), ids...)
	d := &day{}
	var again []func(*day, map[string]string)
	for _, s := range servers {
		token := r.token("bot-"+s.id, s.id)
		seen := r.list(token, s.id)
		for _, name := range s.names {
			if !listShows(t, seen, "tools", name) {
				d.held = append(d.held, s.ids[name]+why(r, s.id, name))
				continue
			}
			d.listed = append(d.listed, s.ids[name])
			if next < len(outputs) {
				answer := outputs[next]
				answers[s.id+"/"+name] = answer.Content
				d.call(t, r, token, s, name, answer)
				again = append(again, func(d *day, tokens map[string]string) { d.call(t, r, tokens[s.id], s, name, answer) })
				next++
			} else if _, st := r.d.Admin.Current().View.Callable(s.id, name); !st.OK {
				d.denied = append(d.denied, s.ids[name])
			}
		}
	}
	if next < len(outputs) {
		t.Fatalf("%d of %d answers were given: too few tools are offered", next, len(outputs))
	}
	begins := []uint64{0} // leaves
	for len(begins) < days {
		begins = append(begins, r.d.Evidence.Size())
		tokens := map[string]string{} // a day is a session of its own
		for _, s := range servers {
			tokens[s.id] = r.token("bot-"+s.id, s.id)
		}
		var other day
		for _, call := range again {
			call(&other, tokens)
		}
		d.later, d.masked, d.lost = append(d.later, other.denied...), append(d.masked, other.masked...), append(d.lost, other.lost...)
	}
	d.alarms = r.alarmsOfDays(begins)
	return d
}

// alarmsOfDays scores what was recorded as if it had been on days, each of which begins
// with a leaf, in the order and at the pace it was recorded.
func (r *rig) alarmsOfDays(begins []uint64) rehearsal.Alarms {
	r.t.Helper()
	cur := r.d.Admin.Current()
	monday := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	on, from := -1, time.Time{}
	moved := func(yield func(audit.Moment, error) bool) {
		for m, err := range r.d.Evidence.Moments(r.t.Context(), 0, r.d.Evidence.Size()) {
			for on+1 < len(begins) && m.Index >= begins[on+1] {
				on, from = on+1, m.At
			}
			m.At = monday.AddDate(0, 0, on).Add(m.At.Sub(from))
			if m.Call != nil {
				m.Call.At = m.At
			}
			if !yield(m, err) {
				return
			}
		}
	}
	none := func(context.Context, string) (access.Held, bool, error) { return access.Held{}, false, nil }
	got, err := rehearsal.CountAlarms(r.t.Context(), moved, rehearsal.Alarming{State: &pdp.State{View: cur.View, Set: cur.Set}, Held: none})
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// quiet holds what harmless work came to: nobody is held or ended for it, or asked about
// it, and it says what was looked at.
func (d *day) quiet(t *testing.T, days int, known bool) {
	t.Helper()
	a := &d.alarms
	t.Logf("%d calls of %d agents on %d agent-days, %d of them known, %d of it not kept whole", a.Calls, a.Agents, a.AgentDays, a.Known, a.Partly)
	for _, g := range a.Rungs {
		t.Logf("%s: %d calls, %d crossings, on %d/%d agent-days (%s)", g.Rule, g.Calls, g.Crossings, g.Days.K, g.Days.N, g.Days.Interval())
		if g.Crossings > 0 {
			t.Errorf("%s is crossed", g.Rule)
		}
	}
	for _, th := range a.Thresholds {
		t.Logf("%d: a session on %d/%d, an agent on %d", th.Score, th.Session.K, th.Session.N, th.Agent.K)
	}
	for i := range a.Crossings {
		t.Logf("%s %s %+v", a.Crossings[i].Agent, a.Crossings[i].Action, *a.Crossings[i].Risk)
	}
	if len(d.later) > 0 {
		t.Errorf("calls of later days are denied: %s", d.later)
	}
	if a.Calls != days*len(d.called) || a.AgentDays != days*a.Agents || known != (a.Known > 0) {
		t.Errorf("%d calls on %d days are scored as %d, on %d agent-days of %d agents", len(d.called), days, a.Calls, a.AgentDays, a.Agents)
	}
}

// call calls a tool and notes what came of its answer.
func (d *day) call(t *testing.T, r *rig, token string, s *benignServer, name string, answer benignRow) {
	t.Helper()
	d.called = append(d.called, s.ids[name])
	got := r.call(token, s.id, name, s.args[name])
	var res struct {
		IsError bool
		Content []struct{ Text string }
	}
	switch {
	case got.msg.Result == nil || !permitted(t, got):
		d.denied = append(d.denied, s.ids[name]+" "+tail(got.body, 80))
	case json.Unmarshal(got.msg.Result, &res) != nil || len(res.Content) == 0:
		d.lost = append(d.lost, answer.ID)
	case res.Content[0].Text != answer.Content:
		d.masked = append(d.masked, answer.ID)
	default:
		d.whole = append(d.whole, answer.ID)
	}
}

// why are the rules for which a tool waits.
func why(r *rig, server, name string) string {
	tool, ok := r.d.Admin.Current().View.Tool(server, name)
	if !ok {
		return " (not kept)"
	}
	out := " (" + string(tool.State)
	if tool.Found != nil {
		for _, f := range tool.Found.Findings {
			if f.Tier != "" {
				out += " " + f.Tier + ":" + f.Rule + " " + f.Peer
			}
		}
	}
	return out + ")"
}

// What is harmless goes through with the defaults: ours always, the development sets
// where they are. Of those a few tools wait for a person, since words alone do not
// tell them from others and some sources copied tools of one another; none is taken
// for one that has to be blocked, no call is stopped, and no answer is touched. Done day
// after day, none of it takes a score to a rung.
func TestBenignDay(t *testing.T) {
	t.Parallel()
	own := filepath.Join("..", "inspect", "eval", "testdata")
	const ownDays = 14 // until 200 calls of an agent are known, and some days more
	days := 5
	if testing.Short() {
		days = 1
	}
	d := benignDay(t, benignRows(t, filepath.Join(own, "tools.jsonl")), benignRows(t, filepath.Join(own, "outputs.jsonl")), ownDays)
	d.quiet(t, ownDays, true)
	if len(d.listed) == 0 || len(d.held) > 0 || len(d.denied) > 0 || len(d.whole) < len(d.called) {
		t.Errorf("of our own: %s", d)
	}
	dir := os.Getenv("RUTILE_EVAL_SETS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	dir = filepath.Join(dir, "poisoning")
	tools, outputs := benignRows(t, filepath.Join(dir, "tools.jsonl")), benignRows(t, filepath.Join(dir, "outputs.jsonl"))
	if len(tools) == 0 || len(outputs) == 0 {
		t.Log("the development sets are not here: only our own went through (RUTILE_EVAL_SETS says where they are)")
		return
	}
	d = benignDay(t, tools, outputs, days)
	t.Log(d)
	d.quiet(t, days, days > 1)
	if len(d.denied) > 0 || len(d.whole) < len(d.called) || 80*len(d.held) > len(d.held)+len(d.listed) || strings.Contains(strings.Join(d.held, " "), registry.TierBlock+":") {
		t.Error("too much of it is stopped")
	}
}
