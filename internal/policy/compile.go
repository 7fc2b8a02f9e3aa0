package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// Layers of a set, in the order they are listed.
const (
	LayerBaseline     = "baseline"
	LayerOrganisation = "organisation"
	LayerTeam         = "team"
	LayerGenerated    = "generated"
)

// Set is a compiled, immutable policy set. It is safe for concurrent use.
type Set struct {
	statements []*statement
	index      index
	inputs     map[string]*typ // action → type of its input, where it has one
	facts      map[string]bool // declared, by id: whether it is true or false
	factsRead  []string        // by some statement, sorted
	// factsEnforced are those that some statement reads which is enforced.
	factsEnforced []string
	ownFacts      bool // some statement reads what the gateway finds in arguments
	touched       bool // some statement besides the baseline's reads what sessions touched
	schema        string
	digest        string
	warnings      Problems
	unlabelled    Problems // labels nobody knows
	tried         *Set     // with the statements that are only tried; nil if there are none
}

// statement is one Cedar policy.
type statement struct {
	id     string
	source *Policy
	piece  piece
	permit bool
	full   *ast.Policy       // as written
	said   [sha256.Size]byte // what it says besides its annotations
	body   *cedar.Policy     // conditions only, see bodyOf
	bare   bool              // there are no conditions
	scope  scope
	reads  reads
	advice string
	owner  string     // who answers for it, as @owner says
	effect effect     // of a forbid that matches, besides denying
	list   *AllowList // the allow-list it was compiled from
	right  string     // the entitlement it was compiled from
	shadow bool       // @mode("shadow"): evaluated, never enforced
	// asking says that it is about the action "request", approve what a permit says
	// of who must approve.
	asking  bool
	approve Approve
}

func (s *statement) file() string { return s.source.File }

// line returns the line of the statement in its file, or in its text.
func (s *statement) line() int { return place(s.source, s.piece.line) }

func place(p *Policy, line int) int { return line + max(p.Line, 1) - 1 }

// Compile returns the set of the baseline, policies and the allow-lists of c,
// or an access.Error of CodeInvalid whose cause is Problems: every mistake of
// every policy with its place.
func Compile(policies []Policy, c Catalog) (*Set, error) { return (*Set)(nil).Recompile(policies, c) }

// Recompile does what Compile does and takes over from s, which stays as it is, the
// statements of every policy that still says the same. They are most of what a set is
// made of, so that a change of the catalog neither reads them anew nor leaves a second
// set of them behind. A nil s has none.
func (s *Set) Recompile(policies []Policy, c Catalog) (*Set, error) {
	set, report := build(policies, &c, SeverityError, s)
	if len(report.Errors) > 0 {
		return nil, &access.Error{Code: access.CodeInvalid, Msg: report.Errors.Error(), Err: report.Errors}
	}
	return set, nil
}

// Load compiles policies that an earlier Compile accepted against a catalog that
// has changed since: a tool was listed for the first time, or its approved
// schema is another. What no longer fits the types is a warning in the report
// and stays in the set, where a read of a missing member errs and so denies. A
// server's listing can thus make a policy stricter, never stop the gateway.
func Load(policies []Policy, c Catalog) (*Set, Report, error) {
	set, report := build(policies, &c, SeverityWarning, nil)
	if len(report.Errors) > 0 {
		return nil, report, &access.Error{Code: access.CodeInvalid, Msg: report.Errors.Error(), Err: report.Errors}
	}
	return set, report, nil
}

// Check reports everything that is wrong with policies, and what is suspicious
// about them, without compiling a set to use.
func Check(policies []Policy, c Catalog) Report {
	set, report := build(policies, &c, SeverityError, nil)
	if len(report.Errors) > 0 {
		return report
	}
	b := &builder{catalog: &c, report: report, set: set}
	if c.Declared {
		b.strictLabels()
	}
	b.lint()
	return b.report
}

// builder collects statements and problems.
type builder struct {
	catalog *Catalog
	types   Severity // of a mistake in types
	report  Report
	set     *Set
	ids     map[string]*statement
	earlier map[string][]*statement // of another set, by the id of their policy
}

func build(policies []Policy, c *Catalog, onTypes Severity, earlier *Set) (*Set, Report) {
	b := &builder{catalog: c, types: onTypes, set: &Set{facts: make(map[string]bool)}, ids: make(map[string]*statement), earlier: earlier.byPolicy()}
	for _, f := range c.Facts {
		b.set.facts[f.ID] = f.Bool
	}
	base := baseline(c.Ladder)
	b.add(&base, true)
	sorted := slices.Clone(policies)
	slices.SortStableFunc(sorted, func(x, y Policy) int { return strings.Compare(x.ID, y.ID) })
	for i := range sorted {
		if !sorted[i].Retired() {
			p := sorted[i] // statements may outlive this set, and the others should not stay with them
			b.add(&p, false)
		}
	}
	lists := slices.Clone(c.AllowLists)
	slices.SortStableFunc(lists, func(x, y AllowList) int { return strings.Compare(x.Agent, y.Agent) })
	for i := range lists {
		b.allow(&lists[i])
	}
	rights := slices.Clone(c.Entitlements)
	slices.SortStableFunc(rights, func(x, y Entitlement) int { return strings.Compare(x.ID, y.ID) })
	for i := range rights {
		b.entitle(&rights[i])
	}
	b.validate()
	b.report.Statements = len(b.set.statements)
	b.report.Errors.sort()
	b.report.Warnings.sort()
	b.set.factsRead = factsOf(b.set.statements)
	b.set.ownFacts = slices.ContainsFunc(b.set.statements, func(s *statement) bool {
		return slices.ContainsFunc(s.reads.facts, func(id string) bool { return ownFacts[id] })
	})
	b.set.touched = slices.ContainsFunc(b.set.statements, func(s *statement) bool { return s.reads.mayTouch() && s.source.Layer != LayerBaseline })
	b.set.digest = digest(b.set.statements)
	b.set.warnings = b.report.Warnings
	b.set.part()
	b.set.factsEnforced = factsOf(b.set.statements)
	b.set.index = newIndex(b.set.statements)
	return b.set, b.report
}

// byPolicy returns the statements people wrote, by the id of their policy where that is
// one policy's.
func (s *Set) byPolicy() map[string][]*statement {
	if s == nil {
		return nil
	}
	out := make(map[string][]*statement)
	for _, st := range s.all() {
		if st.list == nil && st.right == "" && st.source.Layer != LayerBaseline {
			out[st.source.ID] = append(out[st.source.ID], st)
		}
	}
	maps.DeleteFunc(out, func(_ string, of []*statement) bool { return of[0].source != of[len(of)-1].source })
	return out
}

// same reports whether p gives the statements that q gives.
func (p *Policy) same(q *Policy) bool {
	return p.ID == q.ID && p.Cedar == q.Cedar && p.Layer == q.Layer && p.File == q.File && p.Line == q.Line
}

// factsOf returns the facts that statements read, sorted.
func factsOf(statements []*statement) []string {
	var out []string
	for _, s := range statements {
		out = append(out, s.reads.facts...)
	}
	out = slices.DeleteFunc(out, OwnFact)
	slices.Sort(out)
	return slices.Compact(out)
}

// problem records a mistake at a place of a policy's own text.
func (b *builder) problem(sev Severity, p *Policy, line, col int, format string, args ...any) {
	x := Problem{
		Severity: sev, Policy: p.ID, File: p.File, Line: place(p, line), Column: col,
		Source: lineOf(p.Cedar, line), Message: fmt.Sprintf(format, args...),
	}
	if sev == SeverityError {
		b.report.Errors = append(b.report.Errors, x)
	} else {
		b.report.Warnings = append(b.report.Warnings, x)
	}
}

// add parses one Policy and keeps its statements.
func (b *builder) add(p *Policy, builtin bool) {
	if len(p.Cedar) > maxText {
		b.problem(SeverityError, p, 1, 1, "the text has %d bytes, more than %d; split it", len(p.Cedar), maxText)
		return
	}
	if old := b.earlier[p.ID]; !builtin && len(old) > 0 && old[0].source.same(p) {
		for _, s := range old {
			b.enlist(s)
		}
		return
	}
	pieces := split(p.Cedar)
	if len(pieces) == 0 {
		b.problem(SeverityError, p, 1, 1, "there is no policy in it")
	}
	for i, piece := range pieces {
		pol, line, col, err := piece.parse()
		if err != nil {
			b.problem(SeverityError, p, line, col, "%v", err)
			continue
		}
		s := &statement{source: p, piece: piece, full: pol.AST(), id: p.ID}
		if len(pieces) > 1 {
			s.id = fmt.Sprintf("%s.%d", p.ID, i+1)
		}
		if b.annotations(s, builtin) {
			b.keep(s)
		}
	}
}

// enlist adds a complete statement to the set, and reports whether its id was free.
func (b *builder) enlist(s *statement) bool {
	if other, dup := b.ids[s.id]; dup {
		b.problem(SeverityError, s.source, s.piece.line, s.piece.col,
			"the id %q is taken by %s:%d; give one of them another @id", s.id, cmpOr(other.file(), "policy "+other.source.ID), other.line())
		return false
	}
	b.ids[s.id] = s
	b.set.statements = append(b.set.statements, s)
	return true
}

// keep adds a statement to the set and completes it.
func (b *builder) keep(s *statement) {
	if !b.enlist(s) {
		return
	}
	s.permit = permits(s.full)
	s.scope = scopeOf(s.full)
	s.body = bodyOf(s.full)
	s.reads = analyse(s.full)
	s.bare = len(s.full.Conditions) == 0
	s.said = sha256.Sum256([]byte(withoutAnnotations(s.full)))
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

var statementID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// annotations reads the closed list of annotations (access.md 2.5) and reports
// whether the statement may stand.
func (b *builder) annotations(s *statement, builtin bool) bool {
	before := len(b.report.Errors)
	wrong := func(key, format string, args ...any) {
		if key == "" {
			b.problem(SeverityError, s.source, s.piece.line, s.piece.col, format, args...)
			return
		}
		line, col := s.piece.find("@" + key)
		b.problem(SeverityError, s.source, line, col+1, format, args...)
	}
	notes := annotationsOf(s.full)
	keys := make([]string, 0, len(notes))
	for k := range notes {
		keys = append(keys, string(k))
	}
	slices.Sort(keys)
	for _, key := range keys {
		value := string(notes[types.AnnotationKey(key)])
		switch key {
		case "id":
			if !statementID.MatchString(value) {
				wrong(key, "@id(%q) must be letters, digits, '.', '_' and '-', at most 128", value)
			}
			s.id = value
		case "advice":
			s.advice = value
		case "owner":
			s.owner = value
		case "doc":
		case "outcome", "mask", "fact", "target", "approve": // together, below
		case "mode":
			if s.shadow = value == modeShadow; !s.shadow {
				wrong(key, "unknown @mode(%q); known is shadow", value)
			}
		default:
			wrong(key, "unknown annotation @%s; known are id, advice, owner, doc, outcome, approve, mask, fact, target, mode", key)
		}
	}
	s.effect = effectOf(s, notes, wrong)
	s.approval(notes, wrong)
	if !builtin && (strings.HasPrefix(s.id, "baseline.") || strings.HasPrefix(s.id, "allow.") || strings.HasPrefix(s.id, "entitlement.")) {
		wrong("id", "the id %q is reserved: baseline.…, allow.… and entitlement.… are Rutile's own", s.id)
	}
	return len(b.report.Errors) == before
}

// allow compiles one allow-list to one permit per server. It is built as a
// syntax tree, so no id or name in it can be read as Cedar.
func (b *builder) allow(l *AllowList) {
	src := &Policy{ID: "allow." + l.Agent, Layer: LayerGenerated}
	if !access.ValidID(l.Agent) {
		b.problem(SeverityError, src, 1, 1, "%q cannot be the id of an agent", l.Agent)
		return
	}
	actions, idle, errs := expand(*l, b.catalog)
	for _, text := range idle {
		b.problem(SeverityWarning, src, 1, 1, "tools of agent %s: %q covers none of the approved tools", l.Agent, text)
	}
	for _, err := range errs {
		b.problem(SeverityError, src, 1, 1, "tools of agent %s: %v", l.Agent, err)
	}
	servers := make([]string, 0, len(actions))
	for s := range actions {
		servers = append(servers, s)
	}
	slices.Sort(servers)
	for _, server := range servers {
		uids := make([]types.EntityUID, len(actions[server]))
		for i, a := range actions[server] {
			uids[i] = uid(typeAction, a)
		}
		id := src.ID + "." + server
		tree := ast.Annotation("id", types.String(id)).Permit().
			PrincipalEq(uid(typeAgent, l.Agent)).ActionInSet(uids...).ResourceIn(uid(typeServer, server))
		text := *src
		text.Cedar = written(tree)
		b.keep(&statement{id: id, source: &text, piece: piece{text: text.Cedar, line: 1, col: 1}, full: tree, list: l})
	}
}

// digest returns "sha256:…" over every statement with its id and, for
// allow-lists, its end.
func digest(statements []*statement) string {
	h := sha256.New()
	var n [8]byte
	put := func(s string) {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	for _, s := range statements {
		put(s.id)
		put(s.piece.text)
		if s.list != nil {
			put(s.list.Expires.UTC().Format(time.RFC3339Nano))
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Digest identifies the statements of the set: "sha256:…". Sets with the
// same texts and allow-lists have the same digest.
func (s *Set) Digest() string { return s.digest }

// Schema identifies the types the set was validated against: "sha256:…".
func (s *Set) Schema() string { return s.schema }

// Warnings returns what is suspicious about the set, sorted by place. It MUST NOT
// be changed.
func (s *Set) Warnings() Problems { return s.warnings }

// Unlabelled returns where policies name labels that are not in the catalog. They are
// warnings too, since what stands is not made invalid by what is declared later. It MUST
// NOT be changed.
func (s *Set) Unlabelled() Problems { return s.unlabelled }

// Statement is one Cedar policy of a Set, for people.
type Statement struct {
	ID     string `json:"id"`
	Policy string `json:"policy"` // the Policy it came from
	Layer  string `json:"layer"`
	Effect string `json:"effect"`         // permit or forbid
	Mode   string `json:"mode,omitempty"` // shadow: evaluated, never enforced
	File   string `json:"file,omitempty"`
	Line   int    `json:"line"`
	Owner  string `json:"owner,omitempty"` // who answers for it, as @owner says
	Cedar  string `json:"cedar"`
}

// Policies returns every statement of the set in the order of evaluation, those
// that are only tried too.
func (s *Set) Policies() []Statement {
	out := make([]Statement, len(s.all()))
	for i, st := range s.all() {
		out[i] = st.describe()
	}
	return out
}

func (s *statement) describe() Statement {
	effect := "forbid"
	if s.permit {
		effect = "permit"
	}
	mode := ""
	if s.shadow {
		mode = modeShadow
	}
	return Statement{ID: s.id, Policy: s.source.ID, Layer: cmpOr(s.source.Layer, LayerOrganisation), Effect: effect, Mode: mode,
		File: s.file(), Line: s.line(), Owner: s.owner, Cedar: s.piece.text}
}

// ProblemsOf returns the problems err carries, nil if it carries none.
func ProblemsOf(err error) Problems {
	var p Problems
	if errors.As(err, &p) {
		return p
	}
	return nil
}
