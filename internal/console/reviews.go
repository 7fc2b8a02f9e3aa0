package console

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// reviewsPage is what is to be looked at again, and how far that has come.
type reviewsPage struct {
	Kinds, States []filter
	Owner         string
	Rows          []admin.ReviewItem
	Next          string
	By            []reviewTally // by owner
	Bars          []bar
	Can           bool // the visitor may start reviews
}

// reviewTally is how the reviews of one owner stand.
type reviewTally struct {
	Owner                   string
	All, Due, Overdue, Said int
	ToRetire, ToNarrow      int
}

func (c *Console) reviews(v *visit) (any, error) {
	p := reviewsPage{Owner: v.q.Get("owner"), Can: c.may(v, admin.OpServer), Kinds: choices(v, "kind", admin.ReviewServer, admin.ReviewAgent),
		States: choices(v, "state", admin.ReviewDue, admin.ReviewOverdue, admin.ReviewPlanned)}
	all, err := c.admin.Reviews(v.Context(), admin.ReviewFilter{Kind: admin.ReviewKind(v.q.Get("kind")), Owner: p.Owner, All: true})
	if err != nil {
		return nil, err
	}
	p.By, p.Bars = tallies(all), reviewBars(v, all)
	if st := v.q.Get("state"); st != "" {
		all = slices.DeleteFunc(all, func(i admin.ReviewItem) bool { return string(i.State) != st })
	}
	slices.SortStableFunc(all, func(x, y admin.ReviewItem) int { return strings.Compare(placeOf(x), placeOf(y)) })
	p.Rows, p.Next = cut(v, all, placeOf)
	return p, nil
}

// placeOf is the place of a review in the list: what is due first comes first.
func placeOf(i admin.ReviewItem) string {
	return i.Due.UTC().Format(time.RFC3339) + " " + string(i.Kind) + "/" + i.ID
}

func tallies(all []admin.ReviewItem) []reviewTally {
	var out []reviewTally
	for _, i := range all {
		n := slices.IndexFunc(out, func(t reviewTally) bool { return t.Owner == i.Owner })
		if n < 0 {
			n = len(out)
			out = append(out, reviewTally{Owner: i.Owner})
		}
		t := &out[n]
		t.All++
		for count, yes := range map[*int]bool{&t.Due: i.State == admin.ReviewDue, &t.Overdue: i.State == admin.ReviewOverdue, &t.Said: i.Answered != nil,
			&t.ToRetire: i.Proposal == "retire", &t.ToNarrow: i.Proposal == "narrow"} {
			if yes {
				*count++
			}
		}
	}
	slices.SortFunc(out, func(x, y reviewTally) int { return strings.Compare(x.Owner, y.Owner) })
	return out
}

// reviewBars is how all reviews stand, as parts of a whole.
func reviewBars(v *visit, all []admin.ReviewItem) []bar {
	n := map[admin.ReviewState]int{}
	for _, i := range all {
		n[i.State]++
	}
	return shares([]bar{{Label: v.words.t("overdue"), Class: "bad", N: n[admin.ReviewOverdue]}, {Label: v.words.t("due"), Class: "wait", N: n[admin.ReviewDue]},
		{Label: v.words.t("planned"), Class: "off", N: n[admin.ReviewPlanned]}}, len(all))
}

// reviewPage is one server or agent, what it is granted beside what was used.
type reviewPage struct {
	admin.ReviewItem
	Grants     []grantedRow
	Narrower   []string // what an agent's list would be, nil where it is not narrower
	Generation uint64
	Can        bool // the visitor may answer
	Narrows    bool // or narrow it
}

type grantedRow struct {
	Granted    string
	In30, In90 bool
	Tool       string // address of its page, "" for a pattern
}

func (c *Console) review(v *visit) (any, error) {
	i, err := c.reviewItem(v)
	if err != nil {
		return nil, err
	}
	p := reviewPage{ReviewItem: i, Generation: c.admin.Current().View.Generation(), Can: c.may(v, admin.OpServer)}
	uses := func(g string, used []string) bool {
		return slices.ContainsFunc(used, func(u string) bool { return registry.Match(g, u) })
	}
	for _, g := range i.Granted {
		r := grantedRow{Granted: g, In30: uses(g, i.Used30), In90: uses(g, i.Used90)}
		if i.Kind == admin.ReviewServer {
			r.Tool = toolURL(i.ID, g)
		}
		p.Grants = append(p.Grants, r)
	}
	if i.Kind == admin.ReviewAgent {
		p.Narrower = narrower(i)
		p.Narrows = len(p.Narrower) > 0 && i.Young == "" && c.may(v, admin.OpApply)
	}
	return p, nil
}

// narrower is an agent's list with the tools that were used in place of the patterns
// that cover them, nil where that is no narrower or nothing was used.
func narrower(i admin.ReviewItem) []string {
	var out []string
	for _, u := range i.Used90 {
		if slices.ContainsFunc(i.Granted, func(g string) bool { return registry.Match(g, u) }) {
			out = append(out, u)
		}
	}
	slices.Sort(out)
	had := slices.Sorted(slices.Values(i.Granted))
	if slices.Equal(out, had) {
		return nil
	}
	return out
}

func (c *Console) reviewItem(v *visit) (admin.ReviewItem, error) {
	kind, id := admin.ReviewKind(v.PathValue("kind")), v.PathValue("id")
	all, err := c.admin.Reviews(v.Context(), admin.ReviewFilter{Kind: kind, All: true})
	if err != nil {
		return admin.ReviewItem{}, err
	}
	for _, i := range all {
		if i.ID == id && i.Kind == kind {
			return i, nil
		}
	}
	return admin.ReviewItem{}, access.Errorf(access.CodeNotFound, "%s %q is not in use: there is nothing to review", kind, id)
}

// startReviews makes reviews due by a day.
func (c *Console) startReviews(v *visit, f map[string]string) (string, string, error) {
	day, err := time.Parse(time.DateOnly, f["due"])
	if err != nil {
		return at("reviews"), "", access.Errorf(access.CodeInvalid, "write a day such as 2027-03-31")
	}
	got, err := c.admin.StartReviews(v.Context(), v.session.actor, admin.ReviewFilter{Kind: admin.ReviewKind(f["kind"]), Owner: f["owner"]}, day.AddDate(0, 0, 1), f["reason"])
	return at("reviews"), v.words.t("%d selected, %d made due.", len(got.Items), got.Moved), err
}

// answerReview keeps, stops or ends what was looked at.
func (c *Console) answerReview(v *visit, f map[string]string) (string, string, error) {
	kind, id := v.PathValue("kind"), v.PathValue("id")
	i, err := c.admin.AnswerReview(v.Context(), v.session.actor, admin.ReviewKind(kind), id, admin.ReviewAnswer{Decision: f["answer"], Reason: f["reason"]})
	if err != nil {
		return at("reviews", kind, id), "", err
	}
	word := "answer." + f["answer"]
	return at("reviews"), v.words.t("%s is answered: %s.", line(i.ID), v.words.t(word)), nil
}

// narrow gives an agent the list that was shown, if nothing changed since.
func (c *Console) narrow(v *visit, f map[string]string) (string, string, error) {
	kind, id := v.PathValue("kind"), v.PathValue("id")
	to := at("reviews", kind, id)
	g, err := strconv.ParseUint(f["generation"], 10, 63)
	if err != nil || kind != string(admin.ReviewAgent) {
		return to, "", access.Errorf(access.CodeInvalid, "only an agent's list is narrowed here, as its page shows it")
	}
	tools := strings.Fields(f["tools"])
	if len(tools) == 0 {
		return to, "", access.Errorf(access.CodeInvalid, "nothing would be left: retire the agent instead")
	}
	_, err = c.admin.Shrink(v.Context(), v.session.actor, map[string][]string{id: tools}, g, f["reason"], false)
	return to, v.words.t("Agent %s may call what it used, and nothing else.", id), err
}
