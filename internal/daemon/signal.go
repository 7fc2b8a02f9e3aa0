package daemon

import (
	"context"
	"strings"
	"time"

	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/signal"
	"rutile/internal/webhook"
)

// buildSignals makes what takes signals of other systems.
func (d *Daemon) buildSignals() error {
	transport, err := d.egress().Transport()
	if err != nil {
		return err
	}
	actor, err := admin.NewSignals(d.Admin, d.Effects, d.SignIns, d.Findings)
	if err != nil {
		return err
	}
	d.stream = actor.Stream
	d.signals, err = signal.New(signal.Config{
		Sources: func() map[string]signal.Source { return d.states.admin.Load().Current().Signals },
		Inbox:   d.store, Keys: signal.NewFetched(transport, time.Now), Secrets: hookSecrets{d.vault}, Origin: strings.TrimSuffix(d.AgentsURL, "/"), Transport: transport,
		Actor: actor, Hook: webhook.Verify, Log: d.log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	d.closing("signals", func(context.Context) error { d.signals.Close(); return nil })
	return nil
}

// checkSignals says how sources of signals fare.
func (d *Daemon) checkSignals() []api.Check {
	var out []api.Check
	for id, s := range d.states.admin.Load().Current().Signals {
		if s.State != signal.Active {
			continue
		}
		name := "signal " + id
		switch why := d.signals.Why(id); {
		case why != "":
			out = append(out, api.Check{Name: name, Level: api.LevelWarning, Reason: why, Mend: "see to the source, or its manifest"})
		case s.Poll != "":
			out = append(out, good(name, "it is asked for events"))
		default:
			out = append(out, good(name, "it sends to %ssignals/%s", strings.TrimSuffix(d.AgentsURL, "/")+"/", id))
		}
	}
	return out
}
