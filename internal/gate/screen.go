package gate

import (
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/boundary"
	"rutile/internal/inspect"
	"rutile/internal/policy"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// limitUnread is the finding of a message nobody could inspect. It is never clean.
const limitUnread = "limit.unread"

// screen inspects what one call brings back, message by message (inspection.md 7).
type screen struct {
	engine *inspect.Engine
	stream *inspect.Stream
	quiet  bool // findings are noted, and the words review and block are not said
	data   bool // some policy asks for secrets and personal data
	judge  *Consulted
	pages  *pages
	page   page // what this answer may be a page of
	begun  bool
}

// screenOf is the screen for what r brings back, nil where none is needed: a list
// holds definitions, which are approved or hidden, and a server's manifest may say
// that its results are not inspected.
func (g *Gate) screenOf(r *access.Request, server *registry.Server, data bool) *screen {
	if server.Inspection == registry.InspectionOff || r.Kind == access.KindServer && strings.HasSuffix(r.Method, "/list") {
		return nil
	}
	return &screen{judge: g.judge, engine: g.engine, stream: g.engine.Stream(), quiet: server.Inspection == registry.InspectionObserve, data: data, pages: &g.pages, page: pageOf(r)}
}

// sight is what was found in one message.
type sight struct {
	quiet bool
	seen  inspect.Seen
	root  rawjson.Value // of the message; Missing if it could not be read
	data  []inspect.Values
}

// look inspects one message. A nil screen sees nothing.
func (s *screen) look(msg []byte) sight {
	if s == nil || len(msg) == 0 {
		return sight{}
	}
	out := sight{quiet: s.quiet}
	root, err := rawjson.Parse(msg, rawjson.Limits{Bytes: len(msg) + 1})
	if err != nil {
		out.seen = inspect.Seen{Tier: inspect.Review, Parts: []inspect.Part{{Tier: inspect.Review, Findings: []inspect.Finding{{
			Rule: limitUnread, Family: "limit", Tier: inspect.Review, Weight: 1, Why: "could not be read"}}}}}
		return out
	}
	out.root = root
	out.seen = s.read(root)
	s.judge.consult(&out)
	if s.data {
		var over bool
		out.data, over = s.engine.Data(root)
		out.data = unmasked(out.data)
		if over {
			out.seen.Tier = max(out.seen.Tier, inspect.Review)
			out.seen.Parts = append(out.seen.Parts, inspect.Part{Tier: inspect.Review, Findings: []inspect.Finding{{
				Rule: "limit.leaves", Family: "limit", Tier: inspect.Review, Weight: .8, Why: "has more texts, or nested deeper, than are read"}}})
		}
	}
	return out
}

// read inspects one message after what came before it: in this answer, else in the last
// one of the same tool.
func (s *screen) read(root rawjson.Value) inspect.Seen {
	if s.page.session == "" {
		return s.stream.Inspect(root)
	}
	if !s.begun {
		if end, ok := s.pages.end(s.page); ok {
			s.stream.After(end)
		}
		s.begun = true
	}
	seen := s.stream.Inspect(root)
	s.pages.keep(s.page, s.stream.End())
	return seen
}

// unmasked leaves out what is only a placeholder, which looks like a secret itself.
func unmasked(all []inspect.Values) []inspect.Values {
	out := all[:0]
	for _, v := range all {
		v.Found = slices.DeleteFunc(v.Found, func(d inspect.Datum) bool {
			text := v.Text[d.Start:d.End]
			left := boundary.Without(text)
			return len(left) < len(text) && len(left) < 6
		})
		if len(v.Found) > 0 {
			out = append(out, v)
		}
	}
	return out
}

// again inspects a message that was changed, on its own.
func (s *screen) again(msg []byte) sight {
	if s == nil {
		return sight{}
	}
	fresh := *s
	fresh.stream, fresh.page = s.engine.Stream(), page{}
	return fresh.look(msg)
}

// without reports whether nothing is left of what the sets of @mask stand for.
func (s *sight) without(sets []string) bool {
	for _, set := range sets {
		switch set {
		case policy.MaskBlocked:
			if s.seen.Tier >= inspect.Block {
				return false
			}
		case policy.MaskReview:
			if s.seen.Tier >= inspect.Review {
				return false
			}
		case policy.MaskPII, policy.MaskSecret:
			if slices.Contains(s.labels(), set) {
				return false
			}
		}
	}
	return true
}

// empty reports whether nothing was found.
func (s *sight) empty() bool { return len(s.seen.Parts) == 0 && len(s.data) == 0 }

// findings are the ids of what was found, for policies: rules, kinds of data as
// "pii.email", and the word of the tier.
func (s *sight) findings() []string {
	var out []string
	add := func(id string) {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	for _, p := range s.seen.Parts {
		for _, f := range p.Findings {
			add(f.Rule)
		}
	}
	for _, v := range s.data {
		for _, d := range v.Found {
			add(string(d.Label) + "." + d.Kind)
		}
	}
	if s.quiet {
		return out
	}
	if s.seen.Tier >= inspect.Review {
		add(access.FoundReview)
	}
	if s.seen.Tier >= inspect.Block {
		add(access.FoundBlock)
	}
	return out
}

// labels are those of the data that was found.
func (s *sight) labels() []string {
	var out []string
	for _, v := range s.data {
		for _, d := range v.Found {
			if !slices.Contains(out, string(d.Label)) {
				out = append(out, string(d.Label))
			}
		}
	}
	slices.Sort(out)
	return out
}

// noted is what evidence keeps of it: where, and a commitment to the text.
func (s *sight) noted() []audit.Seen {
	var out []audit.Seen
	for _, p := range s.seen.Parts {
		text := textAt(s.root, p.Pointer)
		for _, f := range p.Findings {
			out = append(out, audit.Seen{Rule: f.Rule, At: inspect.Shown(p.Pointer), Start: f.Start, End: f.End, Tier: f.Tier.String(), Text: piece(text, f.Start, f.End)})
		}
	}
	for _, v := range s.data {
		for _, d := range v.Found {
			out = append(out, audit.Seen{Rule: string(d.Label) + "." + d.Kind, At: inspect.Shown(v.Pointer), Start: d.Start, End: d.End, Text: piece(v.Text, d.Start, d.End)})
		}
	}
	return out
}

func piece(text string, start, end int) []byte {
	if start < 0 || end > len(text) || start >= end {
		return []byte(text)
	}
	return []byte(text[start:end])
}

// textAt is the string at a pointer, else what stands there as it is written.
func textAt(root rawjson.Value, pointer string) string {
	v := root.At(pointer)
	if s, ok := v.Str(); ok {
		return s
	}
	return string(v.Raw())
}
