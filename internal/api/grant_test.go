package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/grant"
	"rutile/internal/rawjson"
)

// ask opens a request of agent reader with arguments of its own. Its target is
// gone from the registry, as its digest says.
func (r *rig) ask(n int) grant.Request {
	r.t.Helper()
	args, err := rawjson.Parse(fmt.Appendf(nil, `{"n": %d.0, "text":"<&>"}`, n), rawjson.Limits{})
	if err != nil {
		r.t.Fatal(err)
	}
	q, err := r.broker.Open(r.t.Context(), grant.Ask{
		Call: grant.Call{Party: grant.Party{Agent: "reader"}, Args: args, At: time.Now(), Target: grant.Target{Server: "files", Kind: access.KindTool, Name: "read", Tier: 1}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

func read[T any](t *testing.T, body string) T {
	t.Helper()
	var v struct {
		Schema int `json:"schemaVersion"`
	}
	var out T
	if err := json.Unmarshal([]byte(body), &v); err != nil || v.Schema != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return out
}

// TestRequestsAreAnsweredOverTheWire, in the name of who came.
func TestRequestsAreAnsweredOverTheWire(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	token := r.personal("app").Token
	q, no := r.ask(1), r.ask(2)
	v := read[admin.RequestView](t, r.as(token, "GET", "/api/v1/requests/"+q.ID, "").body)
	if string(v.Arguments) != `{"n":1.0,"text":"\u003c\u0026\u003e"}` || !v.Current || v.State != grant.RequestPending {
		t.Errorf("%+v %s", v, v.Arguments)
	}
	body := r.as(token, "POST", "/api/v1/requests/"+q.ID+"/approve", `{"seconds":60,"reason":"fine"}`)
	v = read[admin.RequestView](t, body.body)
	if v.State != grant.RequestIssued || v.Approvals[0].By != "user:app" || v.Approvals[0].Method != "api" {
		t.Errorf("%d %s", body.status, body.body)
	}
	g := read[admin.GrantView](t, r.ok("GET", "/api/v1/grants/"+v.Grant, ""))
	if g.State != grant.GrantActive || g.Expires.Sub(g.NotBefore) != time.Minute || len(g.Args) != 1 {
		t.Errorf("%+v", g)
	}
	for path, want := range map[string]int{
		"/api/v1/requests/" + q.ID + "/approve": http.StatusConflict, "/api/v1/requests/req_x/approve": http.StatusNotFound, "/api/v1/requests/req_x/deny": http.StatusNotFound,
		"/api/v1/grants/grt_x/revoke": http.StatusNotFound, "/api/v1/tasks/tsk_x/close": http.StatusNotFound,
	} {
		if a := r.as(token, "POST", path, "{}"); a.status != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if v := read[admin.RequestView](t, r.as(token, "POST", "/api/v1/requests/"+no.ID+"/deny", `{"reason":"no"}`).body); v.State != grant.RequestDenied || v.DecidedBy != "user:app" {
		t.Errorf("%+v", v)
	}
	if g := read[grant.Grant](t, r.as(token, "POST", "/api/v1/grants/"+v.Grant+"/revoke", `{"reason":"enough"}`).body); g.State != grant.GrantRevoked {
		t.Errorf("%+v", g)
	}
	k := read[grant.Task](t, r.as(token, "POST", "/api/v1/tasks", `{"agent":"reader","purpose":"to read","seconds":60}`).body)
	if kept := read[admin.TaskView](t, r.ok("GET", "/api/v1/tasks/"+k.ID, "")); kept.State != grant.TaskOpen || kept.Grants == nil && len(kept.Grants) != 0 {
		t.Errorf("%+v", kept)
	}
	if k := read[grant.Task](t, r.as(token, "POST", "/api/v1/tasks/"+k.ID+"/close", `{}`).body); k.State != grant.TaskClosed {
		t.Errorf("%+v", k)
	}
}

// TestWhatGrantRoutesRefuse: unknown and doubled members and parameters, and
// values that mean nothing.
func TestWhatGrantRoutesRefuse(t *testing.T) {
	r := newRig(t)
	r.apply(people)
	q := r.ask(1)
	for _, c := range []struct{ path, body string }{
		{"/api/v1/requests/" + q.ID + "/approve", `{"by":"user:eve"}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"method":"page"}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"uses":1,"uses":2}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"uses":2}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"uses":"1"}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"seconds":-1}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"seconds":9223372036854775807}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"seconds":18446744077}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"args":[{"at":"/x"}]}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"args":[]}`},
		{"/api/v1/requests/" + q.ID + "/approve", `{"reason":"a\nb"}`},
		{"/api/v1/requests/" + q.ID + "/approve", ``},
		{"/api/v1/requests/" + q.ID + "/deny", `{"why":"no"}`},
		{"/api/v1/grants", `{"agent":"reader","server":"files","tool":"read","quorum":2}`},
		{"/api/v1/tasks", `{"agent":"reader","purpose":""}`},
		{"/api/v1/tasks", `{"agent":"reader","purpose":"x","seconds":9223372036854775807}`},
		{"/api/v1/tasks", `{"agent":"reader","purpose":"x","id":"tsk_mine"}`},
	} {
		if a := r.do("POST", c.path, c.body); a.status != http.StatusBadRequest {
			t.Errorf("%s %s: %d %s", c.path, c.body, a.status, a.body)
		}
	}
	for _, path := range []string{"requests?state=bogus", "grants?state=pending", "tasks?state=active", "requests?party=x", "grants?limit=0", "grants?limit=-1", "tasks?limit=x", "grants?state=active&state=revoked", "entitlements?agent=x"} {
		if a := r.do("GET", "/api/v1/"+path, ""); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if v := read[admin.RequestView](t, r.ok("GET", "/api/v1/requests/"+q.ID, "")); v.State != grant.RequestPending || len(v.Approvals) != 0 {
		t.Errorf("something was changed: %+v", v)
	}
}

// TestHistoryPagesNewestFirst through everything once.
func TestHistoryPagesNewestFirst(t *testing.T) {
	r := newRig(t)
	for i := range 25 {
		r.ask(i)
	}
	for _, limit := range []int{1, 10, 24, 25, 26} {
		var seen []string
		path := fmt.Sprintf("/api/v1/requests?state=pending&agent=reader&limit=%d", limit)
		for cursor := ""; ; {
			p := read[api.Page[grant.Request]](t, r.ok("GET", path+cursor, ""))
			if len(p.Items) > limit {
				t.Fatalf("%d of %d", len(p.Items), limit)
			}
			for _, q := range p.Items {
				seen = append(seen, q.ID)
			}
			if p.Next == "" {
				break
			}
			cursor = "&cursor=" + p.Next
		}
		sorted := slices.Clone(seen)
		slices.Sort(sorted)
		slices.Reverse(sorted)
		if !slices.Equal(sorted, seen) || len(slices.Compact(sorted)) != 25 {
			t.Errorf("limit %d: %d of 25", limit, len(seen))
		}
	}
	for _, path := range []string{"requests?agent=other", "requests?state=denied", "grants", "tasks", "entitlements"} {
		if p := read[api.Page[json.RawMessage]](t, r.ok("GET", "/api/v1/"+path, "")); p.Items == nil || len(p.Items) != 0 || p.Next != "" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	r.apply("kind: Entitlement\nid: e\nowner: team\nagents: [reader]\ntools: [files/read]\napprove: auto\n")
	if e := read[grant.Entitlement](t, r.ok("GET", "/api/v1/entitlements/e", "")); !e.Approve.Auto {
		t.Errorf("%+v", e)
	}
	if e := read[grant.Entitlement](t, r.ok("POST", "/api/v1/entitlements/e/confirm", `{"reason":"still wanted"}`)); e.Confirmed.IsZero() || e.ConfirmedBy == "" {
		t.Errorf("confirmed: %+v", e)
	}
	if a := r.do("POST", "/api/v1/entitlements/none/confirm", `{}`); a.status != http.StatusNotFound {
		t.Errorf("confirming none: %d %s", a.status, a.body)
	}
	if a := r.do("GET", "/api/v1/entitlements/none", ""); a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, a.body)
	}
}
