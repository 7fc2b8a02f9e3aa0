package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
)

func (a *app) audit() *cobra.Command {
	return a.group("audit", "Evidence: follow, find, prove, check offline, hand over", "rutile audit tail",
		a.auditTail(), a.auditSearch(), a.auditShow(), a.auditProve(), a.auditVerify(), a.auditExport(), a.auditReindex(), a.auditErase(), a.auditRetention(), a.auditWitness())
}

// filter is what restricts a search.
type filter struct{ values map[string]*string }

func filterFlags(c *cobra.Command) *filter {
	f := &filter{values: map[string]*string{}}
	for _, x := range []struct{ name, help string }{
		{"type", "`types` of evidence: verdict, intent (a call), outcome (a call that ended), admin, loss, with commas between"},
		{"agent", "`agent` that acted"}, {"subject", "`user` on whose behalf"}, {"session", "`session` it was part of"}, {"task", "`task` it was for"},
		{"server", "`server` it was about"}, {"tool", "`tool` or prompt, as the server calls it"},
		{"decision", "decision or change: dec_… or chg_…"}, {"outcome", "what was decided: permit, deny, …"}, {"status", "how a call ended: ok, tool_error, …; open if it has not"},
		{"policy", "`policy` that took part"}, {"grant", "`grant` it was permitted under, or that was changed"}, {"label", "`label` of data its session had touched or its answer added"}, {"trace", "W3C trace `id`"}, {"text", "words that all appear"},
		{"since", "begun not before this `time`: 2026-11-24, 2026-11-24T10:00:00Z, or 1h ago as 1h"}, {"until", "begun before this `time`"},
	} {
		f.values[x.name] = c.Flags().String(x.name, "", x.help)
	}
	return f
}

func (f *filter) query() url.Values {
	v := url.Values{}
	for k, s := range f.values {
		if *s != "" {
			v.Set(k, *s)
		}
	}
	return v
}

func (a *app) auditTail() *cobra.Command {
	var n int
	var follow bool
	var f *filter
	var c *cobra.Command
	c = a.command("tail", "Show the newest evidence and follow it", "rutile audit tail", calling(), func(ctx context.Context, _ []string) error {
		if n < 0 || n > 1000 {
			return access.Errorf(access.CodeUsage, "--lines must be between 0 and 1000")
		}
		// Asked for a number of lines, it shows them and ends, as tail does.
		follow = follow || !c.Flags().Changed("lines") && !c.Flags().Changed("follow")
		v := f.query()
		v.Set("follow", strconv.FormatBool(follow))
		if n > 0 {
			v.Set("limit", strconv.Itoa(n))
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		return client.Tail(ctx, v, func(r audit.Row) error {
			if a.format == "table" {
				fmt.Fprintln(a.out, rowLine(r))
				return a.out.err
			}
			b, err := api.Marshal(r)
			if err != nil {
				return err
			}
			if a.format == "yaml" {
				text, err := toYAML(b)
				if err != nil {
					return err
				}
				b = []byte("---\n" + text)
			} else {
				b = plainJSON(b)
			}
			_, err = a.out.Write(b)
			return err
		})
	})
	c.Long = `Show the newest evidence and follow it until Ctrl-C; a call that ends meanwhile
comes again. With --lines it shows that many and ends, unless --follow is given
too. With -o json every line is one JSON document.`
	c.Flags().IntVarP(&n, "lines", "n", 10, "so many of the newest first")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	f = filterFlags(c)
	return c
}

// rowLine is one piece of evidence on one line: of a call what was decided and,
// once it ended, how.
func rowLine(r audit.Row) string {
	var what string
	switch r.Type {
	case "admin":
		what = r.Text // verb, kind, object, actor and reason
	case "intent", "verdict", "outcome":
		what = r.Agent
		if r.Subject != "" {
			what += " for " + r.Subject
		} else if r.Erased {
			what += " for someone erased"
		}
		what += " →"
		if r.Server != "" {
			what += " " + r.Server
		}
		if r.Tool != "" {
			what += "/" + r.Tool
		}
		if r.Method != "" && r.Method != "tools/call" { // also a question about the task a tool began
			what += " " + r.Method
		}
		if len(r.Policies) > 0 {
			what += " by " + strings.Join(r.Policies, ", ")
		}
	default:
		what = r.Text
	}
	word := r.Outcome
	if r.Would != "" && r.Would != r.Outcome {
		word += "(" + r.Would + ")"
	}
	word = strings.TrimSpace(word + " " + r.Status)
	line := fmt.Sprintf("%s %6d %-9s %-10s %s", r.At.UTC().Format("2006-01-02T15:04:05.000Z"), r.Index, cell(r.Type), cell(word), cell(what))
	if r.Decision != "" {
		line += "  " + cell(r.Decision)
	}
	return strings.TrimRight(line, " ")
}

// searchQuiet is how long a search may take before it says how far it is, and how long
// it is silent from then on.
const searchQuiet = 2 * time.Second

func (a *app) auditSearch() *cobra.Command {
	var f *filter
	var limit int
	var cursor string
	var count bool
	c := a.command("search [TEXT…]", "Find evidence, newest first", "rutile audit search --agent reader --outcome deny --since 24h", calling(), func(ctx context.Context, args []string) error {
		v := f.query()
		if len(args) > 0 {
			v.Set("text", strings.TrimSpace(v.Get("text")+" "+strings.Join(args, " ")))
		}
		if count {
			return a.countEvidence(ctx, v)
		}
		if cursor != "" {
			v.Set("cursor", cursor)
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		said := time.Now()
		rows, broken := client.SearchAll(ctx, v, limit, func(r api.Rows) {
			if time.Since(said) >= searchQuiet {
				a.say("searched back to %s, %d found; going on", exactly(*r.SearchedTo), len(r.Items))
				said = time.Now()
			}
		})
		if broken != nil && rows.SearchedTo == nil {
			return broken
		}
		defer a.more(rows.More, rows.Next)
		err = a.print(rows, func(w io.Writer) {
			for _, r := range rows.Items {
				fmt.Fprintln(w, rowLine(r))
			}
			if len(rows.Items) == 0 && broken == nil {
				a.say("no evidence matches")
			}
		})
		return errors.Join(err, broken)
	})
	c.Long = `Find evidence, newest first. A search that has to look at very much is asked for
part by part, until it has found as many as --limit says or is at the oldest: the
error output says how far it is. One that breaks off meanwhile shows what it found,
and the cursor to go on from; with -o json, searchedTo says how far back that is.`
	f = filterFlags(c)
	c.Flags().IntVar(&limit, "limit", 100, "at most so many, up to 1000")
	c.Flags().StringVar(&cursor, "cursor", "", "go on below this `index`")
	c.Flags().BoolVar(&count, "count", false, "say how many there are, up to a million")
	return c
}

func (a *app) countEvidence(ctx context.Context, v url.Values) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	got, err := client.Count(ctx, v)
	if err != nil {
		return err
	}
	return a.print(got, func(w io.Writer) { fmt.Fprintln(w, counted(got.Count, got.More)) })
}

// counted is a count that may be less than there is.
func counted(n int, more bool) string {
	if more {
		return strconv.Itoa(n) + "+"
	}
	return strconv.Itoa(n)
}

func (a *app) auditShow() *cobra.Command {
	c := a.command("show ID", "Show everything recorded of a decision, a change or a leaf", "rutile audit show dec_01KB…", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Leaves(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(got, func(w io.Writer) {
			for i, l := range got.Items {
				if i > 0 {
					fmt.Fprintln(w)
				}
				writeLeaf(w, l)
			}
		})
	})
	c.Long = "Show everything recorded of a decision (dec_…), a change (chg_…) or a leaf (its index), with what is sealed opened as far as the keys exist."
	return c
}

func writeLeaf(w io.Writer, l api.Leaf) {
	fmt.Fprintln(w, rowLine(l.Row))
	pairs := []string{"session", l.Session, "task", l.Task, "trace", l.TraceID}
	for _, k := range []string{"reason", "client", "instance", "target", "object", "token"} {
		pairs = append(pairs, k, l.Sealed[k])
	}
	fields(w, pairs...)
	if l.Erased {
		fmt.Fprintln(w, "its key was destroyed: what it sealed is erased")
	}
	if !l.Pruned.IsZero() {
		fmt.Fprintf(w, "its content was deleted by retention on %s\n", l.Pruned.Format(time.DateOnly))
	}
	if l.Excerpt != nil {
		fmt.Fprintf(w, "content (%d bytes): %s\n", l.Excerpt.Bytes, cell(l.Excerpt.Text))
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, l.Raw, "", "  ") == nil {
		fmt.Fprintf(w, "%s\n", plainJSON(pretty.Bytes()))
	}
}

func (a *app) auditReindex() *cobra.Command {
	return a.command("reindex", "Rebuild the search index from the log", "rutile audit reindex", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if err := client.Reindex(ctx); err != nil {
			return err
		}
		return a.print(api.Done{Done: true}, func(w io.Writer) { fmt.Fprintln(w, "the index is rebuilt") })
	})
}
