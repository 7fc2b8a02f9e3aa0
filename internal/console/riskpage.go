package console

import (
	"context"
	"errors"
	"strconv"

	"rutile/internal/access"
	"rutile/internal/rehearsal"
)

// riskPage is what the scores of recorded calls come to.
type riskPage struct {
	Days      int
	Spans     []int
	Problem   string
	Alarms    *rehearsal.Alarms // nil until somebody asks
	Crossings []rehearsal.Crossing
	More      int // crossings that are not shown
}

// risk scores recorded calls anew. It changes nothing, so that asking is a link.
func (c *Console) risk(v *visit) (any, error) {
	p := &riskPage{Days: 30, Spans: []int{1, 7, 30, 90}}
	asked := v.q.Get("days")
	if asked == "" {
		return p, nil
	}
	var err error
	if p.Days, err = strconv.Atoi(asked); err != nil || p.Days < 1 || p.Days > 90 {
		return nil, access.Errorf(access.CodeInvalid, "recorded calls of the last 1 to 90 days can be scored")
	}
	ctx, stop := context.WithTimeout(v.Context(), draftTime)
	defer stop()
	got, err := c.work.Rehearsal.Alarms(ctx, v.now.AddDate(0, 0, -p.Days), "")
	switch {
	case errors.Is(err, context.DeadlineExceeded) && v.Context().Err() == nil, access.CodeOf(err) == access.CodeConflict:
		p.Problem = v.words.t("There are too many recorded calls for a page, or somebody else scores them now: take fewer days, or rutile risk replay.")
		return p, nil
	case err != nil:
		return nil, err
	}
	p.Alarms, p.Crossings, p.More = &got, got.Crossings, got.More
	p.More += leave(&p.Crossings)
	return p, nil
}
