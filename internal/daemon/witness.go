package daemon

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/audit/witness"
	"rutile/internal/finding"
)

// keys lists the keys of the witnesses.
func (e *Evidence) keys() []string {
	var out []string
	for _, w := range e.Witnesses {
		out = append(out, w.Key)
	}
	return out
}

func (c *Config) checkWitnesses(note func(key, format string, args ...any)) {
	for i, w := range c.Evidence.Witnesses {
		at := fmt.Sprintf("evidence.witnesses[%d]", i)
		u, err := url.Parse(w.URL)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
			note(at+".url", "must be https://host/prefix")
		case u.Scheme == "http" && !loopback(u.Host):
			note(at+".url", "must start with https:// where it is not on loopback")
		}
		if _, err := audit.Cosigner(w.Key); err != nil {
			note(at+".key", "is not what rutile audit witness prints as key")
		}
	}
	if q, n := c.Evidence.Quorum, len(c.Evidence.Witnesses); q < 0 || q > n {
		note("evidence.quorum", "must be 1 to %d, the number of witnesses", n)
	}
}

// buildWitnesses makes what asks witnesses.
func (d *Daemon) buildWitnesses() error {
	if len(d.Config.Evidence.Witnesses) == 0 {
		return nil
	}
	transport, err := d.egress().Transport()
	if err != nil {
		return err
	}
	var peers []witness.Peer
	for _, w := range d.Config.Evidence.Witnesses {
		peers = append(peers, witness.Peer{URL: w.URL, Key: w.Key})
	}
	d.witnesses, err = witness.NewSubmitter(witness.SubmitterConfig{Log: d.Evidence, Peers: peers, Transport: transport, Logger: d.log, Now: time.Now, Trouble: d.witnessTrouble})
	if err != nil {
		return err
	}
	d.closing("witnesses", func(context.Context) error { d.witnesses.Close(); return nil })
	return nil
}

// witnessTrouble makes a finding of witnesses that do not cosign, and lets go of it.
func (d *Daemon) witnessTrouble(why string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	says := finding.Says{Source: "witnesses/" + d.node(), Covers: finding.Everything}
	if why != "" {
		says.Raised = []finding.Raised{{
			Rule: "evidence.unwitnessed", Subject: finding.Subject{Kind: finding.SubjectLog, ID: d.Evidence.Origin()}, Severity: finding.High,
			Why: "no witness vouches for the newest evidence: " + why, Next: "rutile doctor",
		}}
	}
	if err := d.Findings.Tell(ctx, says); err != nil {
		d.log.Warn("a finding about witnesses cannot be kept", "why", why, "error", err)
	}
}

func (d *Daemon) checkWitnesses() []api.Check {
	if d.witnesses == nil {
		return nil
	}
	const name = "witnesses"
	c, _ := d.Evidence.Witnessed()
	last, whys := d.witnesses.Status()
	switch {
	case len(whys) > 0:
		return []api.Check{{Name: name, Level: api.LevelWarning, Reason: fmt.Sprintf("%d leaves are cosigned; %s", c.Size, strings.Join(whys, "; ")), Mend: "see to the witness; nothing waits for it"}}
	case last.IsZero():
		return []api.Check{{Name: name, Level: api.LevelWarning, Reason: "nothing has been cosigned since the start", Mend: "wait a minute, then look at the gateway's log"}}
	}
	return []api.Check{good(name, "%d leaves are cosigned by enough of %d", c.Size, len(d.Config.Evidence.Witnesses))}
}
