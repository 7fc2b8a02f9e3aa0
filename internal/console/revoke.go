package console

import (
	"net/url"
	"strconv"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/revocation"
)

// revokePage is what a revocation would end, before anybody orders it.
type revokePage struct {
	admin.RevokePlan
	Asked bool // of something in particular
	Kinds []string
}

// revokePlan shows what revoking kind and id would end.
func (c *Console) revokePlan(v *visit) (any, error) {
	p := revokePage{}
	for _, k := range revocation.Kinds() {
		p.Kinds = append(p.Kinds, string(k))
	}
	p.Kind, p.ID = v.q.Get("kind"), v.q.Get("id")
	if p.Kind == "" || p.ID == "" {
		return p, nil
	}
	p.Asked = true
	var err error
	p.RevokePlan, err = c.work.Effects.Plan(v.Context(), v.session.actor, admin.Order{Kind: p.Kind, ID: p.ID})
	return p, err
}

// revokeURL is the address of the plan of revoking id of a kind.
func revokeURL(kind, id string) string {
	return at("revoke") + "?kind=" + url.QueryEscape(kind) + "&id=" + url.QueryEscape(id)
}

// revoke carries out what revokePlan showed. Of something wide its id is typed.
func (c *Console) revoke(v *visit, f map[string]string) (string, string, error) {
	to := revokeURL(f["kind"], f["id"])
	order := admin.Order{Kind: f["kind"], ID: f["id"], Reason: f["reason"]}
	plan, err := c.work.Effects.Plan(v.Context(), v.session.actor, order)
	if err != nil {
		return to, "", err
	}
	if plan.Wide && f["typed"] != plan.ID {
		return to, "", access.Errorf(access.CodeInvalid, "type %s to revoke it: it ends more than one thing", line(plan.ID))
	}
	rec, err := c.work.Effects.Revoke(v.Context(), v.session.actor, order)
	if rec.Revocation != "" {
		to = at("receipts", rec.Revocation)
	}
	return to, v.words.t("%d calls cut off in %d ms.", rec.Calls, time.Duration(rec.CutUS*1000).Milliseconds()), err
}

type receiptsPage struct {
	Rows []admin.Receipt
	Next string
	Can  bool // the visitor may revoke
}

// receipts lists what was revoked, newest first.
func (c *Console) receipts(v *visit) (any, error) {
	before, err := strconv.ParseUint(v.q.Get(cursorKey), 10, 63)
	if err != nil {
		before = 0 // from the newest on
	}
	list, err := c.work.Effects.Receipts(v.Context(), before, rowsPerPage+1)
	p := receiptsPage{Can: c.may(v, admin.OpSession)}
	p.Rows, p.Next = newest(v, list, func(r admin.Receipt) string { return strconv.FormatUint(r.Epoch, 10) })
	return p, err
}

type receiptPage struct {
	admin.Receipt
	Nodes  []nodeRow
	Denied string
	Cut    string
	Events string
}

type nodeRow struct {
	Node, After string
	Lapsed      bool
}

// receipt shows what a revocation came to.
func (c *Console) receipt(v *visit) (any, error) {
	r, err := c.work.Effects.Receipt(v.Context(), v.PathValue("id"))
	p := receiptPage{Receipt: r, Denied: took(r.DeniedUS), Cut: took(r.CutUS), Events: at("evidence") + "?text=" + url.QueryEscape(r.Kind+" "+r.ID)}
	for _, n := range r.Nodes {
		p.Nodes = append(p.Nodes, nodeRow{n.Node, took(n.US), n.Lapsed})
	}
	return p, err
}

// took is a duration of so many microseconds, for people.
func took(us int64) string {
	d := time.Duration(us) * time.Microsecond
	if d >= 10*time.Millisecond {
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return d.Round(10 * time.Microsecond).String()
}
