package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/policy"
	"rutile/internal/rehearsal"
)

// draftOf reads what -f names as rules that are to be tried: manifests and bare
// Cedar. Tests are left out.
func (a *app) draftOf(paths []string, generation string) (admin.Draft, error) {
	var d admin.Draft
	if generation != "" {
		n, err := generationOf(generation)
		if err != nil || n == 0 || len(paths) > 0 {
			return d, access.Errorf(access.CodeUsage, "give either -f PATH or --generation N, a number of rutile policy versions")
		}
		d.Generation = n
		return d, nil
	}
	var manifests []string
	for _, p := range paths {
		if p == "-" {
			manifests = append(manifests, p)
			continue
		}
		files, cedar, err := ruleFiles(p)
		if err != nil {
			return d, err
		}
		manifests, d.Policies = append(manifests, files...), append(d.Policies, cedar...)
	}
	if len(manifests) == 0 {
		return d, nil
	}
	var err error
	d.Documents, err = a.manifests(manifests)
	return d, err
}

// ruleFiles returns the manifest files below path and its bare Cedar.
func ruleFiles(root string) (manifests []string, cedar []policy.Policy, err error) {
	if _, err := os.Stat(root); err != nil {
		return nil, nil, access.Errorf(access.CodeNotFound, "%s does not exist", root)
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return access.Errorf(access.CodeInvalid, "%w", err)
		case path != root && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case e.IsDir():
			return nil
		}
		ext := filepath.Ext(path)
		if ext != ".cedar" && ext != ".yaml" && ext != ".yml" {
			if path == root {
				return access.Errorf(access.CodeUsage, "%s is neither *.cedar nor *.yaml", path)
			}
			return nil
		}
		text, err := readFile(path, maxPolicyFile)
		switch {
		case err != nil:
			return err
		case ext == ".cedar":
			cedar = append(cedar, policy.Policy{ID: strings.TrimSuffix(filepath.Base(path), ext), Cedar: string(text), File: path, Line: 1})
		case !testKind.Match(text):
			manifests = append(manifests, path)
		}
		return nil
	})
	return manifests, cedar, err
}

func (a *app) policySimulate() *cobra.Command {
	var paths []string
	var generation, requests string
	var last time.Duration
	var status, stop bool
	c := a.command("simulate", "Let rules that are not in force judge every call from now on", "rutile policy simulate -f candidate.yaml --for 10m", append(calling(), access.CodeFindings), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if status || stop {
			if len(paths) > 0 || generation != "" || requests != "" || status && stop {
				return access.Errorf(access.CodeUsage, "--status and --stop stand alone")
			}
			see := client.Simulated
			if stop {
				see = client.StopSimulation
			}
			got, err := see(ctx)
			if err != nil {
				return err
			}
			return a.simulation(got)
		}
		if len(paths) == 0 && generation == "" {
			return access.Errorf(access.CodeUsage, "say which rules to try: -f PATH, or --generation N")
		}
		d, err := a.draftOf(paths, generation)
		if err != nil {
			return err
		}
		if requests != "" {
			return a.tryRequests(ctx, client, d, requests)
		}
		got, err := client.Simulate(ctx, api.Simulate{Draft: d, Seconds: int64(last / time.Second)})
		if err != nil {
			return err
		}
		a.say("every call is judged by both until %s; see rutile policy simulate --status, and end it with --stop", when(got.Ends))
		return a.print(got, func(w io.Writer) { fmt.Fprintln(w, "simulating "+short(got.Report.Candidate)) })
	})
	c.Long = `Let rules that are not in force judge every call from now on, beside those that
are, and say what they would change. Nothing they decide is enforced, and they
spend no grant.

What is tried is what applying PATH (manifests, and *.cedar files) would lead to,
or an older generation of the rules. What PATH does not name stands as it is. Calls
are judged a moment after they were decided; what there is no time for is dropped
and counted. --status and --stop print what would change: newly denied, newly
permitted, and another outcome; the status is 3 if anything would.

With --requests FILE nothing is watched: each line of FILE is a made-up call as in
rutile policy explain, and both sets decide it.`
	f := c.Flags()
	f.StringArrayVarP(&paths, "file", "f", nil, "manifests or Cedar at this `path`; may be repeated")
	f.StringVar(&generation, "generation", "", "try this `generation` of the rules instead")
	f.DurationVar(&last, "for", api.DefaultSimulation, "how `long`")
	f.StringVar(&requests, "requests", "", "decide the made-up calls in this `file`, a line of JSON each")
	f.BoolVar(&status, "status", false, "print how the newest simulation fares")
	f.BoolVar(&stop, "stop", false, "end the simulation and print how it fared")
	return c
}

func (a *app) tryRequests(ctx context.Context, client *api.Client, d admin.Draft, file string) error {
	raw, err := a.readRequest(file)
	if err != nil {
		return err
	}
	in := api.Try{Draft: d}
	for i, line := range bytes.Split(raw, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		r, err := api.ParseExplain(line)
		if err != nil {
			return access.Errorf(access.CodeInvalid, "%s:%d: %w", file, i+1, err)
		}
		in.Calls = append(in.Calls, r)
	}
	got, err := client.Try(ctx, in)
	if err != nil {
		return err
	}
	differ := 0
	t := a.table("AGENT", "ACTION", "NOW", "THEN", "BY")
	for _, x := range got.Items {
		if x.Before != x.After {
			differ++
		}
		t.add(x.Agent, x.Action, x.Before, x.After, strings.Join(x.By, " "))
	}
	if err := a.print(got, t.write); err != nil {
		return err
	}
	if differ > 0 {
		return ended(access.CodeFindings)
	}
	return nil
}

func (a *app) simulation(got rehearsal.Status) error {
	if err := a.print(got, func(w io.Writer) {
		if got.Report == nil {
			fmt.Fprintln(w, "nothing has been simulated since the gateway started")
			return
		}
		fields(w, "simulation", got.State, "by", got.By, "ends", when(got.Ends), "failure", got.Failure)
		a.rehearsed(w, got.Report)
	}); err != nil {
		return err
	}
	if got.Report != nil && got.Report.Changes() > 0 || got.State == "failed" {
		return ended(access.CodeFindings)
	}
	return nil
}

// rehearsed writes what other rules would have changed.
func (a *app) rehearsed(w io.Writer, r *rehearsal.Report) {
	fields(w, "candidate", short(r.Candidate), "against", r.Against, "since", when(r.Since), "until", when(r.Until))
	fmt.Fprintf(w, "%d decisions: %d the same, %d newly denied, %d newly permitted, %d with another outcome\n", r.Looked, r.Same, r.NewlyDenied, r.NewlyPermitted, r.Changed)
	for _, x := range []struct {
		n    int
		text string
	}{
		{r.Depends, "depend on arguments that are not kept"},
		{r.Counters, "depend on facts that nobody looked up then"},
		{r.Registry, "were refused before any policy: the registry or a task decides"},
		{r.Unknown, "are of an agent, server or tool that is registered no more"},
		{r.Erased, "are of somebody whose key was destroyed"},
		{r.Dropped, "were dropped: there was no time to judge them, or nothing to judge them by"},
	} {
		if x.n > 0 {
			fmt.Fprintf(w, "%d %s\n", x.n, x.text)
		}
	}
	if r.Errors > 0 {
		fmt.Fprintf(w, "the candidate erred for %d, which denies: %s\n", r.Errors, cell(strings.Join(r.Erring, " ")))
	}
	if len(r.Groups) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := a.table("CHANGE", "COUNT", "AGENT", "TARGET", "BEFORE", "AFTER", "BY", "EXAMPLE")
	for _, g := range r.Groups {
		target := g.Server + "/" + g.Target
		if g.Target == "" {
			target = g.Server + " " + g.Method
		}
		t.add(strings.ReplaceAll(string(g.Change), "_", " "), itoa(g.Count), g.Agent, target, g.Before, g.After, strings.Join(g.By, " "), first(g.Examples))
	}
	t.write(w)
	if r.More > 0 {
		fmt.Fprintf(w, "%d more changes are of kinds that do not fit in here\n", r.More)
	}
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func (a *app) policyReplay() *cobra.Command {
	var paths []string
	var generation string
	var in api.Replay
	c := a.command("replay", "Let rules that are not in force judge recorded decisions", "rutile policy replay -f candidate.yaml --since 24h", append(calling(), access.CodeFindings), func(ctx context.Context, _ []string) error {
		var err error
		if in.Draft, err = a.draftOf(paths, generation); err != nil {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Replay(ctx, in)
		if err != nil {
			return err
		}
		if err := a.print(got, func(w io.Writer) { a.rehearsed(w, &got) }); err != nil {
			return err
		}
		if got.Changes() > 0 {
			return ended(access.CodeFindings)
		}
		return nil
	})
	c.Long = `Let rules that are not in force judge recorded decisions, and say what they would
have changed. The status is 3 if anything would.

What is tried is what applying PATH (manifests, and *.cedar files) would lead to,
an older generation of the rules, or, with neither, the rules in force. It is
compared with what was decided, or with --against with what the rules in force or
another generation would decide on the same facts.

The evidence keeps who asked for what, when and under which grant. It keeps
arguments sealed: the gateway opens them only where a verdict depends on them,
shows them to nobody, and counts the calls whose arguments are not kept whole as
depending on them. What is known of agents and tools besides is what the registry
says now.`
	f := c.Flags()
	f.StringArrayVarP(&paths, "file", "f", nil, "manifests or Cedar at this `path`; may be repeated")
	f.StringVar(&generation, "generation", "", "try this `generation` of the rules instead")
	f.StringVar(&in.Against, "against", "recorded", "compare with recorded, live or a `generation`")
	f.StringVar(&in.Since, "since", "24h", "a `time`, a day or a duration")
	f.StringVar(&in.Agent, "agent", "", "only decisions about this `agent`")
	return c
}
