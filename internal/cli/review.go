package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
)

func (a *app) review() *cobra.Command {
	return a.group("review", "Look again at what was sanctioned", "rutile review list",
		a.reviewStart(), a.reviewList(), a.reviewAnswer(), a.reviewReport())
}

func selecting(c *cobra.Command, kind, owner *string) {
	c.Flags().StringVar(kind, "kind", "", "`server` or agent: only those")
	c.Flags().StringVar(owner, "owner", "", "only what this `team` or person owns")
}

func (a *app) reviewStart() *cobra.Command {
	var in api.ReviewStart
	c := a.command("start", "Make reviews due by a day", "rutile review start --due 2027-03-31 --reason 'spring review'", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		out, err := client.StartReviews(ctx, in)
		if err != nil {
			return err
		}
		return a.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "%d selected, %d made due by %s\n", len(out.Items), out.Moved, day(out.Due))
		})
	})
	selecting(c, &in.Kind, &in.Owner)
	c.Flags().StringVar(&in.Due, "due", "", "last `day` to answer, for example 2027-03-31 (required)")
	c.Flags().StringVar(&in.Reason, "reason", "", "`why`, for the evidence")
	return c
}

func (a *app) reviewList() *cobra.Command {
	var q api.ReviewQuery
	c := a.command("list", "List what is to be looked at, with what was really used", "rutile review list --owner team-docs", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		out, err := client.Recertifications(ctx, q)
		if err != nil {
			return err
		}
		return a.print(out, func(w io.Writer) {
			if len(out.Items) == 0 {
				a.say("nothing is due within 30 days; --all shows what is due later")
				return
			}
			t := a.table("REVIEW", "DUE", "STATE", "OWNER", "TIER", "GRANTED", "USED 30 D", "USED 90 D", "LAST", "PROPOSAL")
			for _, i := range out.Items {
				owner := i.Owner
				if i.Orphaned != "" {
					owner += " (orphaned)"
				}
				t.add(string(i.Kind)+"/"+i.ID, day(i.Due), string(i.State), owner, itoa(i.Tier), itoa(len(i.Granted)), used(i.Used30, i.Calls30), used(i.Used90, i.Calls90), when(i.Last), i.Proposal)
			}
			t.write(w)
		})
	})
	selecting(c, &q.Kind, &q.Owner)
	c.Flags().BoolVar(&q.All, "all", false, "what is due later than in 30 days too")
	return c
}

func used(tools []string, calls int) string { return fmt.Sprintf("%d (%d calls)", len(tools), calls) }

func (a *app) reviewAnswer() *cobra.Command {
	var in admin.ReviewAnswer
	c := a.command("answer REVIEW", "Answer a review, as its owner", "rutile review answer server/files --keep --reason 'used every day'", calling(), func(ctx context.Context, args []string) error {
		kind, id, ok := strings.Cut(args[0], "/")
		if !ok {
			return access.Errorf(access.CodeUsage, "name what is reviewed as review list does, for example server/files")
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		out, err := client.AnswerReview(ctx, kind, id, in)
		if err != nil {
			return err
		}
		return a.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "%s %s: %s\n", out.Kind, cell(out.ID), in.Decision)
			fields(w, "granted", strings.Join(out.Granted, " "), "used in 90 days", strings.Join(out.Used90, " "), "by", strings.Join(out.Users90, " "), "not known to be unused", out.Young)
		})
	})
	for word, says := range map[string]string{"keep": "it is used as it is: due again after the period of its tier", "quarantine": "stop it", "retire": "end it for good"} {
		c.Flags().BoolFunc(word, says, func(string) error {
			if in.Decision != "" && in.Decision != word {
				return access.Errorf(access.CodeUsage, "give one of --keep, --quarantine and --retire")
			}
			in.Decision = word
			return nil
		})
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "`why`, for the evidence")
	return c
}

func (a *app) reviewReport() *cobra.Command {
	var q api.ReviewQuery
	c := a.command("report", "Say how reviews stand, by owner", "rutile review report", calling(), func(ctx context.Context, _ []string) error {
		q.All = true
		client, err := a.client()
		if err != nil {
			return err
		}
		out, err := client.Recertifications(ctx, q)
		if err != nil {
			return err
		}
		return a.print(out, func(w io.Writer) {
			type tally struct{ all, due, overdue, answered, retire, narrow int }
			by, order := map[string]*tally{}, []string{}
			for _, i := range out.Items {
				t := by[i.Owner]
				if t == nil {
					t = &tally{}
					by[i.Owner], order = t, append(order, i.Owner)
				}
				t.all++
				for n, yes := range map[*int]bool{&t.due: i.State == admin.ReviewDue, &t.overdue: i.State == admin.ReviewOverdue, &t.answered: i.Answered != nil, &t.retire: i.Proposal == "retire", &t.narrow: i.Proposal == "narrow"} {
					if yes {
						*n++
					}
				}
			}
			t := a.table("OWNER", "IN USE", "DUE", "OVERDUE", "EVER ANSWERED", "TO RETIRE", "TO NARROW")
			for _, owner := range order {
				x := by[owner]
				t.add(owner, itoa(x.all), itoa(x.due), itoa(x.overdue), itoa(x.answered), itoa(x.retire), itoa(x.narrow))
			}
			t.write(w)
		})
	})
	selecting(c, &q.Kind, &q.Owner)
	return c
}
