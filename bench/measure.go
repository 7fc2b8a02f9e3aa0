package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// measurement is one target at one level in one round.
type measurement struct {
	Round  int     `json:"round"`
	Work   string  `json:"work"`
	Target string  `json:"target"`
	C      int     `json:"c"`
	Rate   float64 `json:"callsPerSecond"`
	Ratio  float64 `json:"ratio"` // to the reference in the same round
	P50    float64 `json:"p50us"`
	P99    float64 `json:"p99us"`
	CPU    float64 `json:"cpuUsPerCall"` // of the target's process; 0 where unknown
}

func measure(ctx context.Context, cfg config, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	up, err := start(self, "upstream")
	if err != nil {
		return err
	}
	defer up.stop()
	upstreamURL, err := up.line()
	if err != nil {
		return err
	}
	var targets []target
	for _, name := range cfg.targets {
		dir, err := os.MkdirTemp("", "bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		t, stop, err := startTarget(ctx, name, cfg, upstreamURL, dir)
		if stop != nil {
			defer stop()
		}
		if errors.Is(err, errNotHere) {
			fmt.Fprintf(out, "left out: %s is not here\n", name)
			continue
		}
		if err != nil {
			return fmt.Errorf("starting %s: %w", name, err)
		}
		targets = append(targets, t)
	}
	time.Sleep(5 * time.Second) // what idles is measured when it does
	for i := range targets {
		targets[i].idle = costOf(targets[i].pid).resident
	}
	all, err := rounds(ctx, cfg, self, targets)
	if err != nil {
		return err
	}
	show(out, cfg, targets, all)
	if cfg.revocations > 0 {
		if err := revocations(ctx, cfg, targets, out); err != nil {
			return err
		}
	}
	if cfg.json == "" {
		return nil
	}
	raw, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(cfg.json, append(raw, '\n'), 0o644)
}

func rounds(ctx context.Context, cfg config, self string, targets []target) ([]measurement, error) {
	r := rand.New(rand.NewPCG(cfg.seed, 0))
	var all []measurement
	for round := range cfg.rounds {
		for _, w := range cfg.works {
			for _, c := range cfg.levelsOf(w) {
				here, err := side(ctx, cfg, self, targets, w, c, r.Perm(len(targets)))
				if err != nil {
					return nil, err
				}
				for i := range here {
					here[i].Round = round
				}
				all = append(all, here...)
			}
		}
	}
	return all, nil
}

// side measures the targets side by side, once each.
func side(ctx context.Context, cfg config, self string, targets []target, w work, c int, order []int) ([]measurement, error) {
	var here []measurement
	for _, i := range order {
		if targets[i].name == "sdk" && !w.sdk {
			continue
		}
		m, err := one(ctx, cfg, self, targets[i], w, c)
		if err != nil {
			return nil, fmt.Errorf("%s of %s at c=%d: %w", w.name, targets[i].name, c, err)
		}
		here = append(here, m)
	}
	ref := slices.IndexFunc(here, func(m measurement) bool { return m.Target == reference })
	for i := range here {
		here[i].Ratio = here[i].Rate / here[ref].Rate
	}
	return here, nil
}

// one measures a target once, after a short load that is not counted.
func one(ctx context.Context, cfg config, self string, t target, w work, c int) (measurement, error) {
	o := order{Work: w.name, URL: t.at(w.server), C: c, Duration: cfg.duration, Decides: t.token != nil}
	if t.token != nil {
		var err error
		if o.Token, err = t.token(ctx, w.server); err != nil {
			return measurement{}, err
		}
	}
	warm := o
	warm.Duration = min(cfg.duration/5, 300*time.Millisecond)
	if _, err := ask(ctx, self, warm); err != nil {
		return measurement{}, err
	}
	before := costOf(t.pid)
	s, err := ask(ctx, self, o)
	if err != nil {
		return measurement{}, err
	}
	after := costOf(t.pid)
	m := measurement{
		Work: w.name, Target: t.name, C: c, Rate: float64(s.Calls) / s.Elapsed.Seconds(),
		P50: float64(s.P50.Nanoseconds()) / 1e3, P99: float64(s.P99.Nanoseconds()) / 1e3,
	}
	if before.ok && after.ok {
		m.CPU = float64((after.cpu - before.cpu).Microseconds()) / float64(s.Calls)
	}
	return m, nil
}

// ask runs a generator.
func ask(ctx context.Context, self string, o order) (sample, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, self, "load")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(raw), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("generating load: %w", err)
	}
	var s sample
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("reading the generator's figures: %w", err)
	}
	if s.Failed > 0 || s.Calls == 0 {
		return s, fmt.Errorf("%d of %d callers failed: %s", s.Failed, o.C, s.Why)
	}
	return s, nil
}

func show(out io.Writer, cfg config, targets []target, all []measurement) {
	fmt.Fprintf(out, "%d rounds of %v, %d cores, %s, seed %d; min/median/max\n", cfg.rounds, cfg.duration, runtime.NumCPU(), runtime.Version(), cfg.seed)
	for _, work := range cfg.works {
		fmt.Fprintf(out, "\n%s: %s\n", work.name, work.what)
		for _, c := range cfg.levelsOf(work) {
			table(out, targets, all, work, c)
		}
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "target\tidle MiB\tpeak MiB\twhat was on")
	for _, t := range targets {
		idle, peak := "–", "–"
		if c := costOf(t.pid); c.ok && c.peak > 0 {
			idle, peak = fmt.Sprintf("%.1f", float64(t.idle)/1024), fmt.Sprintf("%.1f", float64(c.peak)/1024)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.name, idle, peak, t.note)
	}
	_ = w.Flush()
}

// table shows what was measured of a work at a level.
func table(out io.Writer, targets []target, all []measurement, work work, c int) {
	fmt.Fprintf(out, "\nc=%d\n", c)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "target\tcalls/s\t×RP\tp50 µs\tp99 µs\tCPU µs/call\t")
	for _, t := range targets {
		of := func(f func(measurement) float64, format string) string {
			var v []float64
			for _, m := range all {
				if m.Work == work.name && m.Target == t.name && m.C == c {
					v = append(v, f(m))
				}
			}
			return spread(v, format)
		}
		cpu := "–"
		if t.pid != 0 {
			cpu = of(func(m measurement) float64 { return m.CPU }, "%.0f")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t\n", t.name, of(func(m measurement) float64 { return m.Rate }, "%.0f"),
			of(func(m measurement) float64 { return m.Ratio }, "%.2f"), of(func(m measurement) float64 { return m.P50 }, "%.0f"),
			of(func(m measurement) float64 { return m.P99 }, "%.0f"), cpu)
	}
	_ = w.Flush() // out is what it is
}

// spread is the smallest, middle and largest of some figures.
func spread(v []float64, format string) string {
	if len(v) == 0 {
		return "–"
	}
	slices.SortFunc(v, cmp.Compare[float64])
	return fmt.Sprintf(strings.Join([]string{format, format, format}, "/"), v[0], v[len(v)/2], v[len(v)-1])
}
