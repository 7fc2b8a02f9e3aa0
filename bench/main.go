// Command bench measures what Rutile costs next to what one would otherwise put
// in front of an MCP server, in one run on one machine.
//
// Every target stands in front of the same upstream and gets the same load.
// Generator, target and upstream are processes of their own; targets are
// interleaved within rounds in shuffled order; every reply is checked for the
// nonce of its call. Absolute times on a shared machine mean little: the ratios
// to a plain reverse proxy in the same round are the result, and the processor
// time per call of the target's process is the steadiest figure.
//
// It reaches nothing but the loopback interface.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
)

type config struct {
	rounds      int
	duration    time.Duration
	works       []work
	levels      []int
	targets     []string
	rutile      string
	revocations int // 0 for none
	policies    int
	durability  string
	seed        uint64
	json        string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] { // the parts this program plays in processes of their own
		case "upstream":
			return serve(upstream{})
		case "rp":
			return serveReverseProxy(args[1])
		case "sdk":
			return serveSDK(ctx, args[1])
		case "load":
			return generate(ctx, os.Stdin, os.Stdout)
		}
	}
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	return measure(ctx, cfg, os.Stdout)
}

func parse(args []string) (config, error) {
	var c config
	var levels, targets, works string
	var revocations int
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.IntVar(&c.rounds, "rounds", 5, "rounds; every target is measured once per round and level")
	fs.DurationVar(&c.duration, "d", 1500*time.Millisecond, "length of one measurement")
	fs.StringVar(&works, "w", "call,result,list,revoke", "what is asked: calls with small replies, calls with replies of 1 MiB, lists of 1,000 tools; revoke measures how long a revoked agent is permitted")
	fs.IntVar(&revocations, "revocations", 100, "of -w revoke")
	fs.StringVar(&levels, "c", "1,16,64", "calls in flight, of -w call; the others have 8")
	fs.StringVar(&targets, "targets", "direct,rp,sdk,nginx,rutile", "what to measure; rp is the reference; nginx is left out where it is not installed; rutile=FILE is another build of rutile")
	fs.StringVar(&c.rutile, "rutile", "bin/rutile", "the program to measure")
	fs.IntVar(&c.policies, "policies", 10000, "policies in force in rutile")
	fs.StringVar(&c.durability, "durability", "strict", "rutile's evidence: strict or relaxed_reads")
	fs.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "of the order of targets")
	fs.StringVar(&c.json, "json", "", "also write every measurement to this file")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	for s := range strings.SplitSeq(levels, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 4096 {
			return c, fmt.Errorf("-c: %q is no number of calls", s)
		}
		c.levels = append(c.levels, n)
	}
	for s := range strings.SplitSeq(works, ",") {
		if s == "revoke" {
			c.revocations = revocations
			continue
		}
		w, ok := workOf(s)
		if !ok {
			return c, fmt.Errorf("-w: %q is none of call, result, list and revoke", s)
		}
		c.works = append(c.works, w)
	}
	c.targets = strings.Split(targets, ",")
	if !slices.Contains(c.targets, reference) {
		c.targets = append(c.targets, reference)
	}
	if fs.NArg() > 0 || c.rounds < 1 || revocations < 1 || c.duration <= 0 {
		return c, errors.New("at least one round of some length, and no arguments besides the flags")
	}
	return c, nil
}

func (c config) levelsOf(w work) []int {
	if w.levels != nil {
		return w.levels
	}
	return c.levels
}
