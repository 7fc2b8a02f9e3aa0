package eval

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"rutile/internal/inspect"
	"rutile/internal/rawjson"
)

// Tools measures the scanner of definitions.
func Tools(e *inspect.Engine, in io.Reader, o Options) (Result, error) {
	return judged("tools", in, o, func(line rawjson.Value) (func() inspect.Report, error) {
		tool, notes := line.Get("tool"), line.Get("annotations")
		if tool.Kind() != rawjson.Object {
			return nil, fmt.Errorf("it has no tool")
		}
		if notes.Kind() == rawjson.Object && !tool.Get("annotations").Exists() {
			raw := rawjson.Splice(tool.Raw(), shifted(tool, rawjson.SetMember(tool, "annotations", notes.Raw())))
			var err error
			if tool, err = rawjson.Parse(raw, rawjson.Limits{}); err != nil {
				return nil, fmt.Errorf("with its annotations: %w", err)
			}
		}
		peers := peersOf(e, line)
		if peers == nil {
			return func() inspect.Report { return e.Definition(tool) }, nil
		}
		server, _ := line.Get("server").Str()
		return func() inspect.Report {
			alone, beside := e.Definition(tool), peers.Against(server, tool)
			return inspect.Combine(slices.Concat(alone.Findings, beside.Findings))
		}, nil
	})
}

// peersOf compiles the tools of other servers a record names, nil if none.
func peersOf(e *inspect.Engine, line rawjson.Value) *inspect.Peers {
	var peers []inspect.Peer
	for p := range line.Get("peers").Items() {
		var one inspect.Peer
		one.Server, _ = p.Get("server").Str()
		one.Name, _ = p.Path("tool", "name").Str()
		one.Description, _ = p.Path("tool", "description").Str()
		peers = append(peers, one)
	}
	if len(peers) == 0 {
		return nil
	}
	return e.Peers(peers)
}

// shifted is an edit of v as an edit of v's own bytes.
func shifted(v rawjson.Value, e rawjson.Edit) rawjson.Edit {
	start, _ := v.Span()
	e.Start, e.End = e.Start-start, e.End-start
	return e
}

// Outputs measures the inspection of results.
func Outputs(e *inspect.Engine, in io.Reader, o Options) (Result, error) {
	return judged("outputs", in, o, func(line rawjson.Value) (func() inspect.Report, error) {
		text, err := content(line)
		if err != nil {
			return nil, err
		}
		return func() inspect.Report { return e.Text(inspect.Result, text) }, nil
	})
}

// content returns the text of a record, which may stand in base64.
func content(line rawjson.Value) ([]byte, error) {
	if s, ok := line.Get("content").Str(); ok {
		return []byte(s), nil
	}
	if s, ok := line.Get("content_b64").Str(); ok {
		text, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, fmt.Errorf("content_b64: %w", err)
		}
		return text, nil
	}
	return nil, fmt.Errorf("it has no content")
}

// judged reads a set, judges every row and counts.
func judged(set string, in io.Reader, o Options, prepare func(rawjson.Value) (func() inspect.Report, error)) (Result, error) {
	var rows []row
	var micros []float64
	now := o.Now
	if now == nil {
		now = func() time.Time { return time.Time{} }
	}
	err := Lines(in, func(line []byte) error {
		v, err := rawjson.Parse(line, rawjson.Limits{Bytes: maxLine})
		if err != nil {
			return err
		}
		var a answers
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("reading the record: %w", err)
		}
		r, err := a.row("poisoned")
		if err != nil {
			return err
		}
		judge, err := prepare(v)
		if err != nil {
			return fmt.Errorf("record %q: %w", a.ID, err)
		}
		start := now()
		r.report = judge()
		micros = append(micros, float64(now().Sub(start).Nanoseconds())/1000)
		rows = append(rows, r)
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	return result(set, rows, micros, o), nil
}
