package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rutile/internal/api"
	"rutile/internal/finding"
	"rutile/internal/identity"
	"rutile/internal/sink"
)

// buildSinks makes what hands evidence on to other systems.
func (d *Daemon) buildSinks() error {
	e := d.egress()
	transport, err := e.Transport()
	if err != nil {
		return err
	}
	host, _ := os.Hostname() // "" is written as unknown
	d.sinks, err = sink.New(sink.Config{
		Sinks:    func() map[string]sink.Sink { return d.states.admin.Load().Current().Sinks },
		Evidence: d.Evidence, Cursors: d.store, Transport: transport,
		Dial: e.Dialer().DialContext, Secrets: hookSecrets{d.vault}, Dir: filepath.Join(d.Config.Data, "export"), Version: d.version, Host: host, Log: d.log, Now: time.Now,
		Issuer: strings.TrimSuffix(d.AgentsURL, "/"), Sign: d.authority.SignEvent, Names: names{d}, Streams: d.store,
		Trouble: d.sinkTrouble,
	})
	if err != nil {
		return err
	}
	d.streams = sink.NewStreams(d.sinks)
	d.closing("sinks", func(context.Context) error { d.sinks.Close(); return nil })
	return nil
}

// names says who those are whom leaves name.
type names struct{ d *Daemon }

func (n names) Person(id string) (subjects [][2]string, email string) {
	u, _ := n.d.Admin.Current().View.User(id)
	for _, s := range u.Subjects {
		subjects = append(subjects, [2]string{s.Issuer, s.ID})
	}
	return subjects, u.Email
}

func (n names) Session(ctx context.Context, id string) (agent, subject string, err error) {
	list, err := n.d.sessions.Of(ctx, identity.Selection{ID: id}, 1)
	if err != nil || len(list) == 0 {
		return "", "", err
	}
	return list[0].Agent, list[0].Subject, nil
}

// sinkTrouble makes a finding of a sink that waits, and lets go of it.
func (d *Daemon) sinkTrouble(s sink.Sink, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	says := finding.Says{Source: "sink:" + s.ID + "/" + d.node(), Covers: finding.Everything}
	if why != "" {
		says.Raised = []finding.Raised{{
			Rule: "sink.behind", Subject: finding.Subject{Kind: finding.SubjectSink, ID: s.ID}, Place: d.node(), Severity: finding.High,
			Why: "evidence waits and is not handed on: " + why, Next: "rutile sink list",
		}}
	}
	if err := d.Findings.Tell(ctx, says); err != nil {
		d.log.Warn("a finding about a sink cannot be kept", "sink", s.ID, "why", why, "error", err)
	}
}

func (d *Daemon) checkSinks(ctx context.Context) []api.Check {
	var out []api.Check
	for id, s := range d.states.admin.Load().Current().Sinks {
		if s.State != sink.Active {
			continue
		}
		st := d.sinks.Status(id)
		name := "sink " + id
		if s.Form == sink.FormSSF {
			if why := d.streams.Unheard(ctx, &s); why != "" {
				out = append(out, api.Check{Name: name + " receiver", Level: api.LevelBroken, Reason: "the receiver cannot see to its stream or fetch from it: " + why, Mend: "rutile credential rotate " + s.Receiver})
			}
		}
		switch st.State {
		case sink.StateRefused:
			out = append(out, api.Check{Name: name, Level: api.LevelBroken, Reason: st.Why, Mend: "rutile sink list"})
		case sink.StateRetrying:
			out = append(out, api.Check{Name: name, Level: api.LevelWarning, Reason: st.Why, Mend: "see to the receiver; nothing is lost meanwhile"})
		default:
			out = append(out, good(name, "%s, leaf %d of %d", st.State, st.Next, st.Size))
		}
	}
	return out
}
