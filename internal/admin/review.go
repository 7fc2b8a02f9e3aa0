package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/registry"
)

// Reviews look again at what was sanctioned (discovery.md section 19). What is to
// be reviewed, by when and what was answered stands with the server or agent
// itself; an answer is a leaf of the evidence that holds what was shown.

// The periods of use a review shows.
const (
	shortUse = 30 * 24 * time.Hour
	longUse  = 90 * 24 * time.Hour
)

// ReviewKind is what is reviewed.
type ReviewKind string

// The kinds.
const (
	ReviewServer ReviewKind = "server"
	ReviewAgent  ReviewKind = "agent"
)

// ReviewState says how a review stands.
type ReviewState string

// The states.
const (
	ReviewPlanned ReviewState = "planned" // due later
	ReviewDue     ReviewState = "due"     // within thirty days
	ReviewOverdue ReviewState = "overdue"
)

// ReviewFilter selects reviews. The zero value selects all that are due within
// thirty days or overdue.
type ReviewFilter struct {
	Kind  ReviewKind
	Owner string
	All   bool // planned ones too
}

// ReviewItem is one server or agent, with what it is granted beside what was used.
type ReviewItem struct {
	Kind     ReviewKind  `json:"kind"`
	ID       string      `json:"id"`
	Owner    string      `json:"owner"`
	Orphaned string      `json:"orphaned,omitempty"`
	Purpose  string      `json:"purpose,omitempty"`
	Tier     int         `json:"tier"`
	Due      time.Time   `json:"due"` // the end of a day, UTC
	State    ReviewState `json:"state"`
	// Granted are the approved tools of a server, or the allow-list of an agent.
	Granted    []string  `json:"granted"`
	DataScopes []string  `json:"dataScopes,omitempty"`
	Credential string    `json:"credential,omitempty"`
	Used30     []string  `json:"used30"` // tools, of a server by their own name
	Used90     []string  `json:"used90"`
	Users90    []string  `json:"users90"` // agents that used a server
	Calls30    int       `json:"calls30"`
	Calls90    int       `json:"calls90"`
	Last       time.Time `json:"last,omitzero"` // use within 90 days
	// Young says why what is not used cannot be called unused, "" if it can.
	Young    string                `json:"young,omitempty"`
	Proposal string                `json:"proposal"` // keep, narrow or retire
	Answered *registry.Attestation `json:"answered,omitempty"`
}

// Usage counts what was permitted since a time.
type Usage func(ctx context.Context, since time.Time) (audit.Usage, error)

// Reviews lists what is to be looked at, the earliest due first.
func (a *Admin) Reviews(ctx context.Context, f ReviewFilter) ([]ReviewItem, error) {
	if f.Kind != "" && f.Kind != ReviewServer && f.Kind != ReviewAgent {
		return nil, access.Errorf(access.CodeInvalid, "reviews are of a server or an agent, not of %q", clip(string(f.Kind)))
	}
	if a.usage == nil {
		return nil, access.Errorf(access.CodeUnavailable, "how rights are used is not known here")
	}
	now := a.now()
	long, err := a.usage(ctx, now.Add(-longUse))
	if err != nil {
		return nil, fmt.Errorf("counting what was used: %w", err)
	}
	short, err := a.usage(ctx, now.Add(-shortUse))
	if err != nil {
		return nil, fmt.Errorf("counting what was used: %w", err)
	}
	cur := a.Current()
	var out []ReviewItem
	for _, s := range cur.View.Servers() {
		if s.State == registry.ServerSanctioned || s.State == registry.ServerDeprecated {
			out = append(out, reviewServer(cur, s, now))
		}
	}
	for _, x := range cur.View.Agents() {
		if x.State != registry.AgentRetired {
			out = append(out, reviewAgent(cur, x, now))
		}
	}
	out = slices.DeleteFunc(out, func(i ReviewItem) bool {
		return f.Kind != "" && i.Kind != f.Kind || f.Owner != "" && i.Owner != f.Owner || !f.All && i.State == ReviewPlanned
	})
	for i := range out {
		out[i].count(short, long, now)
	}
	slices.SortFunc(out, func(x, y ReviewItem) int {
		return cmp.Or(x.Due.Compare(y.Due), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.ID, y.ID))
	})
	return out, nil
}

func stateOfReview(due, now time.Time) ReviewState {
	switch {
	case !now.Before(due):
		return ReviewOverdue
	case due.Sub(now) <= shortUse:
		return ReviewDue
	default:
		return ReviewPlanned
	}
}

func reviewServer(cur *Current, s registry.Server, now time.Time) ReviewItem {
	tier := cur.RiskOf(s, now).Tier
	due := s.Expires
	if due.IsZero() { // sanctioned by an earlier version
		due = expiring(registry.Server{}, tier, s.Changed).Expires
	}
	i := ReviewItem{Kind: ReviewServer, ID: s.ID, Owner: s.Owner, Orphaned: registry.Orphaned(cur.View, s.Owner, now), Purpose: s.Description, Tier: tier,
		Due: due, State: stateOfReview(due, now), Granted: []string{}, DataScopes: s.DataScopes, Answered: s.Attested}
	if s.Credential != nil {
		i.Credential = s.Credential.Ref
	}
	for _, t := range cur.View.Tools(s.ID) {
		if t.Kind() == registry.KindTool && t.PinDigest != "" && !held(t.State) {
			i.Granted = append(i.Granted, t.Bare())
		}
	}
	if s.Created.After(now.Add(-unusedTime)) {
		i.Young = "it is younger than 60 days"
	}
	return i
}

func reviewAgent(cur *Current, x registry.Agent, now time.Time) ReviewItem {
	i := ReviewItem{Kind: ReviewAgent, ID: x.ID, Owner: x.Owner, Orphaned: registry.Orphaned(cur.View, x.Owner, now), Purpose: x.Purpose, Tier: x.RiskTier,
		Due: x.Expires, State: stateOfReview(x.Expires, now), Granted: slices.Clone(x.Tools), DataScopes: x.DataScopes, Answered: x.Attested}
	if i.Granted == nil {
		i.Granted = []string{}
	}
	if x.Created.After(now.Add(-unusedTime)) {
		i.Young = "it is younger than 60 days"
	}
	return i
}

// count fills in what was used, and what that proposes.
func (i *ReviewItem) count(short, long audit.Usage, now time.Time) {
	i.Used30, i.Calls30, _, _ = i.uses(short)
	var users []string
	i.Used90, i.Calls90, i.Last, users = i.uses(long)
	i.Users90 = users
	if long.Oldest.IsZero() || long.Oldest.After(now.Add(-unusedTime)) {
		i.Young = "the evidence does not go back 60 days"
	}
	narrow := slices.ContainsFunc(i.Granted, func(g string) bool {
		return !slices.ContainsFunc(i.Used90, func(u string) bool { return registry.Match(g, u) })
	})
	switch {
	case i.Young != "":
		i.Proposal = "keep"
	case i.Last.Before(now.Add(-unusedTime)):
		i.Proposal = "retire"
	case narrow:
		i.Proposal = "narrow"
	default:
		i.Proposal = "keep"
	}
}

func (i *ReviewItem) uses(u audit.Usage) (used []string, calls int, last time.Time, users []string) {
	used, users = []string{}, []string{}
	for _, x := range u.Uses {
		name := x.Target
		if i.Kind == ReviewAgent {
			name = x.Server + "/" + x.Target
		}
		if i.Kind == ReviewServer && x.Server != i.ID || i.Kind == ReviewAgent && x.Agent != i.ID {
			continue
		}
		calls += x.Calls
		if x.Last.After(last) {
			last = x.Last
		}
		if x.Method == "tools/call" {
			used = append(used, name)
		}
		if i.Kind == ReviewServer {
			users = append(users, x.Agent)
		}
	}
	slices.Sort(used)
	slices.Sort(users)
	return slices.Compact(used), calls, last, slices.Compact(users)
}

// Campaign is what starting reviews came to.
type Campaign struct {
	Due   time.Time    `json:"due"`
	Items []ReviewItem `json:"items"` // that are due then, or were due earlier
	Moved int          `json:"moved"` // whose review was due later
}

// StartReviews makes the reviews that a filter selects due by a day. One that is
// due earlier stays so.
func (a *Admin) StartReviews(ctx context.Context, actor Actor, f ReviewFilter, due time.Time, why string) (Campaign, error) {
	if err := checkReason(why); err != nil {
		return Campaign{}, err
	}
	if !due.After(a.now()) || due.After(a.now().AddDate(1, 0, 1)) {
		return Campaign{}, access.Errorf(access.CodeInvalid, "give the day by which it is to be answered, within a year")
	}
	f.All = true
	items, err := a.Reviews(ctx, f)
	if err != nil {
		return Campaign{}, err
	}
	if len(items) == 0 {
		return Campaign{}, access.Errorf(access.CodeNotFound, "nothing that is in use is selected")
	}
	out := Campaign{Due: due}
	err = a.change(ctx, actor, func(cur *Current) (*draft, error) {
		d := newDraft()
		out.Items, out.Moved = slices.Clone(items), 0
		for n := range out.Items {
			i := &out.Items[n]
			if !i.Due.After(due) {
				continue
			}
			i.Due, i.State = due, stateOfReview(due, a.now())
			out.Moved++
			var old, next any
			kind := kindServer
			if s, ok := cur.View.Server(i.ID); i.Kind == ReviewServer && ok {
				old = s
				s.Expires, s.Changed = due, a.now()
				next, d.changes.Servers[i.ID] = s, &s
			} else if x, ok := cur.View.Agent(i.ID); i.Kind == ReviewAgent && ok {
				old, kind = x, kindAgent
				x.Expires, x.Changed = due, a.now()
				next, d.changes.Agents[i.ID] = x, &x
			} else {
				return nil, access.Errorf(access.CodeConflict, "%s %q is not there any more: try again", i.Kind, i.ID)
			}
			d.records = append(d.records, record{verb: "review", kind: kind, object: i.ID, reason: why, detail: fieldsOf(old, next)})
		}
		return d, nil
	})
	return out, err
}

// ReviewAnswer is what was answered.
type ReviewAnswer struct {
	Decision string `json:"decision"` // keep, quarantine or retire
	Reason   string `json:"reason,omitempty"`
}

// AnswerReview records that somebody looked at a server or agent and what they
// decided, with what was shown as it is now. Keeping it sets when it is due next.
// Its owner answers, a member of the team that owns it, or whoever keeps the
// gateway.
func (a *Admin) AnswerReview(ctx context.Context, actor Actor, kind ReviewKind, id string, ans ReviewAnswer) (ReviewItem, error) {
	if err := checkReason(ans.Reason); err != nil {
		return ReviewItem{}, err
	}
	if !slices.Contains([]string{"keep", "quarantine", "retire"}, ans.Decision) {
		return ReviewItem{}, access.Errorf(access.CodeInvalid, "the answer is keep, quarantine or retire, not %q", clip(ans.Decision))
	}
	items, err := a.Reviews(ctx, ReviewFilter{Kind: kind, All: true})
	if err != nil {
		return ReviewItem{}, err
	}
	n := slices.IndexFunc(items, func(i ReviewItem) bool { return i.ID == id && i.Kind == kind })
	if n < 0 {
		return ReviewItem{}, access.Errorf(access.CodeNotFound, "%s %q is not in use: there is nothing to review", kind, clip(id))
	}
	item := items[n]
	err = a.change(ctx, actor, func(cur *Current) (*draft, error) {
		if err := a.answers(ctx, actor, item); err != nil {
			return nil, err
		}
		now := a.now()
		said := registry.Attestation{By: actor.String(), At: now, Decision: ans.Decision, Due: item.Due}
		d, err := a.answered(cur, actor, item, said, ans)
		if err != nil {
			return nil, err
		}
		item.Answered = &said
		return d, nil
	})
	return item, err
}

// answers refuses whoever does not answer for something, and records it.
func (a *Admin) answers(ctx context.Context, actor Actor, i ReviewItem) error {
	who, known := a.Person(actor)
	switch {
	case actor.Host && actor.Token == "", known && slices.Contains(who.Roles, registry.RoleAdmin):
		return nil
	case !known:
		return unauthenticated()
	case who.ID == i.Owner || slices.Contains(who.Teams, i.Owner):
		return nil
	}
	kind := kindServer
	if i.Kind == ReviewAgent {
		kind = kindAgent
	}
	why := fmt.Sprintf("%s %q is owned by %s: the owner answers its review", i.Kind, i.ID, i.Owner)
	if err := a.note(ctx, actor, record{verb: "refuse", kind: kind, object: i.ID, reason: why}); err != nil {
		return err
	}
	return access.Errorf(access.CodeDenied, "%s", why)
}

// answered plans what an answer does.
func (a *Admin) answered(cur *Current, actor Actor, i ReviewItem, said registry.Attestation, ans ReviewAnswer) (*draft, error) {
	verb := map[string]registry.Verb{"quarantine": registry.VerbQuarantine, "retire": registry.VerbRetire}[ans.Decision]
	d, by, now := newDraft(), actor.String(), said.At
	shown := struct {
		Decision string     `json:"decision"`
		Shown    ReviewItem `json:"shown"`
	}{ans.Decision, i}
	kind := kindServer
	switch s, ok := cur.View.Server(i.ID); {
	case i.Kind == ReviewServer && ok:
		s.Attested, s.Reminded = &said, time.Time{}
		if verb == "" {
			s.Expires, s.Changed = expiring(registry.Server{}, cur.RiskOf(s, now).Tier, now).Expires, now
		} else {
			next, err := registry.ChangeServer(s, verb, by, ans.Reason, now)
			if err != nil {
				return nil, err
			}
			s = next
		}
		d.changes.Servers[i.ID] = &s
	case i.Kind == ReviewAgent:
		x, ok := cur.View.Agent(i.ID)
		if !ok {
			return nil, access.Errorf(access.CodeNotFound, "agent %q is not registered", clip(i.ID))
		}
		x.Attested, x.Reminded, kind = &said, time.Time{}, kindAgent
		if verb == "" {
			x.Expires, x.Changed = expiring(registry.Server{}, x.RiskTier, now).Expires, now
		} else {
			next, err := registry.ChangeAgent(x, verb, by, ans.Reason, now)
			if err != nil {
				return nil, err
			}
			x = next
		}
		d.changes.Agents[i.ID] = &x
	default:
		return nil, access.Errorf(access.CodeNotFound, "%s %q is not registered", i.Kind, clip(i.ID))
	}
	d.records = []record{{verb: "attest", kind: kind, object: i.ID, reason: ans.Reason, detail: shown}}
	return d, nil
}

// RemindReviews records of every overdue review, once, that its owner owes an
// answer, and puts what nobody answered for patience longer in quarantine; 0 never
// does that. An agent past its end cannot act anyhow.
func (a *Admin) RemindReviews(ctx context.Context, patience time.Duration) error {
	now := a.now()
	return a.change(ctx, System(), func(cur *Current) (*draft, error) {
		d := newDraft()
		for _, s := range cur.View.Servers() {
			if s.State != registry.ServerSanctioned && s.State != registry.ServerDeprecated || s.Expires.IsZero() || now.Before(s.Expires) {
				continue
			}
			why := fmt.Sprintf("its review was due on %s and %s owes the answer", s.Expires.Add(-time.Nanosecond).Format(time.DateOnly), s.Owner)
			next, verb := s, "remind"
			switch {
			case patience > 0 && now.Sub(s.Expires) >= patience && !s.Reminded.IsZero():
				var err error
				if next, err = registry.ChangeServer(s, registry.VerbQuarantine, system, why, now); err != nil {
					return nil, err
				}
				verb = string(registry.VerbQuarantine)
			case s.Reminded.Before(s.Expires):
				next.Reminded = now
			default:
				continue
			}
			d.changes.Servers[s.ID] = &next
			d.records = append(d.records, record{verb: verb, kind: kindServer, object: s.ID, reason: why, detail: fieldsOf(s, next)})
		}
		for _, x := range cur.View.Agents() {
			if x.State != registry.AgentActive || now.Before(x.Expires) || !x.Reminded.Before(x.Expires) {
				continue
			}
			next := x
			next.Reminded = now
			d.changes.Agents[x.ID] = &next
			d.records = append(d.records, record{verb: "remind", kind: kindAgent, object: x.ID, reason: strings.TrimSpace("its review is due and " + x.Owner + " owes the answer"), detail: fieldsOf(x, next)})
		}
		return d, nil
	})
}
