package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/api"
)

func TestEveryCodeHasItsStatus(t *testing.T) {
	want := map[access.Code]int{
		access.CodeInvalid: 400, access.CodeUsage: 400, access.CodeUnauthenticated: 401, access.CodeDenied: 403, access.CodeNotFound: 404,
		access.CodeConflict: 409, access.CodeTooLarge: 413, access.CodeFindings: 422, access.CodeUnsupported: 501, access.CodeUpstream: 502,
		access.CodeUnavailable: 503, access.CodeEvidence: 503, access.CodeTimeout: 504, access.CodePartial: 500, access.CodeInternal: 500,
	}
	for _, c := range access.Codes() {
		if got, ok := want[c]; !ok || api.HTTPStatus(c) != got {
			t.Errorf("%s: %d, want %d", c, api.HTTPStatus(c), got)
		}
	}
	if got := api.HTTPStatus("a code of another version"); got != 500 {
		t.Errorf("an unknown code: %d", got)
	}
}

// TestErrorsSurviveTheWire sends an error of every code and reads it back.
func TestErrorsSurviveTheWire(t *testing.T) {
	r := newRig(t)
	for _, c := range access.Codes() {
		w := httptest.NewRecorder()
		r.api.Refuse(w, request("GET", "/api/v1/status", ""), fmt.Errorf("doing it: %w", access.Errorf(c, "what happened; do that")))
		if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s: Content-Type %q", c, ct)
		}
		err := api.ErrorOf(w.Code, w.Body.Bytes())
		if access.CodeOf(err) != c {
			t.Errorf("%s came back as %s", c, access.CodeOf(err))
		}
		if c != access.CodeInternal && err.Error() != "what happened; do that" {
			t.Errorf("%s came back as %q", c, err)
		}
	}
	if err := api.ErrorOf(502, []byte("<html>a proxy")); access.CodeOf(err) != access.CodeUnavailable || strings.Contains(err.Error(), "html") {
		t.Errorf("what is no problem: %v", err)
	}
}

func TestInternalErrorsStayInTheLog(t *testing.T) {
	r := newRig(t)
	for _, err := range []error{
		errors.New("the row of customer-77 is damaged"),
		&access.Error{Code: access.CodeInternal, Msg: "the row of customer-77 is damaged"},
	} {
		w := httptest.NewRecorder()
		r.api.Refuse(w, request("GET", "/api/v1/status", ""), err)
		a := answer{w.Code, w.Header(), w.Body.String()}
		p := a.problem(t)
		if a.status != http.StatusInternalServerError || p.Ref == "" || strings.Contains(a.body, "customer-77") || !strings.Contains(p.Detail, p.Ref) {
			t.Errorf("%d %s", a.status, a.body)
		}
		if log := r.log.String(); !strings.Contains(log, p.Ref) || !strings.Contains(log, "customer-77") {
			t.Errorf("the log does not lead from %s to the cause: %s", p.Ref, log)
		}
	}
}

func TestTheCauseOfAReadableErrorIsNotShown(t *testing.T) {
	r := newRig(t)
	w := httptest.NewRecorder()
	r.api.Refuse(w, request("GET", "/api/v1/status", ""), &access.Error{Code: access.CodeUnavailable, Msg: "the store does not answer", Err: errors.New("dial 10.1.2.3")})
	if strings.Contains(w.Body.String(), "10.1.2.3") {
		t.Errorf("%s", w.Body)
	}
	if !strings.Contains(r.log.String(), "10.1.2.3") {
		t.Errorf("the log does not have the cause: %s", r.log)
	}
}

func TestManifestMistakesNameTheirPlaces(t *testing.T) {
	r := newRig(t)
	a := r.do("POST", "/api/v1/apply", `{"documents":[{"file":"a.yaml","text":"kind: Agent\nid: x\nowner: t\nriskTier: 9\n"}]}`)
	p := a.problem(t)
	want := []api.Place{{File: "a.yaml", Line: 4, Column: 11, Field: "riskTier"}}
	for i := range p.Places {
		p.Places[i].Message = ""
	}
	if d := cmp.Diff(want, p.Places); a.status != http.StatusBadRequest || d != "" {
		t.Errorf("%d %s\n%s", a.status, a.body, d)
	}
}

func TestBodiesAreReadStrictly(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		body, contentType string
		status            int
	}{
		"duplicate key":       {`{"id":"a","id":"b","owner":"t"}`, "application/json", 400},
		"key in another case": {`{"id":"a","Owner":"t"}`, "application/json", 400},
		"key twice by case":   {`{"id":"a","owner":"t","OWNER":"u"}`, "application/json", 400},
		"unknown key":         {`{"id":"a","owner":"t","admin":true}`, "application/json", 400},
		"second document":     {`{"id":"a","owner":"t"}{"id":"b"}`, "application/json", 400},
		"wrong type":          {`{"id":7,"owner":"t"}`, "application/json", 400},
		"not JSON":            {`id=a`, "application/json", 400},
		"empty":               {``, "application/json", 400},
		"a form":              {`{"id":"a","owner":"t"}`, "text/plain", 400},
		"too large":           {`{"id":"a","purpose":"` + strings.Repeat("x", 300<<10) + `"}`, "application/json", 413},
	} {
		t.Run(name, func(t *testing.T) {
			req := request("POST", "/api/v1/agents", c.body)
			req.Header.Set("Content-Type", c.contentType)
			if a := r.serve(r.api.Remote(), req); a.status != c.status {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	if n := len(r.d.Admin.Current().View.Agents()); n != 0 {
		t.Errorf("%d agents were registered", n)
	}
}

// What is applied may be larger than anything else, and is bounded too.
func TestManifestsAreBounded(t *testing.T) {
	r := newRig(t)
	for size, tooLarge := range map[int]bool{1 << 20: false, 33 << 20: true} {
		req := request("POST", "/api/v1/apply", `{"documents":"`+strings.Repeat("x", size)+`"}`)
		if a := r.serve(r.api.Remote(), req); (a.status == http.StatusRequestEntityTooLarge) != tooLarge {
			t.Errorf("%d bytes: %d %.200s", size, a.status, a.body)
		}
	}
}

func TestUnknownRoutesAndParametersAreRefused(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/api/v1/nothing", 404}, {"DELETE", "/api/v1/status", 404}, {"GET", "/api/v2/status", 404},
		{"POST", "/api/v1/agents/x/explode", 404}, {"POST", "/api/v1/servers/x/suspend", 404}, {"POST", "/api/v1/tools/x/suspend", 404},
		{"GET", "/api/v1/agents?stat=active", 400}, {"GET", "/api/v1/agents?state=active&state=retired", 400},
		{"GET", "/api/v1/agents?limit=0", 400}, {"GET", "/api/v1/agents?limit=1001", 400}, {"GET", "/api/v1/agents?limit=x", 400}, {"GET", "/api/v1/agents?%zz", 400},
		{"GET", "/api/v1/audit?since=yesterday", 400}, {"GET", "/api/v1/audit?cursor=x", 400}, {"GET", "/api/v1/audit/leaves/x", 400},
		{"GET", "/api/v1/audit/leaves/9", 404}, {"GET", "/api/v1/audit/proofs/dec_01KB0000000000000000000000", 404}, {"GET", "/api/v1/audit/bundle?index=x", 400},
		{"GET", "/api/v1/agents/nobody", 404}, {"GET", "/api/v1/servers/nothing", 404}, {"GET", "/api/v1/tools?server=nothing", 404},
		{"GET", "/api/v1/tools/nothing/show?name=x", 404}, {"GET", "/api/v1/tools/nothing/diff?name=x", 404},
	} {
		body := ""
		if c.method == "POST" {
			body = "{}"
		}
		a := r.do(c.method, c.path, body)
		if a.status != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
			continue
		}
		if c.path != "/api/v2/status" {
			a.problem(t)
		}
	}
}

func FuzzStrictBodies(f *testing.F) {
	f.Add([]byte(`{"documents":[{"file":"a","text":"kind: Agent"}]}`))
	f.Add([]byte(`{"documents":[],"documents":[]}`))
	f.Add([]byte("{\"agent\":\"\\u0000\"}x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m api.Manifests
		if err := api.Strict(b, &m); err == nil && bytes.Count(b, []byte(`"documents"`)) > 1 && len(m.Documents) == 0 {
			t.Errorf("%q: a duplicate key was accepted", b)
		}
		x, err := api.ParseExplain(b)
		if err == nil && len(x.Arguments) > len(b) {
			t.Errorf("%q: arguments grew", b)
		}
	})
}

func TestLearningThatFailsIsAWarning(t *testing.T) {
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.Learn = func(_ context.Context, server string) error {
			switch server {
			case "good":
				return nil
			case "broken":
				return access.Errorf(access.CodeUpstream, "the upstream answers with nonsense")
			default:
				return errors.New("the customer-77 socket")
			}
		}
	})
	body := `{"documents":[{"file":"a.yaml","text":"` + strings.ReplaceAll(manifestOf("good", "broken", "secret"), "\n", `\n`) + `"}]}`
	var got api.Applied
	if err := api.Strict([]byte(r.ok("POST", "/api/v1/apply", body)), &struct {
		SchemaVersion int `json:"schemaVersion"`
		*api.Applied
	}{Applied: &got}); err != nil {
		t.Fatal(err)
	}
	if !got.Applied || len(got.Warnings) != 2 || got.Warnings[0].Server != "broken" || !strings.Contains(got.Warnings[0].Message, "nonsense") || strings.Contains(got.Warnings[1].Message, "customer-77") {
		t.Errorf("%+v", got)
	}
	if _, err := r.d.Admin.Export(t.Context()); err != nil {
		t.Error(err)
	}
}

// manifestOf declares sanctioned servers nobody answers for.
func manifestOf(ids ...string) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, "---\nkind: Server\nid: %s\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/mcp'}}\nstate: sanctioned\n", id)
	}
	return b.String()
}
