package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/finding"
	"rutile/internal/identity"
	"rutile/internal/registry"
	"rutile/internal/revocation"
	"rutile/internal/signal"
)

// kindSignal is what leaves about signals are about; their object is the source.
const kindSignal = "Signal"

// signalActor is the kind of actor that a source of signals is.
const signalActor = "signal"

// Signals does what sources of signals ask for, as far as their manifests let them. It
// is safe for concurrent use.
type Signals struct {
	admin    *Admin
	effects  *Effects
	signIns  *SignIns
	findings *Findings
	refused  *sparing
	streams  *sparing
}

// NewSignals returns Signals. All are required.
func NewSignals(a *Admin, e *Effects, s *SignIns, f *Findings) (*Signals, error) {
	if a == nil || e == nil || s == nil || f == nil {
		return nil, errors.New("admin: a dependency is missing")
	}
	return &Signals{admin: a, effects: e, signIns: s, findings: f, refused: newSparing(a.now), streams: newSparing(a.now)}, nil
}

var _ signal.Actor = (*Signals)(nil)

// heard is what a leaf says of a signal.
type heard struct {
	ID      string    `json:"jti"`
	Event   string    `json:"event"`
	Subject string    `json:"subject,omitempty"`
	At      time.Time `json:"at"`
	Said    []string  `json:"said"`
}

// Act does what an event asks for. What it came to is a leaf, and so is that nothing was
// done. What a source asks for and may not is a finding.
func (s *Signals) Act(ctx context.Context, src *signal.Source, e *signal.Event) error {
	m := signal.MeaningOf(e)
	h := heard{ID: e.ID, Event: e.Type, Subject: e.Subject.Text(), At: e.At.UTC()}
	why := signalReason(src, e)
	var errs error
	switch {
	case e.Type == "":
		h.Event, h.Said = "unknown", []string{"an event of this type is not known, so nothing was done"}
	case m.Does == signal.Note:
		h.Said = []string{"recorded"}
	case src.Form == signal.FormSSF && !slices.Contains(src.Events, e.Type):
		h.Said = []string{"the source is not declared for this event, so nothing was done"}
	default:
		targets, err := s.targets(ctx, src, &e.Subject)
		errs = err
		for _, t := range targets {
			said, err := s.do(ctx, src, e, m, t, why)
			h.Said, errs = append(h.Said, said...), errors.Join(errs, err)
		}
		if len(h.Said) == 0 && errs == nil {
			h.Said = []string{"the subject is nobody who is known here, so nothing was done"}
		}
	}
	if errs != nil {
		return errs // it is done again, and said then
	}
	return s.admin.note(ctx, System(), record{verb: "accept", kind: kindSignal, object: src.ID, reason: why, detail: h})
}

// signalReason is what stands as the cause of what a signal does.
func signalReason(src *signal.Source, e *signal.Event) string {
	name := e.Type
	if name == "" {
		name = "an unknown event"
	}
	return fmt.Sprintf("signal %s of %s (%s)", name, src.ID, clip(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?' // an id is another's words
		}
		return r
	}, e.ID)))
}

// targets is who a subject is here: a session that is known before the person it is of, and
// only what the whole of a complex subject leaves. A session of another gateway looks like
// one of ours and is not known.
func (s *Signals) targets(ctx context.Context, src *signal.Source, sub *signal.Subject) ([]revocation.Target, error) {
	if d := sub.Direct; d != nil {
		return []revocation.Target{{Kind: revocation.Kind(d.Kind), ID: d.ID}}, nil
	}
	if len(sub.Parts) == 0 {
		return s.simple(src, sub), nil
	}
	for _, part := range []string{"session", "user", "application", "device"} {
		p, ok := sub.Parts[part]
		if !ok {
			continue
		}
		t := s.simple(src, &p)
		if len(t) == 1 && t[0].Kind == revocation.Session {
			known, err := s.effects.sessions.Of(ctx, identity.Selection{ID: t[0].ID}, 1)
			if err != nil {
				return nil, err
			}
			if len(known) == 0 {
				continue
			}
		}
		if len(t) > 0 {
			return t, nil
		}
	}
	return nil, nil // a tenant, a group or a unit alone is nobody
}

// simple is who a simple identifier is: what the manifest says, else the user who names
// the subject, else a session of ours. An address of mail is nobody by itself.
func (s *Signals) simple(src *signal.Source, sub *signal.Subject) []revocation.Target {
	var out []revocation.Target
	add := func(t revocation.Target) {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	keys := sub.Keys()
	for _, m := range src.Subjects {
		switch {
		case !slices.Contains(keys, m.Subject):
		case m.Agent != "":
			add(revocation.Target{Kind: revocation.Agent, ID: m.Agent})
		default:
			add(revocation.Target{Kind: revocation.User, ID: m.User})
		}
	}
	if len(out) > 0 {
		return out
	}
	view := s.admin.Current().View
	for _, one := range append(slices.Clone(sub.Any), *sub) {
		switch one.Format {
		case "iss_sub":
			for _, id := range view.SubjectUsers(registry.ProviderSubject{Issuer: one.Words["iss"], ID: one.Words["sub"]}) {
				add(revocation.Target{Kind: revocation.User, ID: id})
			}
		case "opaque":
			if strings.HasPrefix(one.Words["id"], access.PrefixSession) {
				add(revocation.Target{Kind: revocation.Session, ID: one.Words["id"]})
			}
		}
	}
	return out
}

// do does one thing to one target, and says what it did.
func (s *Signals) do(ctx context.Context, src *signal.Source, e *signal.Event, m signal.Meaning, t revocation.Target, why string) (said []string, err error) {
	if m.Rule != "" {
		if err := s.tell(ctx, src, m, t); err != nil {
			return nil, err
		}
		said = append(said, m.Does+" "+m.Rule)
	}
	if m.Does != signal.Revoke && m.Does != signal.Suspend {
		return said, nil
	}
	suspend := m.Does == signal.Suspend && t.Kind != revocation.Session
	if !src.Can(string(t.Kind)) || suspend && !src.Can(signal.MaySuspend) {
		return append(said, fmt.Sprintf("the source may not %s the %s %s, so that was not done", m.Does, t.Kind, clip(t.ID))), s.overreached(ctx, src, t, e)
	}
	actor := Actor{Kind: signalActor, ID: src.ID}
	if suspend {
		more, err := s.suspend(ctx, actor, t, why)
		said = append(said, more...)
		if err != nil {
			return said, err
		}
	}
	more, err := s.revoke(ctx, actor, t, why)
	return append(said, more...), err
}

// suspend keeps a person or an agent out. One that is out already is no error.
func (s *Signals) suspend(ctx context.Context, actor Actor, t revocation.Target, why string) (said []string, err error) {
	if t.Kind == revocation.Agent {
		_, err = s.admin.ChangeAgent(ctx, actor, t.ID, registry.VerbSuspend, why)
	} else {
		_, err = s.admin.ChangeUser(ctx, actor, t.ID, registry.VerbSuspend, why)
	}
	switch access.CodeOf(err) {
	case access.CodeConflict, access.CodeNotFound:
		return []string{"not suspended: " + access.Reasons(err)}, nil
	}
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("%s %s is suspended", t.Kind, t.ID)}, nil
}

// revoke ends what a target does, with a receipt, and what a person signed in to.
func (s *Signals) revoke(ctx context.Context, actor Actor, t revocation.Target, why string) (said []string, err error) {
	r, err := s.effects.Revoke(ctx, actor, Order{Kind: string(t.Kind), ID: t.ID, Reason: why})
	switch code := access.CodeOf(err); {
	case r.Revocation != "": // it stands, and the gateway goes on with what of it could not be done
		said = append(said, fmt.Sprintf("%s %s is revoked: %s", t.Kind, clip(t.ID), r.Revocation))
	case code == access.CodeNotFound || code == access.CodeInvalid:
		said = append(said, "not revoked: "+access.Reasons(err))
	default:
		return nil, err
	}
	if t.Kind != revocation.User {
		return said, nil
	}
	err = s.signIns.SignOut(ctx, actor, t.ID, why)
	if code := access.CodeOf(err); err != nil && code != access.CodeNotFound {
		return said, err
	}
	return append(said, "signed out of the console"), nil
}

// tell raises what an event says is wrong with a target, or lets go of it.
func (s *Signals) tell(ctx context.Context, src *signal.Source, m signal.Meaning, t revocation.Target) error {
	about, ok := finding.Subject{Kind: finding.SubjectUser, ID: t.ID}, t.Kind == revocation.User
	if t.Kind == revocation.Agent {
		about, ok = finding.Subject{Kind: finding.SubjectAgent, ID: t.ID}, true
	}
	if !ok {
		return nil
	}
	says := finding.Says{Source: "signal:" + src.ID, About: []string{t.ID}, Covers: func(f *finding.Finding) bool { return f.Subject == about && f.Rule == m.Rule }}
	if m.Does != signal.Clear {
		severity := finding.Medium
		if m.High {
			severity = finding.High
		}
		says.Raised = []finding.Raised{{Rule: m.Rule, Subject: about, Place: src.ID, Severity: severity, Why: m.Why + ", by " + src.ID, Next: "rutile " + about.Kind + " show " + t.ID}}
	}
	return s.findings.Tell(ctx, says)
}

// overreached raises that a source asked for what it may not.
func (s *Signals) overreached(ctx context.Context, src *signal.Source, t revocation.Target, e *signal.Event) error {
	return s.findings.Tell(ctx, finding.Says{Source: "signal:" + src.ID, Raised: []finding.Raised{{
		Rule: "signal.may-not", Subject: finding.Subject{Kind: finding.SubjectSignal, ID: src.ID}, Place: e.Type + " " + string(t.Kind), Severity: finding.High,
		Why:  fmt.Sprintf("%s asked by %s to end the %s %s, and its manifest does not let it: nothing was done", src.ID, e.Type, t.Kind, clip(t.ID)),
		Next: "look into it, and where it may: add " + string(t.Kind) + " (and suspend) to may of the Signal " + src.ID,
	}}})
}

// Refuse records that something of a source did not count. Of many at once it records
// some, and how many not.
func (s *Signals) Refuse(ctx context.Context, src *signal.Source, why string) {
	n, ok := s.refused.take(src.ID)
	if !ok {
		return
	}
	if n > 0 {
		why = fmt.Sprintf("%s; %d more were not recorded", why, n)
	}
	// What cannot be recorded was refused all the same, and the log says that it cannot.
	_ = s.admin.note(ctx, System(), record{verb: "refuse", kind: kindSignal, object: src.ID, reason: why})
}

// Stream records what a receiver of our signals did with its stream: what is told less of
// is known. Of many at once it records some, and how many not.
func (s *Signals) Stream(ctx context.Context, id, what string) {
	n, ok := s.streams.take(id)
	if !ok {
		return
	}
	why := "its receiver: " + what
	if n > 0 {
		why = fmt.Sprintf("%s; %d more were not recorded", why, n)
	}
	_ = s.admin.note(ctx, System(), record{verb: "stream", kind: kindSink, object: id, reason: why}) // else the log says that it cannot
}

// Trouble raises that a source cannot be asked, and lets go of it.
func (s *Signals) Trouble(ctx context.Context, src *signal.Source, why string) {
	says := finding.Says{Source: "signal-poll:" + src.ID + "/" + s.admin.cfg.Node, Covers: finding.Everything}
	if why != "" {
		says.Raised = []finding.Raised{{
			Rule: "signal.away", Subject: finding.Subject{Kind: finding.SubjectSignal, ID: src.ID}, Place: s.admin.cfg.Node, Severity: finding.High,
			Why: "what this source tells is not heard: " + why, Next: "see to the source, or its manifest; nothing is lost if it keeps what was not taken",
		}}
	}
	_ = s.findings.Tell(ctx, says) // it is told again while it is so
}

// maySignal reports whether a source of signals may do an operation.
func maySignal(cur *Current, id string, op Op) bool {
	src, ok := cur.Signals[id]
	if !ok || src.State != signal.Active {
		return false
	}
	switch op {
	case OpSession:
		return src.Can(signal.MaySession) || src.Can(signal.MayUser) || src.Can(signal.MayAgent)
	case OpUser:
		return src.Can(signal.MayUser)
	case OpAgent:
		return src.Can(signal.MayAgent) && src.Can(signal.MaySuspend)
	default:
		return false
	}
}

// sparing lets some of many through, by what they are of, and counts the others.
type sparing struct {
	now func() time.Time

	mu sync.Mutex
	of map[string]*spared
}

type spared struct {
	since  time.Time
	passed int
	left   int
}

// Bounds of what is recorded of what is refused.
const (
	sparedEvery = time.Minute
	sparedMost  = 10
	sparedKeys  = 1024
)

func newSparing(now func() time.Time) *sparing {
	return &sparing{now: now, of: map[string]*spared{}}
}

// take reports whether one more of a key passes, and how many did not before it.
func (s *sparing) take(key string) (left int, ok bool) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.of) >= sparedKeys && s.of[key] == nil {
		key = "" // the rest are as one
	}
	x := s.of[key]
	if x == nil {
		x = &spared{since: now}
		s.of[key] = x
	}
	if age := now.Sub(x.since); age >= sparedEvery || age < 0 {
		x.since, x.passed = now, 0
	}
	if x.passed >= sparedMost {
		x.left++
		return 0, false
	}
	x.passed++
	left, x.left = x.left, 0
	return left, true
}
