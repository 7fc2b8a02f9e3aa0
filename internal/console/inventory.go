package console

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/discovery/export"
	"rutile/internal/discovery/inventory"
)

// shownValues is how many values of a facet are offered: the most frequent.
const shownValues = 12

// facet is a facet of the inventory: every value with how many servers choosing it leaves.
type facet struct {
	Label  string
	Values []facetValue
}

type facetValue struct {
	filter
	N int
}

// markChoice is a mark that can be asked for, or asked not to be there.
type markChoice struct{ With, Without facetValue }

type inventoryPage struct {
	Search   string
	Filters  url.Values // that are chosen, but for the text
	Facets   []facet
	Marks    []markChoice
	Rows     []foundRow
	Total, N int // servers there are, and are selected
	Next     string
	Reset    string // the address without filters, "" where there are none
	Command  string
	CSV      string // addresses of the exports
	JSON     string
	Query    string // what the view is called by in an address
	Views    []viewLink
	Can      bool // the visitor may say who answers for what
	Owners   []string
	Text     string // the query of the whole selection, for who gives all of it to somebody
}

type foundRow struct {
	inventory.Entry
	Row string // what it is called by in a form
}

type viewLink struct {
	Name, URL string
	Here      bool
}

// inventoryKeys are the parts of an address that select servers.
func inventoryKeys() []string {
	return []string{"status", "state", "tier", "owner", "unowned", "source", "transport", "has", "lacks", "kind", "condition", "q"}
}

// selected are the filters of an address, whatever else is in it.
func selected(q url.Values) url.Values {
	out := url.Values{}
	for _, k := range inventoryKeys() {
		if s := q.Get(k); s != "" {
			out.Set(k, s)
		}
	}
	return out
}

func inventoryFilter(q url.Values) admin.InventoryFilter {
	list := func(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) }
	return admin.InventoryFilter{
		Kind: q.Get("kind"), Status: q.Get("status"), Condition: q.Get("condition"), Owner: q.Get("owner"), Text: q.Get("q"), State: q.Get("state"), Tier: q.Get("tier"),
		Source: q.Get("source"), Transport: q.Get("transport"), Unowned: q.Get("unowned") != "", Has: list(q.Get("has")), Lacks: list(q.Get("lacks")),
	}
}

// inventory lists what discovery found, registered or not.
func (c *Console) inventory(v *visit) (any, error) {
	chosen := selected(v.q)
	s, err := c.work.Inventory.Survey(v.Context(), inventoryFilter(chosen))
	if err != nil {
		return nil, err
	}
	to := func(q url.Values) string { return query(at("inventory"), q) }
	p := inventoryPage{
		Search: v.q.Get("q"), Filters: varied(chosen, "q", ""), Total: s.Total, N: len(s.Rows), Query: chosen.Encode(), Command: command(listCommand(chosen)...), Can: c.may(v, admin.OpInventory),
		CSV: query(at("inventory", "export"), varied(chosen, "as", "csv")), JSON: query(at("inventory", "export"), varied(chosen, "as", "json")),
	}
	if len(chosen) > 0 {
		p.Reset = to(nil)
	}
	w := v.words
	for _, f := range []struct {
		key, label string
		values     []admin.Facet
		none       string // what no value is called
	}{
		{"status", "Status", s.Status, ""}, {"state", "State", s.State, ""}, {"tier", "Tier", s.Tier, ""}, {"owner", "Owner", s.Owner, "nobody"}, {"source", "Source", s.Source, ""}, {"transport", "Transport", s.Transport, ""},
	} {
		if x := values(w, chosen, f.key, f.values, f.none, to); len(x) > 0 {
			p.Facets = append(p.Facets, facet{w.t(f.label), x})
		}
	}
	for _, m := range admin.Marks() {
		key := "mark." + m
		label := w.t(key)
		p.Marks = append(p.Marks, markChoice{
			facetValue{filter{label, to(toggled(chosen, "has", "lacks", m)), slices.Contains(inventoryFilter(chosen).Has, m)}, s.Marks[m]},
			facetValue{filter{w.t("not"), to(toggled(chosen, "lacks", "has", m)), slices.Contains(inventoryFilter(chosen).Lacks, m)}, len(s.Rows) - s.Marks[m]},
		})
	}
	rows, next := cut(v, s.Rows, func(e inventory.Entry) string { return e.Key })
	p.Next = next
	for i := range rows {
		p.Rows = append(p.Rows, foundRow{rows[i], rowID(rows[i].Key)})
	}
	views, err := c.work.Views.Of(v.Context(), v.session.actor, "inventory")
	if err != nil {
		return nil, err
	}
	for _, x := range views {
		q, _ := url.ParseQuery(x.Query)
		p.Views = append(p.Views, viewLink{x.Name, to(selected(q)), selected(q).Encode() == p.Query})
	}
	if p.Can {
		p.Owners = c.owners()
	}
	return p, nil
}

// owners are who can answer for something: teams and people.
func (c *Console) owners() []string {
	view := c.admin.Current().View
	var out []string
	for _, t := range view.Teams() {
		out = append(out, t.ID)
	}
	for _, u := range view.Users() {
		out = append(out, u.ID)
	}
	return out[:min(len(out), 200)]
}

// values are the choices of a facet, with the chosen one whatever its count.
func values(w words, chosen url.Values, key string, list []admin.Facet, none string, to func(url.Values) string) []facetValue {
	now := chosen.Get(key)
	var out []facetValue
	for i, x := range list {
		here := now == x.Value && now != ""
		if i >= shownValues && !here {
			continue
		}
		switch {
		case x.Value != "":
			q := varied(chosen, key, x.Value)
			if here {
				q.Del(key)
			}
			if key == "owner" {
				q.Del("unowned")
			}
			label := short(x.Value)
			if key != "owner" {
				label = w.t(label)
			}
			out = append(out, facetValue{filter{label, to(q), here}, x.Count})
		case none != "": // only owners can be asked to be nobody
			here := chosen.Get("unowned") != ""
			q := varied(chosen, "unowned", "true")
			q.Del(key)
			if here {
				q.Del("unowned")
			}
			out = append(out, facetValue{filter{w.t(none), to(q), here}, x.Count})
		}
	}
	return out
}

// varied is a copy of what is chosen with one part changed.
func varied(q url.Values, key, value string) url.Values {
	out := url.Values{}
	for k, x := range q {
		out[k] = slices.Clone(x)
	}
	out.Del(key)
	if value != "" {
		out.Set(key, value)
	}
	return out
}

// toggled has a list of an address hold a word or not, and the opposite list not.
func toggled(q url.Values, list, opposite, word string) url.Values {
	drop := func(key string) []string {
		var out []string
		for _, x := range strings.Split(q.Get(key), ",") {
			if x != "" && x != word {
				out = append(out, x)
			}
		}
		return out
	}
	now := drop(list)
	if !slices.Contains(strings.Split(q.Get(list), ","), word) {
		now = append(now, word)
	}
	slices.Sort(now)
	return varied(varied(q, list, strings.Join(now, ",")), opposite, strings.Join(drop(opposite), ","))
}

// query is an address with a query.
func query(at string, q url.Values) string {
	if len(q) == 0 {
		return at
	}
	return at + "?" + q.Encode()
}

// listCommand is the command that lists what an address selects.
func listCommand(q url.Values) []string {
	out := []string{"rutile", "inventory", "list"}
	for _, k := range inventoryKeys() {
		switch s := q.Get(k); {
		case s == "":
		case k == "unowned":
			out = append(out, "--unowned")
		case k == "q":
			out = append(out, "--text", s)
		default:
			out = append(out, "--"+k, s)
		}
	}
	return out
}

// rowID is what a form calls a server by: short, and of no letter that an address cannot
// hold.
func rowID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// owningPage says what it would come to if somebody answered for some servers.
type owningPage struct {
	Owner   string
	Owners  []string
	Rows    []admin.Owning
	Changes int
	Form    string // the rows, as the form sends them
	Seen    string // digest of what is shown
	Back    string
	Command string
	Query   url.Values
}

// ownPlan shows what giving servers to somebody would change: the rows that are chosen,
// or all a filter selects.
func (c *Console) ownPlan(v *visit) (any, error) {
	match, err := url.ParseQuery(v.q.Get("match"))
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "the address is not one that a list gave")
	}
	rows := v.q["row"]
	if v.q.Has("match") {
		s, err := c.work.Inventory.Survey(v.Context(), inventoryFilter(match))
		if err != nil {
			return nil, err
		}
		rows = nil
		for i := range s.Rows {
			rows = append(rows, rowID(s.Rows[i].Key))
		}
	}
	owner := strings.TrimSpace(v.q.Get("owner"))
	plan, keys, err := c.planned(v, rows, owner)
	if err != nil {
		return nil, err
	}
	p := owningPage{Owner: owner, Owners: c.owners(), Rows: plan, Form: strings.Join(rows, " "), Seen: seenPlan(plan), Back: query(at("inventory"), selected(match)), Query: url.Values{"row": rows}}
	if v.q.Has("match") {
		p.Query = url.Values{"match": {v.q.Get("match")}}
	}
	for i := range plan {
		if plan[i].Left == "" {
			p.Changes++
		}
	}
	p.Command = command(append(append([]string{"rutile", "inventory", "own"}, keys...), "--owner", owner, "--yes")...)
	return p, nil
}

// planned plans on rows as forms call them.
func (c *Console) planned(v *visit, rows []string, owner string) ([]admin.Owning, []string, error) {
	all, err := c.work.Inventory.List(v.Context(), admin.InventoryFilter{})
	if err != nil {
		return nil, nil, err
	}
	want := map[string]bool{}
	for _, r := range rows {
		want[r] = true
	}
	var keys []string
	for i := range all {
		if want[rowID(all[i].Key)] {
			keys = append(keys, all[i].Key)
		}
	}
	if len(keys) < len(want) {
		return nil, nil, access.Errorf(access.CodeConflict, "%d of the servers are not in the inventory any more: choose again", len(want)-len(keys))
	}
	plan, err := c.work.Inventory.OwnPlan(v.Context(), keys, owner)
	return plan, keys, err
}

// seenPlan says which plan somebody looked at.
func seenPlan(plan []admin.Owning) string {
	h := sha256.New()
	for i := range plan {
		for _, s := range []string{plan[i].Key, plan[i].From, string(plan[i].Left)} {
			h.Write([]byte(strconv.Quote(s)))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ownFound gives servers to somebody, as it was planned.
func (c *Console) ownFound(v *visit, f map[string]string) (string, string, error) {
	to := at("inventory")
	plan, keys, err := c.planned(v, strings.Fields(f["rows"]), f["owner"])
	if err != nil {
		return to, "", err
	}
	if seenPlan(plan) != f["seen"] {
		return to, "", access.Errorf(access.CodeConflict, "somebody changed who answers for these servers meanwhile: look at them again")
	}
	done, err := c.work.Inventory.OwnMany(v.Context(), v.session.actor, keys, f["owner"], f["reason"])
	n := 0
	for i := range done {
		if done[i].Left == "" {
			n++
		}
	}
	if f["owner"] == "" {
		return query(to, url.Values{"unowned": {"true"}}), v.words.t("Nobody answers for %d servers any more.", n), err
	}
	return query(to, url.Values{"owner": {f["owner"]}}), v.words.t("%s answers for %d servers now.", line(f["owner"]), n), err
}

// changeView keeps the filters of an address for the visitor, or forgets them.
func (c *Console) changeView(v *visit, f map[string]string) (string, string, error) {
	q, err := url.ParseQuery(f["query"])
	if err != nil {
		return at("inventory"), "", access.Errorf(access.CodeInvalid, "the form does not say which view it keeps")
	}
	to := query(at("inventory"), selected(q))
	switch f["verb"] {
	case "save":
		err = c.work.Views.Save(v.Context(), v.session.actor, "inventory", f["name"], selected(q).Encode())
		return to, v.words.t("The view is kept as %s.", line(strings.TrimSpace(f["name"]))), err
	case "forget":
		err = c.work.Views.Forget(v.Context(), v.session.actor, "inventory", f["name"])
		return to, v.words.t("The view %s is forgotten.", line(f["name"])), err
	default:
		return to, "", access.Errorf(access.CodeInvalid, "a view is kept or forgotten")
	}
}

// exportInventory hands out what a filter selects as a file.
func (c *Console) exportInventory(w http.ResponseWriter, r *http.Request) {
	v, ok := c.visitor(w, r, admin.OpRead)
	if !ok {
		return
	}
	as := export.Format(v.q.Get("as"))
	if as != export.CSV && as != export.JSON {
		c.refuse(w, r, access.Errorf(access.CodeInvalid, "the list is written as csv or json; rutile inventory export has other formats"))
		return
	}
	d, err := c.work.Inventory.Export(r.Context(), export.Options{As: as}, inventoryFilter(v.q))
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", d.Type)
	w.Header().Set("Content-Disposition", "attachment; filename=inventory."+string(as))
	_, _ = w.Write(d.Bytes) // the reader may have gone
}
