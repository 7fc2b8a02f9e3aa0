package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/confine"
	"rutile/internal/mcpproxy"
	"rutile/internal/registry"
)

// When doctor warns ahead of an end.
const (
	warnCertificate = 14 * 24 * time.Hour
	warnAgent       = 14 * 24 * time.Hour
	warnFree        = 1 << 30 // bytes
)

// doctor looks at every part and says what is wrong and what mends it. It
// changes nothing and says no secret.
func (d *Daemon) doctor(ctx context.Context) []api.Check {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out := []api.Check{d.checkData(), d.checkSpace(), d.checkStore(ctx), d.checkVault(), d.checkEvidence()}
	if d.Config.Evidence.Retention.policy() != (audit.RetentionPolicy{}) {
		out = append(out, d.checkRetention(ctx))
	}
	if d.Config.TLS.Cert != "" {
		out = append(out, d.checkCertificate())
	}
	out = append(out, d.checkMode())
	if slices.ContainsFunc(d.Admin.Current().View.Servers(), func(s registry.Server) bool { return s.Transport.Stdio != nil }) {
		out = append(out, d.checkConfinement())
	}
	if d.judge != nil {
		out = append(out, d.checkJudge())
	}
	out = append(out, d.checkServers(ctx)...)
	return slices.Concat(out, d.checkEntitlements(), d.checkApprovers(), d.checkAgents(), d.checkSinks(ctx), d.checkSignals(), d.checkMails(), d.checkWitnesses())
}

func (d *Daemon) checkEntitlements() []api.Check {
	rights, now := d.Admin.Current().Rights, time.Now()
	var out []api.Check
	for _, id := range slices.Sorted(maps.Keys(rights)) {
		e := rights[id]
		if why := d.Admin.Unmanned(id); why != "" {
			out = append(out, api.Check{Name: "entitlement " + id, Level: api.LevelWarning, Reason: "nobody can approve what is asked for under it, which is denied: " + why,
				Mend: "fill the team (rutile apply -f FILE), give its members the role approver, or change approve of the entitlement"})
		}
		if !e.Overdue(now) {
			continue
		}
		why := "its owner " + e.Owner + " was to confirm it by " + e.Due().UTC().Format(time.DateOnly)
		if e.Confirm.Refuse {
			why += ", and until then nobody can ask under it"
		}
		out = append(out, api.Check{Name: "entitlement " + id, Level: api.LevelWarning, Reason: why, Mend: "rutile entitlement confirm " + id})
	}
	return out
}

// checkApprovers says who cannot approve at tier 3 for want of a passkey.
func (d *Daemon) checkApprovers() []api.Check {
	list := d.Desk.Unsigned()
	if len(list) == 0 {
		return nil
	}
	const most = 5
	who := strings.Join(list[:min(len(list), most)], ", ")
	if more := len(list) - most; more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	return []api.Check{{Name: "approvals", Level: api.LevelWarning, Reason: "approvals of tier 3 are signed with a passkey (approvals.tier3: " + d.Config.Approvals.Tier3 + "), and these approvers have none: " + who,
		Mend: "each adds a passkey on the account page of the console (/console/account), or take the role approver from them"}}
}

func good(name, format string, args ...any) api.Check {
	return api.Check{Name: name, Level: api.LevelOK, Reason: fmt.Sprintf(format, args...)}
}

func (d *Daemon) checkData() api.Check {
	fi, err := os.Stat(d.Config.Data)
	switch {
	case err != nil:
		return api.Check{Name: "data", Level: api.LevelBroken, Reason: fmt.Sprintf("%s cannot be read: %v", d.Config.Data, pathReason(err)), Mend: "restore the data directory from a backup"}
	case fi.Mode().Perm()&0o077 != 0:
		return api.Check{Name: "data", Level: api.LevelBroken, Reason: fmt.Sprintf("%s is open to others (mode %04o)", d.Config.Data, fi.Mode().Perm()), Mend: "chmod 700 " + d.Config.Data}
	}
	return good("data", "%s, mode %04o", d.Config.Data, fi.Mode().Perm())
}

func (d *Daemon) checkSpace() api.Check {
	free, err := freeSpace(d.Config.Data)
	switch {
	case err != nil:
		return api.Check{Name: "space", Level: api.LevelWarning, Reason: fmt.Sprintf("the free space of %s is not known: %v", d.Config.Data, err), Mend: "look at it yourself: without space no evidence can be kept and calls are refused"}
	case free < warnFree:
		return api.Check{Name: "space", Level: api.LevelWarning, Reason: fmt.Sprintf("%d MiB are left", free>>20), Mend: "make room: without space no evidence can be kept and calls are refused"}
	}
	return good("space", "%d GiB are left", free>>30)
}

func (d *Daemon) checkStore(ctx context.Context) api.Check {
	if err := d.store.Ping(ctx); err != nil {
		d.log.Warn("doctor: the store does not answer", "error", err)
		return api.Check{Name: "store", Level: api.LevelBroken, Reason: d.store.Dialect() + " does not answer", Mend: "see the gateway's log"}
	}
	return good("store", "%s answers; generation %d", d.store.Dialect(), d.Admin.Current().View.Generation())
}

func (d *Daemon) checkEvidence() api.Check {
	if err := d.Evidence.Healthy(); err == nil && d.recorder.healthy() != nil {
		return api.Check{Name: "evidence", Level: api.LevelBroken, Reason: "the last record could not be kept, so its call was refused", Mend: "see the gateway's log; it goes on by itself when there is room and the database takes what is written"}
	} else if err != nil {
		d.log.Warn("doctor: the evidence log is dead", "error", err)
		return api.Check{Name: "evidence", Level: api.LevelBroken, Reason: "nothing can be recorded any more, so every call is refused", Mend: "mend the disk, then start the gateway again"}
	}
	size, _ := d.Evidence.Head()
	durable, indexed := d.Evidence.Size(), d.Evidence.Indexed()
	if durable-min(indexed, durable) > 10_000 {
		return api.Check{Name: "evidence", Level: api.LevelWarning, Reason: fmt.Sprintf("search lags %d leaves behind", durable-indexed), Mend: "wait; if it does not shrink, see the gateway's log"}
	}
	return good("evidence", "%d leaves, %d under a signed checkpoint, %d searchable", durable, size, indexed)
}

// checkRetention says whether what retention did is what the log says.
func (d *Daemon) checkRetention(ctx context.Context) api.Check {
	const name = "retention"
	switch err := d.Evidence.CheckRetention(ctx); {
	case access.CodeOf(err) == access.CodeEvidence:
		return api.Check{Name: name, Level: api.LevelBroken, Reason: err.Error(),
			Mend: "find out who wrote to the evidence directory: rutile audit verify PATH says what does not verify"}
	case err != nil:
		d.log.Warn("doctor: retention cannot be checked", "error", access.Reasons(err))
		return api.Check{Name: name, Level: api.LevelWarning, Reason: "whether what is too old can be deleted is not known now", Mend: "wait until the search index has caught up, and see the gateway's log"}
	}
	p := d.Evidence.Retained()
	if !p.Lost.IsZero() && time.Since(p.Lost) < audit.PolicyNotice {
		return api.Check{Name: name, Level: api.LevelWarning, Reason: "retention.json was missing on " + p.Lost.Format(time.DateOnly) + ": what is due waits 30 days anew",
			Mend: "find out who removed it from the evidence directory; nothing else needs to be done"}
	}
	return good(name, "excerpts are kept for %d days, calls for %d; leaves of calls below %d are gone", p.Policy.Payload, p.Policy.Decision, p.Minimum)
}

func (d *Daemon) checkCertificate() api.Check {
	const name = "certificate"
	pair, err := tls.LoadX509KeyPair(d.Config.TLS.Cert, d.Config.TLS.Key)
	if err != nil {
		return api.Check{Name: name, Level: api.LevelBroken, Reason: fmt.Sprintf("the files cannot be read: %v", err), Mend: "put back tls.cert and tls.key; the old ones serve until the gateway stops"}
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return api.Check{Name: name, Level: api.LevelBroken, Reason: "the certificate cannot be read", Mend: "replace tls.cert"}
	}
	left := time.Until(leaf.NotAfter)
	switch {
	case left <= 0:
		return api.Check{Name: name, Level: api.LevelBroken, Reason: "it expired on " + leaf.NotAfter.UTC().Format(time.DateOnly), Mend: "replace tls.cert and tls.key; they are read again by themselves"}
	case left < warnCertificate:
		return api.Check{Name: name, Level: api.LevelWarning, Reason: "it expires on " + leaf.NotAfter.UTC().Format(time.DateOnly), Mend: "replace tls.cert and tls.key; they are read again by themselves"}
	}
	return good(name, "valid until %s", leaf.NotAfter.UTC().Format(time.DateOnly))
}

func (d *Daemon) checkMode() api.Check {
	if d.Admin.Current().Monitor {
		return api.Check{Name: "mode", Level: api.LevelWarning, Reason: "policy observes and does not enforce: calls pass", Mend: "apply a manifest, or write mode: enforce in rutile.yaml"}
	}
	return good("mode", "policy enforces, %d statements", len(d.Admin.Current().Set.Policies()))
}

func (d *Daemon) checkServers(ctx context.Context) []api.Check {
	view := d.Admin.Current().View
	secrets := map[string]bool{}
	if list, err := d.Admin.ListCredentials(ctx); err == nil {
		for _, s := range list {
			secrets[s.ID] = true
		}
	}
	var out []api.Check
	callable := 0
	for _, s := range view.Servers() {
		if !view.ServerStanding(s.ID).OK {
			continue
		}
		callable++
		name := "server " + s.ID
		if c := s.Credential; c != nil && !secrets[c.Ref] {
			out = append(out, api.Check{Name: name, Level: api.LevelBroken, Reason: fmt.Sprintf("its credential %q is not set, so it cannot be called", c.Ref), Mend: "rutile credential set " + c.Ref})
		}
		if s.Baseline[registry.KindTool].IsZero() {
			out = append(out, api.Check{Name: name, Level: api.LevelWarning, Reason: "it has not listed its tools yet, so none can be called", Mend: "see the gateway's log for why; it is tried again by itself"})
		}
		out = append(out, d.checkProcess(name, s)...)
		waiting := 0
		for _, t := range view.Tools(s.ID) {
			if t.State == registry.ToolPending || t.State == registry.ToolChanged {
				waiting++
			}
		}
		if waiting > 0 {
			out = append(out, api.Check{Name: name, Level: api.LevelWarning, Reason: fmt.Sprintf("%d definitions wait for approval", waiting), Mend: "rutile tool list " + s.ID})
		}
	}
	return append(out, good("servers", "%d registered, %d may be called", len(view.Servers()), callable))
}

// checkProcess looks at how the processes of a server fare and what holds them.
func (d *Daemon) checkProcess(name string, s registry.Server) []api.Check {
	st, ok := d.Proxy.Processes(s)
	if !ok {
		return nil
	}
	var out []api.Check
	warn := func(reason, mend string) {
		out = append(out, api.Check{Name: name, Level: api.LevelWarning, Reason: reason, Mend: mend})
	}
	switch {
	case !st.NextTry.IsZero() && st.Failed > 0:
		warn(fmt.Sprintf("its process failed to start %d times", st.Failed), "rutile server show "+s.ID)
	case !st.NextTry.IsZero():
		warn(fmt.Sprintf("its process ended by itself, or refused its client, %d times within a minute", st.Crashes), "rutile server show "+s.ID)
	}
	if !st.Confined {
		warn("its process is not confined, because its manifest says so", "remove confine: off from its manifest and grant what it needs")
		return out
	}
	usual := d.usually().Holds.Lacks
	lacks := slices.DeleteFunc(slices.Clone(st.Holds.Lacks), func(l confine.Lack) bool { return slices.Contains(usual, l) })
	if len(lacks) > 0 {
		warn("this machine cannot hold its process to its manifest: "+lackWords(lacks), "remove bestEffort from its manifest to have it refused instead")
	}
	return out
}

// usually says how a process is held that has nothing in its manifest.
func (d *Daemon) usually() mcpproxy.ProcessState {
	st, _ := d.Proxy.Processes(registry.Server{Transport: registry.Transport{Stdio: &registry.Stdio{}}})
	return st
}

// checkConfinement looks at what this machine can take from processes.
func (d *Daemon) checkConfinement() api.Check {
	const name = "confinement"
	h := d.usually().Holds
	if len(h.Lacks) > 0 {
		return api.Check{Name: name, Level: api.LevelWarning, Reason: "the processes of stdio servers are not wholly confined here: " + lackWords(h.Lacks),
			Mend: "see docs/confinement.md; what a manifest names is demanded, and its server refused where it cannot be had"}
	}
	return good(name, "the processes of stdio servers are confined, Landlock is at version %d", h.ABI)
}

func lackWords(lacks []confine.Lack) string {
	words := make([]string, len(lacks))
	for i, l := range lacks {
		words[i] = fmt.Sprintf("%s (%s)", l.Measure, l.Why)
	}
	return strings.Join(words, "; ")
}

func (d *Daemon) checkAgents() []api.Check {
	var out []api.Check
	list, now, active := d.Admin.Current().View.Agents(), time.Now(), 0
	for _, a := range list {
		switch registry.AgentStatus(a, now) {
		case registry.AgentExpired:
			out = append(out, api.Check{Name: "agent " + a.ID, Level: api.LevelWarning, Reason: "it expired on " + a.Expires.UTC().Format(time.DateOnly), Mend: "apply its manifest with a later expires, or: rutile agent retire " + a.ID})
		case registry.AgentActive:
			active++
			if a.Expires.Sub(now) < warnAgent {
				out = append(out, api.Check{Name: "agent " + a.ID, Level: api.LevelWarning, Reason: "it expires on " + a.Expires.UTC().Format(time.DateOnly), Mend: "apply its manifest with a later expires"})
			}
		}
	}
	return append(out, good("agents", "%d registered, %d active", len(list), active))
}
