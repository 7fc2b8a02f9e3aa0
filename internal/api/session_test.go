package api_test

import (
	"net/http"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/api"
)

// A person revokes a session once, and releases none that is not quarantined.
func TestSessionsAreRevokedByName(t *testing.T) {
	r := newRig(t)
	r.apply("kind: Agent\nid: reader\nowner: team\nexpires: 2099-01-01\n---\nkind: Server\nid: files\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/mcp'}}\nstate: sanctioned\n")
	r.ok("POST", "/api/v1/agents/reader/token", `{"server":"files"}`)
	c, done := r.serveClient(t)
	defer done()
	page, err := c.Sessions(t.Context(), false, "")
	if err != nil || len(page.Items) != 1 || page.Items[0].State != "open" || page.Items[0].Agent != "reader" {
		t.Fatalf("%+v %v", page, err)
	}
	id := page.Items[0].ID
	if a := r.do("POST", "/api/v1/sessions/"+id+"/release", `{}`); a.status != http.StatusConflict {
		t.Errorf("an open session is released: %d %s", a.status, a.body)
	}
	for _, body := range []string{`{"kind":"planet","id":"earth"}`, `{"kind":"session","id":""}`} {
		if a := r.do("POST", "/api/v1/revocations", body); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a := r.do("POST", "/api/v1/revocations", `{"kind":"session","id":"ses_nobody"}`); a.status != http.StatusNotFound {
		t.Errorf("a session nobody opened: %d %s", a.status, a.body)
	}
	if s, err := c.Session(t.Context(), id); err != nil || s.Agent != "reader" || s.State != "open" || len(s.Running)+len(s.Grants) != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if a := r.do("GET", "/api/v1/sessions/ses_nobody", ""); a.status != http.StatusNotFound {
		t.Errorf("a session nobody opened: %d %s", a.status, a.body)
	}
	spec := api.RevokeSpec{Kind: "session", ID: id, Reason: "lost"}
	plan, err := c.PlanRevoke(t.Context(), spec)
	if err != nil || len(plan.Sessions) != 1 || plan.Wide {
		t.Errorf("%+v %v", plan, err)
	}
	rec, err := c.Revoke(t.Context(), spec)
	if err != nil || len(rec.Sessions) != 1 || rec.Sessions[0] != id || rec.Again || rec.Epoch != 1 || rec.State != admin.ReceiptDone {
		t.Errorf("%+v %v", rec, err)
	}
	if again, err := c.Revoke(t.Context(), spec); err != nil || !again.Again || len(again.Sessions) != 0 || again.Epoch != 2 {
		t.Errorf("the second receipt: %+v %v", again, err)
	}
	if kept, err := c.Receipt(t.Context(), rec.Revocation); err != nil || len(kept.Sessions) != 1 || len(kept.Nodes) != 1 {
		t.Errorf("the receipt that was kept: %+v %v", kept, err)
	}
	if list, err := c.Receipts(t.Context(), ""); err != nil || len(list.Items) != 2 || list.Items[0].Epoch != 2 {
		t.Errorf("the receipts: %+v %v", list, err)
	}
	if page, err = c.Sessions(t.Context(), true, ""); err != nil || len(page.Items) != 1 || page.Items[0].State != "revoked" || page.Items[0].Why != "lost" {
		t.Errorf("%+v %v", page, err)
	}
}
