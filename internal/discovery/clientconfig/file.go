package clientconfig

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery"
)

// strengthConfigured is the weight of an entry of a client (discovery.md 3).
const strengthConfigured = 0.95

// file reads one file for all the rows that lead to it.
func (x *scan) file(ctx context.Context, f *found) {
	show := x.cfg.Paths.Show(f.path)
	cov := discovery.Coverage{Row: f.rows[0].ID, Place: show}
	var parsed []*Row
	for _, r := range f.rows {
		x.uses(r)
		if r.Read == "parse" {
			parsed = append(parsed, r)
		}
	}
	if len(parsed) == 0 {
		x.presence(f)
		return
	}
	raw, refused := x.within(ctx, f)
	if refused != nil {
		cov.Outcome, cov.Why = refused.outcome, refused.why
		x.into.Looked(cov)
		return
	}
	cov.Outcome = discovery.Read
	for _, group := range byFormat(parsed) {
		n, bad := x.parsed(ctx, f, raw, group)
		cov.Entries = max(cov.Entries, n)
		if bad != nil {
			cov.Outcome, cov.Why = discovery.Unreadable, bad.Error()
		}
	}
	x.into.Looked(cov)
}

// within reads a file in the time of a row: one on a disk that does not answer is
// left behind.
func (x *scan) within(ctx context.Context, f *found) ([]byte, *refusal) {
	type result struct {
		raw []byte
		bad *refusal
	}
	x.tried(f.path)
	ctx, cancel := context.WithTimeout(ctx, rowTime)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		raw, _, bad := read(f.path, f.base)
		done <- result{raw, bad}
	}()
	select {
	case r := <-done:
		return r.raw, r.bad
	case <-ctx.Done():
		return nil, &refusal{discovery.Cut, "took more than " + rowTime.String()}
	}
}

// byFormat groups rows that read a file the same way. JSON and JSONC are parsed
// by one parser.
func byFormat(rows []*Row) [][]*Row {
	var out [][]*Row
	same := func(a, b *Row) bool {
		json := func(r *Row) string { return strings.TrimSuffix(r.Format, "c") }
		return json(a) == json(b) && a.Container == b.Container
	}
	for _, r := range rows {
		i := slices.IndexFunc(out, func(g []*Row) bool { return same(g[0], r) })
		if i < 0 {
			out = append(out, nil)
			i = len(out) - 1
		}
		out[i] = append(out[i], r)
	}
	return out
}

// parsed reads a file in one format and returns how many servers it names.
func (x *scan) parsed(ctx context.Context, f *found, raw []byte, rows []*Row) (int, *syntaxError) {
	format := rows[0].Format
	switch {
	case rows[0].Container == "frontmatter":
		head, ok := frontMatter(raw)
		if !ok {
			return 0, nil
		}
		raw = head
	case format == "sqlite":
		return x.database(ctx, f, rows[0]), nil
	case format == "plist":
		inner, ok := plistTOML(raw, rows[0].Root)
		if !ok {
			return 0, nil
		}
		raw, format = inner, "toml"
		rows = []*Row{rows[0].unpacked()}
	}
	if len(bytes.TrimSpace(bytes.TrimPrefix(raw, []byte(bom)))) == 0 {
		return 0, nil
	}
	d, bad := parse(raw, format)
	if bad != nil {
		return 0, x.unparsable(f, raw, rows, bad)
	}
	type group struct {
		e    entry
		rows []*Row
	}
	var groups []group
	for _, r := range rows {
		es := x.entries(d, r)
		if len(es) == 0 {
			x.follow(ctx, f, d, r)
		}
		if r.Gate == "shape" && !slices.ContainsFunc(es, func(e entry) bool { return isServer(e.node) }) {
			continue
		}
		for _, e := range es {
			i := slices.IndexFunc(groups, func(g group) bool { return g.e.node == e.node && g.e.pointer == e.pointer })
			if i < 0 {
				groups = append(groups, group{e: e})
				i = len(groups) - 1
			}
			groups[i].rows = append(groups[i].rows, r)
		}
	}
	for _, g := range groups {
		e := g.e
		e.doubts = append(e.doubts, d.doubts...)
		x.entry(f, &e, g.rows)
	}
	if len(groups) > 0 {
		x.strict(f, d, rows)
		x.ended(f, rows)
	}
	return len(groups), nil
}

// unparsable says that a file cannot be read. One with a name many programs use
// counts only if it looks like servers.
func (x *scan) unparsable(f *found, raw []byte, rows []*Row, bad *syntaxError) *syntaxError {
	gated := !slices.ContainsFunc(rows, func(r *Row) bool { return r.Gate == "" })
	if gated && !mentions(raw, rows) {
		return nil
	}
	at := discovery.Place{Path: x.cfg.Paths.Show(f.path), Line: bad.line}
	x.into.Find(discovery.NewFinding(discovery.Unparsable, discovery.Medium, "", at,
		"a configuration of "+clientsOf(rows)+" that cannot be read: "+bad.why+"; what the client makes of it is not known", "mend the file, or have its client write it anew"))
	return bad
}

// mentions reports whether text has the key of servers of one of the rows in it.
func mentions(raw []byte, rows []*Row) bool {
	for _, r := range rows {
		for _, root := range r.Root {
			if len(root) > 0 && bytes.Contains(raw, []byte(root[len(root)-1])) {
				return true
			}
		}
	}
	return false
}

func clientsOf(rows []*Row) string {
	var names []string
	for _, r := range rows {
		if !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return strings.Join(names, ", ")
}

// entry tells of one server a file names, in each way it is read.
func (x *scan) entry(f *found, e *entry, rows []*Row) {
	at := discovery.Place{Path: x.cfg.Paths.Show(f.path), Pointer: e.pointer, Line: e.line}
	readings := e.readings(rows)
	ambiguous := len(e.doubts) > 0
	var perRow = map[*Row]int{}
	for _, r := range readings {
		for _, row := range r.rows {
			perRow[row]++
		}
	}
	for i := range readings {
		r := &readings[i]
		s := x.sighting(f, e, r, at)
		if slices.ContainsFunc(r.rows, func(row *Row) bool { return perRow[row] > 1 }) {
			s.Reading = joined(r.modes)
			ambiguous = true
		} else if len(readings) > 1 {
			s.Reading = joined(r.rows)
		}
		if r.raw.unsure {
			e.doubts = append(e.doubts, "whether it is switched off is a truth value to some readers and a text to others")
			ambiguous = true
		}
		x.into.Saw(s)
		x.judge(&s, r, at)
	}
	if ambiguous {
		why := strings.Join(e.doubts, "; ")
		if why == "" {
			why = "a key of the entry is there twice or in another case"
		}
		key := x.describe(f, readings[0].raw).Target.Key
		x.into.Find(discovery.NewFinding(discovery.AmbiguousConfig, discovery.High, key, at,
			"programs read this entry differently: "+why, "leave one key of each name, written as the client's manual has it"))
	}
}

func joined[T any](list []T) string {
	var out []string
	for _, v := range list {
		switch v := any(v).(type) {
		case mode:
			out = append(out, string(v))
		case *Row:
			out = append(out, v.Client)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func (x *scan) describe(f *found, r raw) discovery.Description {
	spec := r.spec
	if spec.Dir == "" && f.rows[0].Scope == string(discovery.ScopeProject) {
		spec.Dir = f.base // clients start a project's servers in its folder
	}
	if len(spec.Args) == 0 && strings.ContainsAny(spec.Command, " \t") && !exists(spec.Command) {
		if words := discovery.Words(spec.Command); len(words) > 1 {
			spec.Command, spec.Args = words[0], words[1:] // as clients do that start it with a shell
		}
	}
	return x.cfg.Describe.Describe(spec)
}

// sighting is an entry as one kind of reader sees it.
func (x *scan) sighting(f *found, e *entry, r *reading, at discovery.Place) discovery.Sighting {
	d := x.describe(f, r.raw)
	s := discovery.Sighting{
		Fact: discovery.Configured, Strength: strengthConfigured, Scope: discovery.Scope(r.rows[0].Scope), Place: at,
		Name: shown(e.name), Disabled: r.raw.disabled, Target: d.Target, Scopes: d.Scopes, Executable: d.Executable,
	}
	for _, row := range r.rows {
		if !slices.Contains(s.Clients, row.Client) {
			s.Clients = append(s.Clients, row.Client)
		}
		s.Rows = append(s.Rows, row.ID)
	}
	for _, p := range slices.Concat(r.raw.env, r.raw.headers, r.raw.fields) {
		s.Secrets = append(s.Secrets, discovery.Secret(shown(p.name), p.where, p.value))
	}
	s.Secrets = append(s.Secrets, d.Secrets...)
	if s.Target.Key == "" {
		s.Target.Kind = discovery.KindOpaque
		s.Target.Key = "opaque:" + r.rows[0].Client + ":" + shown(e.name)
		if r.rows[0].Client == "docker-mcp" {
			s.Target.Kind, s.Target.Key = discovery.KindHub, "hub:docker-mcp:"+shown(e.name)
		}
	}
	if s.Scope == discovery.ScopeProject {
		s.CodeOwners = discovery.CodeOwners(f.path)
	}
	s.Why = append(s.Why, "an entry of "+r.rows[0].Name)
	if r.raw.both {
		what := "the command"
		if r.raw.spec.URL != "" {
			what = "the address"
		}
		s.Why = append(s.Why, "it has a command and an address; the client takes "+what)
	}
	return s
}

// presence tells of a file that is there and is not read.
func (x *scan) presence(f *found) {
	r := f.rows[0]
	x.into.Looked(discovery.Coverage{Row: r.ID, Place: x.cfg.Paths.Show(f.path), Outcome: discovery.Read, Why: "there, and not read further"})
	if r.Format == "script" {
		at := discovery.Place{Path: x.cfg.Paths.Show(f.path)}
		x.into.Find(discovery.NewFinding(discovery.ExecutableConfig, discovery.Medium, "", at,
			"a configuration of "+r.Name+" that is a program: what it sets up is not known without running it, which is not done", "move the servers to the client's plain configuration"))
	}
}

// uses tells that somebody uses a client whose own file is there.
func (x *scan) uses(r *Row) {
	if r.Scope == string(discovery.ScopeUser) || r.Scope == string(discovery.ScopeWorkspace) {
		x.into.Uses(discovery.Agent{Client: r.Client, Name: r.Name, Home: x.cfg.Paths.Show(x.home.Dir), Supported: !r.EndOfLife})
	}
}

// days is a time as whole days before now.
func days(now, then time.Time) int { return int(now.Sub(then).Hours() / 24) }
