package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/inspect"
	"rutile/internal/inspect/eval"
	"rutile/internal/pdp/floweval"
)

func (a *app) eval() *cobra.Command {
	c := a.group("eval", "Measure the detectors on labelled sets", "rutile eval tools tools.jsonl",
		a.evalText("tools", "Measure the scanner of definitions", eval.Tools),
		a.evalText("outputs", "Measure the inspection of results", eval.Outputs),
		a.evalFlows(), a.evalDrift(), a.evalDLP())
	c.Long = `Runs the shipped detectors over a labelled set, JSON lines as docs/inspection.md
describes them, and prints how many they find and how often they are wrong. No
gateway is needed. The detectors see what a gateway would see, never the labels.
Every rate comes with its counts and its Wilson 95 % interval.`
	return c
}

func (a *app) evalText(set, short string, measure func(*inspect.Engine, io.Reader, eval.Options) (eval.Result, error)) *cobra.Command {
	var o eval.Options
	c := a.command(set+" FILE", short, "rutile eval "+set+" "+set+".jsonl", nil, func(_ context.Context, args []string) error {
		o.Now = a.now
		r, err := measured(args[0], func(e *inspect.Engine, in io.Reader) (eval.Result, error) { return measure(e, in, o) })
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) { a.writeEval(w, r) })
	})
	c.Flags().BoolVar(&o.Misses, "misses", false, "list what was missed or flagged wrongly, by id")
	c.Flags().BoolVar(&o.Holdout, "holdout", false, "also judge every source with what the other sources teach")
	return c
}

func (a *app) evalFlows() *cobra.Command {
	var o eval.Options
	c := a.command("flows FILE", "Measure the rules of information flow", "rutile eval flows flows.jsonl", nil, func(_ context.Context, args []string) error {
		o.Now = a.now
		r, err := measured(args[0], func(e *inspect.Engine, in io.Reader) (floweval.Result, error) { return floweval.Flows(e, in, o) })
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) { a.writeFlows(w, r) })
	})
	c.Flags().BoolVar(&o.Misses, "misses", false, "list what was missed, asked about or blocked wrongly, by id")
	return c
}

// writeFlows prints a table for each way the set was replayed.
func (a *app) writeFlows(w io.Writer, r floweval.Result) {
	fmt.Fprintf(w, "%s: %d rows, %d attacked, %d honest, %d that followed an order to read; %.0f µs a call with its result (p50), %.0f µs (p99)\n",
		r.Set, r.N, r.Positives, r.Negatives, r.Flagged, r.Micros.P50, r.Micros.P99)
	for _, mode := range []struct {
		title string
		of    *floweval.Mode
	}{{"THE USER'S WORDS KNOWN", &r.Known}, {"THE USER'S WORDS UNKNOWN", &r.Unknown}} {
		m := mode.of
		fmt.Fprintln(w)
		t := a.table(mode.title, "DENIED", "ASKED ABOUT")
		t.add("attacked, the first hostile call", share(&m.BlockRecall), share(&m.AttackAsked))
		t.add("honest", share(&m.BenignBlocked), share(&m.BenignAsked))
		t.add("followed an order to read", share(&m.FlaggedDenied), share(&m.FlaggedAsked))
		t.add("own calls of attacked, before the hostile one", share(&m.HonestDenied), "")
		t.write(w)
		for _, by := range []string{"suite", "category"} {
			fmt.Fprintln(w)
			t := a.table("BY "+by, "N", "DENIED", "ASKED ABOUT")
			for _, name := range slices.Sorted(maps.Keys(m.By[by])) {
				g := m.By[by][name]
				if g.BlockRecall.N > 0 {
					t.add(name, itoa(g.N), share(&g.BlockRecall), share(&g.AttackAsked))
				}
				if g.BenignBlocked.N > 0 {
					t.add(name+" (honest)", itoa(g.N), share(&g.BenignBlocked), share(&g.BenignAsked))
				}
			}
			t.write(w)
		}
		fmt.Fprintln(w)
		t = a.table("BY rule", "HOSTILE CALLS", "HONEST ROWS", "FOLLOWED AN ORDER TO READ")
		for _, name := range slices.Sorted(maps.Keys(m.Rules)) {
			t.add(name, itoa(m.Rules[name]["block"]), itoa(m.Rules[name]["allow"]), itoa(m.Rules[name]["allow_flagged"]))
		}
		t.write(w)
	}
	if r.Misses == nil {
		return
	}
	fmt.Fprintln(w)
	for _, list := range []struct {
		what string
		ids  []string
	}{{"missed", r.Misses.Missed}, {"asked about, not denied", r.Misses.Asked}, {"blocked wrongly", r.Misses.Blocked}, {"honest and asked about", r.Misses.Benign}} {
		for _, id := range list.ids {
			fmt.Fprintf(w, "%s: %s\n", list.what, cell(id))
		}
	}
}

func (a *app) evalDrift() *cobra.Command {
	var o eval.Options
	c := a.command("drift FILE", "Measure the grading of changed definitions", "rutile eval drift drift.jsonl", nil, func(_ context.Context, args []string) error {
		o.Now = a.now
		r, err := measured(args[0], func(e *inspect.Engine, in io.Reader) (eval.Drifts, error) { return eval.Drift(e, in, o) })
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %d rows, %d rug pulls, %d updates; %.0f µs a row (p50), %.0f µs (p99)\n\n", r.Set, r.N, r.Positives, r.Negatives, r.Micros.P50, r.Micros.P99)
			t := a.table("WHAT", "SHARE")
			t.add("rug pulls stopped", share(&r.Stopped))
			t.add("updates passed", share(&r.Passed))
			t.write(w)
			fmt.Fprintln(w)
			t = a.table("BY category", "N", "STOPPED")
			for _, name := range slices.Sorted(maps.Keys(r.By)) {
				of := r.By[name]
				t.add(name, itoa(of.N), share(&of.Stopped))
			}
			t.write(w)
			a.writeMisses(w, r.Misses)
		})
	})
	c.Flags().BoolVar(&o.Misses, "misses", false, "list what passed or was stopped wrongly, by id")
	return c
}

func (a *app) evalDLP() *cobra.Command {
	var o eval.Options
	c := a.command("dlp FILE", "Measure the detectors of secrets and personal data", "rutile eval dlp dlp.jsonl", nil, func(_ context.Context, args []string) error {
		o.Now = a.now
		r, err := measured(args[0], func(e *inspect.Engine, in io.Reader) (eval.Data, error) { return eval.DLP(e, in, o) })
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %d rows, %d with data, %d without; %.0f µs a row (p50), %.0f µs (p99)\n", r.Set, r.N, r.Positives, r.Negatives, r.Micros.P50, r.Micros.P99)
			for _, by := range []struct {
				title  string
				labels []eval.Label
			}{{"BY label", r.ByLabel}, {"BY category", r.Category}} {
				fmt.Fprintln(w)
				t := a.table(by.title, "N", "FOUND", "FLAGGED WRONGLY", "VALUES")
				for _, l := range by.labels {
					found, flagged, values := "", "", ""
					if l.Found.N > 0 {
						found = share(&l.Found)
					}
					if l.Flagged.N > 0 {
						flagged = share(&l.Flagged)
					}
					if l.Expected > 0 {
						values = fmt.Sprintf("%d of %d", l.Seen, l.Expected)
					}
					t.add(l.Name, itoa(l.N), found, flagged, values)
				}
				t.write(w)
			}
			a.writeMisses(w, r.Misses)
		})
	})
	c.Flags().BoolVar(&o.Misses, "misses", false, "list what was missed or flagged wrongly, by id")
	return c
}

// measured opens a set and measures it with the shipped engine.
func measured[R any](file string, measure func(*inspect.Engine, io.Reader) (R, error)) (R, error) {
	var none R
	in, err := os.Open(file)
	if err != nil {
		return none, access.Errorf(access.CodeInvalid, "opening the set: %w", err)
	}
	defer in.Close()
	e, err := inspect.New()
	if err != nil {
		return none, fmt.Errorf("compiling the detectors: %w", err)
	}
	r, err := measure(e, in)
	if err != nil {
		return none, access.Errorf(access.CodeInvalid, "%s: %w", file, err)
	}
	return r, nil
}

func (a *app) writeEval(w io.Writer, r eval.Result) {
	fmt.Fprintf(w, "%s: %d rows, %d poisoned, %d benign; %.0f µs a row (p50), %.0f µs (p99)\n\n", r.Set, r.N, r.Positives, r.Negatives, r.Micros.P50, r.Micros.P99)
	t := a.table("TIER", "FOUND OF THE POISONED", "FLAGGED OF THE BENIGN")
	t.add("review", share(r.Tiers.Review.Recall), share(r.Tiers.Review.FPR))
	t.add("block", share(r.Tiers.Block.Recall), share(r.Tiers.Block.FPR))
	t.write(w)
	for _, by := range []string{"signal", "category", "source"} {
		a.writeGroups(w, "BY "+by, r.By[by])
	}
	if h := r.Holdout; h != nil {
		fmt.Fprintf(w, "\nheld out: %s\n", h.Rule)
		t := a.table("HELD OUT", "FOUND OF THE POISONED", "FLAGGED OF THE BENIGN")
		t.add("all", share(h.Review.Recall), share(h.Review.FPR))
		t.write(w)
		a.writeGroups(w, "HELD OUT BY signal", h.BySignal)
		a.writeGroups(w, "HELD OUT BY source", h.BySource)
	}
	a.writeMisses(w, r.Misses)
}

func (a *app) writeMisses(w io.Writer, m *eval.Misses) {
	if m == nil {
		return
	}
	fmt.Fprintln(w)
	for _, list := range []struct {
		what string
		ids  []string
	}{{"missed", m.Missed}, {"flagged wrongly", m.Flagged}, {"blocked wrongly", m.BlockedWrong}} {
		for _, id := range list.ids {
			fmt.Fprintf(w, "%s: %s\n", list.what, cell(id))
		}
	}
}

func (a *app) writeGroups(w io.Writer, title string, groups map[string]eval.Group) {
	fmt.Fprintln(w)
	t := a.table(title, "N", "REVIEW", "BLOCK")
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		both := eval.Tier{}
		if g.Block != nil {
			both = *g.Block
		}
		if g.Review.Recall != nil {
			t.add(name, itoa(g.N), share(g.Review.Recall), share(both.Recall))
		}
		if g.Review.FPR != nil {
			t.add(name+" (benign)", itoa(g.N), share(g.Review.FPR), share(both.FPR))
		}
	}
	t.write(w)
}

// share is a rate as people read it: its value, its counts, its bounds.
func share(r *eval.Rate) string {
	if r == nil {
		return ""
	}
	low, high := r.Bounds()
	return fmt.Sprintf("%.3f  %d/%d  [%.3f, %.3f]", r.Rate, r.K, r.N, low, high)
}
