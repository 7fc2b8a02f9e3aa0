package api

import (
	"context"
	"net/url"

	"rutile/internal/access"
	"rutile/internal/admin"
)

// ReviewQuery selects reviews.
type ReviewQuery struct {
	Kind  string `json:"kind,omitempty"` // server or agent; both if left out
	Owner string `json:"owner,omitempty"`
	All   bool   `json:"all,omitempty"` // those due later than in thirty days too
}

func (q ReviewQuery) filter() admin.ReviewFilter {
	return admin.ReviewFilter{Kind: admin.ReviewKind(q.Kind), Owner: q.Owner, All: q.All}
}

// Reviewed is what is to be looked at.
type Reviewed struct {
	Items []admin.ReviewItem `json:"items"`
}

// ReviewStart makes reviews due.
type ReviewStart struct {
	Kind   string `json:"kind,omitempty"` // server or agent; both if left out
	Owner  string `json:"owner,omitempty"`
	Due    string `json:"due"` // a day
	Reason string `json:"reason,omitempty"`
}

func (a *API) recertifications(c *call) (any, error) {
	q, _, err := c.query("kind", "owner", "all")
	if err != nil {
		return nil, err
	}
	if all := q.Get("all"); all != "" && all != "true" && all != "false" {
		return nil, access.Errorf(access.CodeInvalid, "all is true or false")
	}
	items, err := a.deps.Admin.Reviews(c.Context(), ReviewQuery{q.Get("kind"), q.Get("owner"), q.Get("all") == "true"}.filter())
	if err != nil {
		return nil, err
	}
	return Reviewed{append([]admin.ReviewItem{}, items...)}, nil
}

func (a *API) startReviews(c *call) (any, error) {
	var in ReviewStart
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	due, err := endOf("due", in.Due)
	if err != nil {
		return nil, err
	}
	return answerOf(a.deps.Admin.StartReviews(c.Context(), c.actor, ReviewQuery{Kind: in.Kind, Owner: in.Owner}.filter(), due, in.Reason))
}

func (a *API) answerReview(c *call) (any, error) {
	var in admin.ReviewAnswer
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return answerOf(a.deps.Admin.AnswerReview(c.Context(), c.actor, admin.ReviewKind(c.PathValue("kind")), c.PathValue("id"), in))
}

// Recertifications lists what is to be looked at again.
func (c *Client) Recertifications(ctx context.Context, q ReviewQuery) (Reviewed, error) {
	v := url.Values{}
	for k, s := range map[string]string{"kind": q.Kind, "owner": q.Owner} {
		if s != "" {
			v.Set(k, s)
		}
	}
	if q.All {
		v.Set("all", "true")
	}
	path := "recertifications"
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return ask[Reviewed](ctx, c, "GET", path, nil)
}

// StartReviews makes reviews due.
func (c *Client) StartReviews(ctx context.Context, in ReviewStart) (admin.Campaign, error) {
	return ask[admin.Campaign](ctx, c, "POST", "recertifications", in)
}

// AnswerReview answers one review.
func (c *Client) AnswerReview(ctx context.Context, kind, id string, in admin.ReviewAnswer) (admin.ReviewItem, error) {
	return ask[admin.ReviewItem](ctx, c, "POST", "recertifications/"+url.PathEscape(kind)+"/"+url.PathEscape(id), in)
}
