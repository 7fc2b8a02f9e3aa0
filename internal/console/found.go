package console

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/finding"
)

type foundPage struct {
	admin.Found
	Facts []factRow
	More  int // sightings that are not shown
}

// factRow is one of the four facts about a server.
type factRow struct {
	Name string
	Now  bool
	Last time.Time
}

// found shows one server of the inventory: what it is, where it was seen and what is
// wrong.
func (c *Console) found(v *visit) (any, error) {
	f, err := c.work.Inventory.Show(v.Context(), v.q.Get("key"))
	if err != nil {
		return nil, err
	}
	p := foundPage{Found: f, More: max(0, len(f.Places)-rowsPerPage)}
	p.Places = p.Places[:min(len(p.Places), rowsPerPage)]
	for name, s := range f.Entry.Facts {
		p.Facts = append(p.Facts, factRow{string(name), s.Now, s.Last})
	}
	slices.SortFunc(p.Facts, func(a, b factRow) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

type findingsPage struct {
	States     []filter
	Severities []filter
	Due        []filter
	Rows       []findingRow
	Next       string
	Can        bool
	Back       string // to the same view
}

type findingRow struct {
	finding.Finding
	Now     finding.State
	Overdue bool
	URL     string // of what it is about, "" if that has no page
}

// findings lists what is wrong, the worst first.
func (c *Console) findings(v *visit) (any, error) {
	state := v.q.Get("state")
	if state == "" {
		state = string(finding.Open)
	}
	p := findingsPage{Can: c.may(v, admin.OpFinding), States: choices(v, "state", finding.States()...)[1:], Severities: choices(v, "from", finding.Severities()...), Back: v.URL.RequestURI()}
	p.Due = []filter{{v.words.t("all"), with(v, "due", ""), v.q.Get("due") == ""}, {v.words.t("overdue"), with(v, "due", "overdue"), v.q.Get("due") == "overdue"}}
	for i := range p.States {
		p.States[i].Here = p.States[i].URL == with(v, "state", state)
	}
	list, err := c.work.Findings.List(v.Context(), finding.Filter{State: finding.State(state), From: finding.Severity(v.q.Get("from")), Rule: v.q.Get("rule"), Owner: v.q.Get("owner"), Overdue: v.q.Get("due") == "overdue"})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b finding.Finding) int {
		switch {
		case a.Severity == b.Severity:
			return a.First.Compare(b.First)
		case a.Severity.AtLeast(b.Severity):
			return -1
		default:
			return 1
		}
	})
	from, err := strconv.Atoi(or(v.q.Get(cursorKey), "0"))
	if err != nil || from < 0 {
		return nil, access.Errorf(access.CodeInvalid, "the address is not one that a list gave")
	}
	list = list[min(from, len(list)):]
	if len(list) > rowsPerPage {
		list, p.Next = list[:rowsPerPage], more(v, cursorKey, strconv.Itoa(from+rowsPerPage))
	}
	for i := range list {
		p.Rows = append(p.Rows, findingRow{list[i], list[i].Now(v.now), list[i].Overdue(v.now), subjectURL(list[i].Subject)})
	}
	return p, nil
}

// subjectURL is the address of what a finding is about, "" if it has no page.
func subjectURL(s finding.Subject) string {
	switch s.Kind {
	case finding.SubjectFound:
		return Home + "found?" + url.Values{"key": {s.ID}}.Encode()
	case finding.SubjectServer:
		return at("servers", s.ID)
	case finding.SubjectDecision:
		return at("decisions", s.ID)
	case finding.SubjectTool:
		if server, name, ok := strings.Cut(s.ID, "/"); ok {
			return toolURL(server, name)
		}
		return ""
	case finding.SubjectAgent:
		return at("agents", s.ID)
	default:
		return ""
	}
}

// changeFinding gives a finding an owner, leaves it alone for a while, or takes that
// back.
func (c *Console) changeFinding(v *visit, f map[string]string) (string, string, error) {
	to, ok := ownPlace(f["back"])
	if !ok {
		to = at("findings")
	}
	var err error
	switch f["verb"] {
	case "assign":
		_, err = c.work.Findings.Assign(v.Context(), v.session.actor, f["id"], f["text"], time.Time{})
		return to, v.words.t("The finding is with %s now.", line(f["text"])), err
	case "mute":
		_, err = c.work.Findings.Mute(v.Context(), v.session.actor, f["id"], f["text"], v.now.Add(muteTime))
		return to, v.words.t("The finding is left alone for 30 days."), err
	case "unmute":
		_, err = c.work.Findings.Unmute(v.Context(), v.session.actor, f["id"], f["text"])
		return to, v.words.t("The finding counts again."), err
	default:
		return to, "", access.Errorf(access.CodeInvalid, "a finding is assigned, muted or unmuted")
	}
}

// muteTime is how long a finding is left alone from the console; the command line says
// any time.
const muteTime = 30 * 24 * time.Hour
