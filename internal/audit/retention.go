package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"rutile/internal/access"
)

// KindRetention is how leaves of retention call what they are about.
const KindRetention = "Retention"

// prefixRetention begins the ids of what retention does.
const prefixRetention = "ret_"

// RetentionPolicy says for how many days evidence is kept at least. The zero value
// keeps everything and says nothing.
type RetentionPolicy struct {
	Payload  int  `json:"payload"`  // excerpts of arguments and results
	Decision int  `json:"decision"` // leaves of calls
	Hold     bool `json:"hold"`     // a legal hold: nothing goes
}

// The least a policy may say, in days. Six months of logs are what Regulation (EU)
// 2024/1689 asks for (Art. 19(1), 26(6)).
const (
	MinPayloadDays  = 1
	MinDecisionDays = 184
)

func (p RetentionPolicy) check() error {
	switch {
	case p == RetentionPolicy{} || p == RetentionPolicy{Hold: true}:
		return nil
	case p.Payload < MinPayloadDays:
		return access.Errorf(access.CodeInvalid, "evidence.retention.payloadDays is %d: excerpts are kept for %d days at least", p.Payload, MinPayloadDays)
	case p.Decision < MinDecisionDays:
		return access.Errorf(access.CodeInvalid, "evidence.retention.decisionDays is %d: leaves of calls are kept for %d days at least", p.Decision, MinDecisionDays)
	case p.Payload > p.Decision:
		return access.Errorf(access.CodeInvalid, "evidence.retention.payloadDays is %d, more than the %d days of the calls they belong to", p.Payload, p.Decision)
	}
	return nil
}

// RetentionPlan says what retention keeps, and what would go now.
type RetentionPlan struct {
	Policy  RetentionPolicy `json:"policy"`
	Since   time.Time       `json:"since,omitzero"`  // when the log said so
	Now     time.Time       `json:"now"`             // how far the clock is believed
	Doubted bool            `json:"doubted"`         // the clock is further, and is not believed yet
	Ran     time.Time       `json:"ran,omitzero"`    // when it last ran
	Months  []int           `json:"months"`          // yyyymm of the excerpts that are due, ascending
	Packs   int             `json:"packs"`           // files of them
	Gone    []GoneMonth     `json:"gone"`            // months whose excerpts went before, ascending
	Minimum uint64          `json:"minimum"`         // leaves of calls below this are gone
	Next    uint64          `json:"next"`            // those below this are due; Minimum where none are
	Waits   string          `json:"waits,omitempty"` // what the next ones wait for, besides their age
	Raised  []Raise         `json:"raised"`          // when leaves went before, ascending
	Lost    time.Time       `json:"lost,omitzero"`   // when the file that knows how far retention got was missing; what is due waits anew since
}

// GoneMonth is a month whose excerpts retention deleted.
type GoneMonth struct {
	Month int       `json:"month"` // yyyymm
	At    time.Time `json:"at"`
}

// RetentionOrder is who wants retention to run, and why. Nobody where it runs by itself.
type RetentionOrder struct {
	Actor  string
	Reason string
	Clock  bool // a person says that the clock is right
}

// retention is what a log knows of what it let go. It stands in retention.json beside
// the log, signed; without that file everything waits anew.
type retention struct {
	Leaf    uint64          `json:"leaf"`   // the newest of retention, 0 for none
	Policy  RetentionPolicy `json:"policy"` // that the log last said
	Since   time.Time       `json:"since,omitzero"`
	Clock   time.Time       `json:"clock,omitzero"` // how far the clock is believed
	Doubted time.Duration   `json:"doubted"`        // how long the log ran while it was further
	Ran     time.Time       `json:"ran,omitzero"`
	Gone    []GoneMonth     `json:"gone"`
	Raised  []Raise         `json:"raised"`
	Lost    time.Time       `json:"lost,omitzero"` // when the file was missing
}

// saveRetention keeps what is known, durably. l.retaining is held.
func (l *Log) saveRetention(r retention) error {
	b, err := l.signState(r)
	if err != nil {
		return err
	}
	if err := writeAtomic(l.fs, l.tmpName(retentionName), filepath.Join(l.cfg.Dir, retentionName), b); err != nil {
		return fmt.Errorf("keeping what retention did: %w", err)
	}
	if err := l.fs.SyncDir(l.cfg.Dir); err != nil {
		return fmt.Errorf("keeping what retention did: %w", err)
	}
	l.mu.Lock()
	l.kept = r
	l.mu.Unlock()
	return nil
}

// known returns what retention did so far.
func (l *Log) known() retention {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

// begun has the clock believed as far as the first leaf says, where nothing is kept of
// how far that is. l.retaining is held.
func (l *Log) begun(ctx context.Context, r *retention) error {
	if !r.Clock.IsZero() {
		return nil
	}
	first, err := l.Leaf(ctx, 0)
	if err != nil {
		return fmt.Errorf("reading when the log began: %w", err)
	}
	at, err := topString(first, "at")
	if err == nil {
		r.Clock, err = time.Parse(time.RFC3339Nano, at)
	}
	if err != nil {
		return fmt.Errorf("reading when the log began: %w", err)
	}
	l.clockBase = r.Clock
	return nil
}

// Retained says what retention did so far. It looks at nothing that is due.
func (l *Log) Retained() RetentionPlan {
	r := l.known()
	return RetentionPlan{Policy: l.cfg.Retention, Since: r.Since, Now: r.Clock, Ran: r.Ran, Months: []int{}, Gone: r.Gone, Minimum: r.minimum(), Next: r.minimum(), Raised: r.Raised, Lost: r.Lost}
}

// PlanRetention says what Retain would do now and changes nothing.
func (l *Log) PlanRetention(ctx context.Context, o RetentionOrder) (RetentionPlan, error) {
	l.retaining.Lock()
	defer l.retaining.Unlock()
	r := l.known()
	err := l.vouched(ctx, &r)
	if err == nil {
		err = l.begun(ctx, &r)
	}
	if err != nil {
		return RetentionPlan{}, err
	}
	doubted := r.believe(l.cfg.Now(), l.cfg.Uptime(), l.clockBase, l.lastUptime, o.Clock)
	return l.planRetention(ctx, r, doubted)
}

func (l *Log) planRetention(ctx context.Context, r retention, doubted bool) (RetentionPlan, error) {
	p := RetentionPlan{Policy: l.cfg.Retention, Since: r.Since, Now: r.Clock, Doubted: doubted, Ran: r.Ran, Months: []int{}, Gone: slices.Clip(append([]GoneMonth{}, r.Gone...)),
		Minimum: r.minimum(), Next: r.minimum(), Raised: slices.Clip(append([]Raise{}, r.Raised...)), Lost: r.Lost,
	}
	if p.Policy.Payload == 0 || p.Policy.Hold {
		return p, nil
	}
	if r.Policy != p.Policy {
		p.Since = time.Time{} // the log says it with the next run
	}
	var err error
	if p.Months, p.Packs, err = l.duePayloads(ctx, p.Now); err != nil {
		return p, err
	}
	due, err := l.dueLeaves(ctx, &r)
	p.Next, p.Waits = due.minimum, due.waits
	return p, err
}

// Retain publishes the policy where it changed and lets go what is older than it
// says. It MUST be called now and again; what was interrupted is finished by the next
// call. A person who orders it MUST have been authorised.
func (l *Log) Retain(ctx context.Context, o RetentionOrder) (RetentionPlan, error) {
	l.retaining.Lock()
	defer l.retaining.Unlock()
	if l.cfg.Retention == (RetentionPolicy{}) {
		return RetentionPlan{Months: []int{}, Gone: []GoneMonth{}}, nil
	}
	if o.Actor == "" {
		o.Actor = systemActor
	}
	r, err := l.published(ctx)
	if err != nil {
		return RetentionPlan{}, err
	}
	up := l.cfg.Uptime()
	doubted := r.believe(l.cfg.Now(), up, l.clockBase, l.lastUptime, o.Clock)
	l.lastUptime = up
	if o.Clock {
		l.clockBase = r.Clock.Add(-up) // what a person said holds from here on
	}
	r.Ran = l.cfg.Now().UTC().Truncate(time.Microsecond)
	if err := l.saveRetention(r); err != nil {
		return RetentionPlan{}, err
	}
	plan, err := l.planRetention(ctx, r, doubted)
	if err != nil || plan.Policy.Hold || plan.Policy.Payload == 0 {
		return plan, err
	}
	// From here on it happens, whatever becomes of who asked.
	if err := l.prunePayloads(context.WithoutCancel(ctx), o, &r, plan.Months, plan.Now); err != nil {
		return plan, fmt.Errorf("deleting excerpts that are due; it is tried again: %w", err)
	}
	plan.Gone = r.Gone
	if err := l.raise(context.WithoutCancel(ctx), o, &r, plan.Next); err != nil {
		return plan, fmt.Errorf("deleting leaves that are due; it is tried again: %w", err)
	}
	plan.Raised = r.Raised
	return plan, nil
}

// PublishRetention says in the log what is kept for how long, and whether it is held,
// where that is not what stands there. It deletes nothing.
func (l *Log) PublishRetention(ctx context.Context) error {
	l.retaining.Lock()
	defer l.retaining.Unlock()
	if l.cfg.Retention == (RetentionPolicy{}) {
		return nil
	}
	_, err := l.published(ctx)
	return err
}

// published returns what retention did so far, once the log and who shares its keys know
// of the policy and of a hold. l.retaining is held.
func (l *Log) published(ctx context.Context) (retention, error) {
	r := l.known()
	if err := l.tellHold(ctx); err != nil {
		return r, err
	}
	if err := l.vouched(ctx, &r); err != nil {
		return r, err
	}
	if r.Leaf != l.known().Leaf { // before another is written
		if err := l.saveRetention(r); err != nil {
			return r, err
		}
	}
	if err := l.begun(ctx, &r); err != nil {
		return r, err
	}
	return r, l.publishPolicy(ctx, &r)
}

// publishPolicy has the log say what the policy is, unless it said so last.
func (l *Log) publishPolicy(ctx context.Context, r *retention) error {
	if r.Policy == l.cfg.Retention && !r.Since.IsZero() {
		return nil
	}
	p, o := l.cfg.Retention, RetentionOrder{Actor: systemActor}
	if l.lost && r.Leaf == 0 {
		before, err := l.Search(ctx, Query{Types: []string{typeRetention}, Ascending: true, Limit: 2})
		if err != nil {
			return fmt.Errorf("looking for what the log says of retention: %w", err)
		}
		if len(before) > 1 { // a run that was killed before the file was written leaves one
			o.Reason, r.Lost = retentionName+" was missing", l.cfg.Now().UTC().Truncate(time.Microsecond)
			l.log.Error(retentionName+" was missing: what is due waits 30 days anew", "dir", l.cfg.Dir)
		}
	}
	ref, err := l.retentionLeaf(ctx, o, "set-retention", retained{Policy: &p})
	if err != nil {
		return err
	}
	r.Leaf = ref.Index
	r.Policy, r.Since = p, l.cfg.Now().UTC().Truncate(time.Microsecond)
	if r.Since.Before(r.Clock) { // a clock that is set back does not shorten the notice
		r.Since = r.Clock
	}
	return l.saveRetention(*r)
}

// retained is what a leaf of retention says, in clear.
type retained struct {
	Policy *RetentionPolicy `json:"policy,omitempty"`
	Months []int            `json:"months,omitempty"` // whose excerpts go
	Before time.Time        `json:"before,omitzero"`  // all that goes was written before this
	// Of leaves that go: those of calls below Minimum do, Kept others below it stay.
	Minimum uint64 `json:"minimum,omitempty"`
	Kept    uint64 `json:"kept,omitempty"`
}

func (l *Log) retentionLeaf(ctx context.Context, o RetentionOrder, verb string, says retained) (Ref, error) {
	detail, err := json.Marshal(says)
	if err != nil {
		return Ref{}, err
	}
	return l.Admin(ctx, Admin{ID: access.NewID(prefixRetention), Actor: o.Actor, Verb: verb, Kind: KindRetention, Object: "evidence", Reason: o.Reason, Detail: detail})
}

// retainedOf is what the detail of a says, nil if it is about something else.
func retainedOf(a *Admin) *retained {
	var says retained
	if a.Kind != KindRetention || json.Unmarshal(a.Detail, &says) != nil || says.Policy == nil && says.Before.IsZero() {
		return nil
	}
	return &says
}

// retained writes the member "retention", so that whoever reads the log knows what
// goes and when, and why it is not there any more.
func (d *draft) retained(says *retained) {
	mark := d.begin("retention")
	if !says.Before.IsZero() {
		d.time("before", says.Before)
	}
	if p := says.Policy; p != nil {
		d.int("decision", int64(p.Decision))
		d.flag("hold", p.Hold)
	}
	if says.Minimum > 0 {
		d.int("kept", int64(says.Kept))
		d.int("minimum", int64(says.Minimum))
	}
	if len(says.Months) > 0 {
		d.enc.key("months")
		d.b = append(d.b, '[')
		for i, m := range says.Months[:min(len(says.Months), maxErased)] {
			if i > 0 {
				d.b = append(d.b, ',')
			}
			d.b = fmt.Appendf(d.b, "%d", m)
		}
		d.b = append(d.b, ']')
	}
	if p := says.Policy; p != nil {
		d.int("payload", int64(p.Payload))
	}
	d.end(mark)
}
