package gate

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/boundary"
	"rutile/internal/inspect"
	"rutile/internal/pdp"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// Placeholders keeps values a model does not see. Boundary's book is one.
type Placeholders interface {
	Issue(ctx context.Context, session string, values []boundary.Value) ([]string, error)
	Find(ctx context.Context, session string, tokens []string) (map[string]boundary.Row, error)
	Reveal(ctx context.Context, session string, tokens []string) (map[string]string, error)
}

// findEchoed is the finding of an answer that repeated a value restored for it.
const findEchoed = "placeholder.echoed"

// tokensIn are the placeholders the request names: in its arguments, and in what it
// asks for.
func tokensIn(r *access.Request) (inside, outside []string) {
	outside = boundary.Tokens(r.Target)
	if !bytes.Contains(r.Arguments.Raw(), []byte("UTILE_")) && bytes.IndexByte(r.Arguments.Raw(), '\\') < 0 {
		return nil, outside
	}
	eachText(r.Arguments, func(v rawjson.Value, key bool) {
		text, _ := v.Str()
		if key {
			outside = merge(outside, boundary.Tokens(text))
		} else {
			inside = merge(inside, boundary.Tokens(text))
		}
	})
	return inside, outside
}

// eachText calls do with every string of v, keys too.
func eachText(v rawjson.Value, do func(v rawjson.Value, key bool)) {
	switch v.Kind() {
	case rawjson.String:
		do(v, false)
	case rawjson.Array:
		for item := range v.Items() {
			eachText(item, do)
		}
	case rawjson.Object:
		for k, member := range v.Members() {
			do(k, true)
			eachText(member, do)
		}
	}
}

// names looks up the placeholders of r. It returns a denial where one is none of the
// session's, or stands where no value can be put: it is never sent as a guess.
func (g *Gate) names(ctx context.Context, state *pdp.State, r *access.Request) (*access.Decision, error) {
	r.Placeholders = nil
	if r.Unknown {
		return nil, nil
	}
	inside, outside := tokensIn(r)
	if len(inside)+len(outside) == 0 {
		return nil, nil
	}
	no := func(reason, help string) (*access.Decision, error) {
		return &access.Decision{ID: r.ID, Class: access.ClassArguments, Reason: reason, Help: help}, nil
	}
	if len(outside) > 0 || r.Kind != access.KindTool && r.Kind != access.KindPrompt {
		return no("a placeholder stands where no value can be put", "use placeholders as values of arguments only")
	}
	rows, err := g.values.Find(ctx, r.Who.Session, inside)
	if err != nil {
		return nil, err
	}
	server, _ := state.View.Server(r.Server)
	for _, t := range inside {
		row, ok := rows[t]
		if !ok {
			return no("a placeholder in the arguments is none of this session's", "fetch the value again in this session and use the placeholder you are given then")
		}
		p := access.Placeholder{Token: t, Label: row.Label, Kind: row.Kind, Server: row.Server}
		if !server.MayRestore(r.Target, p) {
			return no("this tool may not be given the value of "+t, "leave it out, or ask "+server.Owner+" to name the tool under restore in the server's manifest")
		}
		r.Placeholders = append(r.Placeholders, p)
	}
	return nil, nil
}

// restore puts the values of the placeholders into args, which is what is sent of r.
// The result must fit the tool's approved definition as what came had to.
func (g *Gate) restore(ctx context.Context, state *pdp.State, r *access.Request, args rawjson.Value) (sent []byte, values map[string]string, err error) {
	tokens := make([]string, len(r.Placeholders))
	for i, p := range r.Placeholders {
		tokens[i] = p.Token
	}
	if values, err = g.values.Reveal(ctx, r.Who.Session, tokens); err != nil {
		return nil, nil, err
	}
	sent = replaceTexts(args, func(text string) string {
		return boundary.Restore(text, values)
	})
	again, err := rawjson.Parse(sent, rawjson.Limits{Bytes: len(sent) + 1})
	if err != nil {
		return nil, nil, access.Errorf(access.CodeInternal, "arguments with values in place of placeholders cannot be read: %w", err)
	}
	if r.Kind == access.KindTool {
		if why := state.View.Fits(r.Server, registry.NameOf(registry.KindTool, r.Target), again); why != "" {
			return nil, nil, access.Errorf(access.CodeInvalid, "with its values in place of placeholders the call does not fit the tool's definition; send the argument in another form")
		}
	}
	return sent, values, nil
}

// replaceTexts returns v as it is written with every string value changed.
func replaceTexts(v rawjson.Value, change func(string) string) []byte {
	start, _ := v.Span()
	var edits []rawjson.Edit
	eachText(v, func(s rawjson.Value, key bool) {
		text, _ := s.Str()
		if key {
			return
		}
		if now := change(text); now != text {
			from, to := s.Span()
			edits = append(edits, rawjson.Edit{Start: from - start, End: to - start, Text: rawjson.AppendString(nil, now)})
		}
	})
	return rawjson.Splice(v.Raw(), edits...)
}

// unecho puts placeholders where msg repeats values restored for the call. ok is
// false where a value is left, as in a key.
func (p *outflow) unecho(msg []byte) (out []byte, found, ok bool) {
	if len(p.restored) == 0 {
		return msg, false, true
	}
	root, err := rawjson.Parse(msg, rawjson.Limits{Bytes: len(msg) + 1})
	if err != nil {
		return nil, true, false
	}
	// A longer value first: another may be part of it.
	tokens := make([]string, 0, len(p.restored))
	for t := range p.restored {
		tokens = append(tokens, t)
	}
	slices.SortFunc(tokens, func(a, b string) int {
		if d := len(p.restored[b]) - len(p.restored[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	ok = true
	var edits []rawjson.Edit
	var walk func(v rawjson.Value)
	hide := func(v rawjson.Value, text string) {
		now := text
		for _, t := range tokens {
			now = strings.ReplaceAll(now, p.restored[t], t)
		}
		if now != text {
			start, end := v.Span()
			edits = append(edits, rawjson.Edit{Start: start, End: end, Text: rawjson.AppendString(nil, now)})
		}
	}
	walk = func(v rawjson.Value) {
		switch v.Kind() {
		case rawjson.String:
			text, _ := v.Str()
			hide(v, text)
		case rawjson.Number:
			if slices.ContainsFunc(tokens, func(t string) bool { return p.restored[t] == string(v.Raw()) }) {
				hide(v, string(v.Raw()))
			}
		case rawjson.Array:
			for item := range v.Items() {
				walk(item)
			}
		case rawjson.Object:
			for k, member := range v.Members() {
				name, _ := k.Str()
				for _, t := range tokens {
					ok = ok && !strings.Contains(name, p.restored[t])
				}
				walk(member)
			}
		}
	}
	walk(root)
	return rawjson.Splice(msg, edits...), len(edits) > 0 || !ok, ok
}

// named gives every value in found a placeholder of the caller's session, by its text.
// Where there is no session, or it cannot be kept, a word stands for the kind.
func (p *outflow) named(ctx context.Context, s *sight, sets []string) (map[string]string, error) {
	var values []boundary.Value
	seen := map[string]bool{}
	for _, v := range s.data {
		for _, d := range v.Found {
			key := keyOf(d, v.Text)
			if slices.Contains(sets, string(d.Label)) && !seen[key] {
				seen[key] = true
				values = append(values, boundary.Value{Text: v.Text[d.Start:d.End], Label: string(d.Label), Kind: d.Kind, Server: p.req.Server, Tool: p.req.Target})
			}
		}
	}
	if len(values) == 0 || p.req.Who.Session == "" {
		return nil, nil
	}
	tokens, err := p.gate.values.Issue(ctx, p.req.Who.Session, values)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(tokens))
	for i, v := range values {
		out[v.Label+"."+v.Kind+":"+v.Text] = tokens[i]
	}
	return out, nil
}

// keyOf names a value with its kind.
func keyOf(d inspect.Datum, text string) string {
	return string(d.Label) + "." + d.Kind + ":" + text[d.Start:d.End]
}
