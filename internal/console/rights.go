package console

import (
	"slices"

	"rutile/internal/admin"
	"rutile/internal/grant"
	"rutile/internal/registry"
)

// history reads the filter of a list that is kept newest first. One row too many is
// read, so that the last page is known.
func history(v *visit) grant.Filter {
	return grant.Filter{State: grant.State(v.q.Get("state")), Agent: v.q.Get("agent"), Task: v.q.Get("task"), Before: v.q.Get(cursorKey), Limit: rowsPerPage + 1}
}

// newest is a page of such a list and the address of the next.
func newest[T any](v *visit, list []T, id func(T) string) ([]T, string) {
	if len(list) <= rowsPerPage {
		return list, ""
	}
	list = list[:rowsPerPage]
	return list, more(v, cursorKey, id(list[len(list)-1]))
}

// historyPage is a list that is kept newest first.
type historyPage[T any] struct {
	Agent, Task string
	States      []filter
	Rows        []T
	Next        string
	Can         bool // the visitor may end what is listed
}

func list[T any](v *visit, states []grant.State, rows []T, id func(T) string) historyPage[T] {
	slices.Sort(states)
	p := historyPage[T]{Agent: v.q.Get("agent"), Task: v.q.Get("task"), States: choices(v, "state", states...)}
	p.Rows, p.Next = newest(v, rows, id)
	return p
}

func (c *Console) requests(v *visit) (any, error) {
	rows, err := c.desk.Requests(v.Context(), history(v))
	return list(v, grant.RequestStates(), rows, func(r grant.Request) string { return r.ID }), err
}

func (c *Console) grants(v *visit) (any, error) {
	rows, err := c.desk.Grants(v.Context(), history(v))
	return list(v, grant.GrantStates(), rows, func(g grant.Grant) string { return g.ID }), err
}

func (c *Console) tasks(v *visit) (any, error) {
	rows, err := c.desk.Tasks(v.Context(), history(v))
	p := list(v, grant.TaskStates(), rows, func(t grant.Task) string { return t.ID })
	p.Can = c.may(v, admin.OpGrant)
	return p, err
}

func (c *Console) closeTask(v *visit, f map[string]string) (string, string, error) {
	t, err := c.desk.CloseTask(v.Context(), v.session.actor, f["task"], f["reason"])
	return at("tasks"), v.words.t("Task %s is %s. What stood for it has ended with it.", line(t.ID), v.words.t(string(t.State))), err
}

type grantPage struct {
	admin.GrantView
	Limits string
	Fields []field // what every call under it must meet
	Can    bool    // the visitor may end it
	Events string
	Left   string // of what was minted under it
}

func (c *Console) grant(v *visit) (any, error) {
	g, err := c.desk.Grant(v.Context(), v.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p := grantPage{GrantView: g, Limits: g.Describe(), Events: at("evidence") + "?text=" + g.ID}
	p.Fields, err = fieldsOfConstraints(v.words, g.Args)
	p.Left = grant.Remains(g.Grant.Left)
	p.Can = c.may(v, admin.OpGrant) && !grant.Over(g.State)
	return p, err
}

func (c *Console) revokeGrant(v *visit, f map[string]string) (string, string, error) {
	id := v.PathValue("id")
	g, err := c.desk.RevokeGrant(v.Context(), v.session.actor, id, f["reason"])
	return at("grants", id), v.words.t("Grant %s is %s. No call passes under it any more; %d in flight were cut off.", line(id), v.words.t(string(g.State)), g.Calls), err
}

type credentialsPage struct {
	Rows []admin.Credential
	Next string
}

func (c *Console) credentials(v *visit) (any, error) {
	rows, err := c.admin.ListCredentials(v.Context())
	var p credentialsPage
	p.Rows, p.Next = cut(v, rows, func(x admin.Credential) string { return x.ID })
	return p, err
}

type peoplePage struct {
	Rows  []personRow
	Teams []registry.Team
	Can   bool

	Next, NextTeams string
}

type personRow struct {
	registry.User
	Status registry.UserState
	Teams  []string
	Verbs  []registry.Verb
}

func (c *Console) people(v *visit) (any, error) {
	view := c.admin.Current().View
	p := peoplePage{Can: c.may(v, admin.OpUser)}
	p.Teams, p.NextTeams = cutAt(v, "teams", view.Teams(), func(t registry.Team) string { return t.ID })
	users, next := cut(v, view.Users(), func(u registry.User) string { return u.ID })
	p.Next = next
	for _, u := range users {
		r := personRow{User: u, Status: registry.UserStatus(u, v.now), Teams: view.TeamsOf(u.ID)}
		if p.Can {
			for _, verb := range []registry.Verb{registry.VerbSuspend, registry.VerbResume, registry.VerbRetire} {
				if _, err := registry.ChangeUser(u, verb, "", "", v.now); err == nil {
					r.Verbs = append(r.Verbs, verb)
				}
			}
		}
		p.Rows = append(p.Rows, r)
	}
	return p, nil
}

func (c *Console) changeUser(v *visit, f map[string]string) (string, string, error) {
	u, err := c.admin.ChangeUser(v.Context(), v.session.actor, f["user"], registry.Verb(f["verb"]), f["reason"])
	return at("people"), v.words.t("%s is %s.", line(u.ID), v.words.t(string(u.State))), err
}

type healthPage struct {
	Status   Status
	Checks   []Check
	Evidence uint64
}

func (c *Console) health(v *visit) (any, error) {
	return healthPage{c.work.Status(), c.work.Doctor(v.Context()), c.work.Evidence.Size()}, nil
}
