package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/grant"
)

// show shows a request to whoever may answer requests, and asks everybody else
// who they are.
func (c *Console) show(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("request")
	if !requestID(id) {
		c.missing(w, r)
		return
	}
	s, ok := c.session(r)
	if !ok {
		c.askWho(w, r, id, "")
		return
	}
	c.card(w, r, s, id, nil)
}

// card writes the page of a request as it is now. problem is why an answer had no
// effect.
func (c *Console) card(w http.ResponseWriter, r *http.Request, s session, id string, problem error) {
	k, err := c.desk.Card(r.Context(), s.actor, id)
	half := access.CodeOf(problem) == access.CodePartial
	switch {
	case err != nil && half: // what was done is said, whatever else is so
		c.refuse(w, r, problem)
		return
	case access.CodeOf(err) == access.CodeUnauthenticated:
		c.over(w, r, id)
		return
	case err != nil:
		c.refuse(w, r, err)
		return
	}
	page, err := c.view(c.wordsOf(r), s, k)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if a := page.Answer; a != nil && a.Sign {
		c.offerSigning(w, r, page.ID, a)
	}
	status := http.StatusOK
	if problem != nil {
		status, page.Problem = c.told(r, problem)
		page.Half = half
	}
	c.render(w, r, status, "request", page)
}

// over ends a session whose user or token does not count any more.
func (c *Console) over(w http.ResponseWriter, r *http.Request, request string) {
	c.sessions.end(c.sessionID(r))
	http.SetCookie(w, c.cookie(r, ""))
	words := c.wordsOf(r)
	text := words.t("The session is over: sign in again. Nothing was done.")
	if r.Method == http.MethodGet { // whoever removes what they signed in with is led to such a page
		text = words.t("The session is over: sign in again.")
	}
	c.askWho(w, r, request, text)
}

// answer takes the answer of a person. Where it had an effect the browser is sent
// to the page, so that loading it again asks for nothing; where it had none the
// page says what is so now.
func (c *Console) answer(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("request")
	if !requestID(id) {
		c.missing(w, r)
		return
	}
	f, err := readForm(r, append(answerFields(), "answer")...)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	s, ok := c.session(r)
	switch {
	case !ok:
		c.askWho(w, r, id, c.wordsOf(r).t("You are not signed in any more, so nothing was done. Sign in to answer."))
		return
	case !s.holds(f["form"]):
		c.refuse(w, r, otherSession())
		return
	}
	switch f["action"] {
	case "approve":
		err = c.approve(r, s, id, f)
	case "deny":
		_, err = c.desk.Deny(r.Context(), s.actor, id, strings.TrimSpace(f["reason"]))
	case "deny-suspend":
		_, err = c.desk.DenyAndSuspend(r.Context(), s.actor, id, strings.TrimSpace(f["reason"]))
	default:
		err = access.Errorf(access.CodeInvalid, "an answer is approve or deny")
	}
	switch {
	case access.CodeOf(err) == access.CodeUnauthenticated:
		c.over(w, r, id)
	case err != nil:
		c.card(w, r, s, id, err)
	default:
		http.Redirect(w, r, Path+id, http.StatusSeeOther)
	}
}

// answerFields are the fields of the form that approves, but for a signature.
func answerFields() []string {
	return []string{"form", "action", "minutes", "uses", "amount", "reason"}
}

// approve says yes, narrowed by what the form says, and signed where it has to be.
func (c *Console) approve(r *http.Request, s session, id string, f map[string]string) error {
	a, err := c.yes(r, s, id, f)
	if err != nil {
		return err
	}
	if f["answer"] != "" {
		if a.Signed, err = c.signature(r, s, id, f["answer"]); err != nil {
			return err
		}
	}
	_, err = c.desk.Approve(r.Context(), s.actor, id, a)
	return err
}

// yes is what the form that approves says.
func (c *Console) yes(r *http.Request, s session, id string, f map[string]string) (grant.Answer, error) {
	a := grant.Answer{Method: "page", Reason: strings.TrimSpace(f["reason"])}
	minutes, err := number(f["minutes"], "minutes")
	if err != nil {
		return a, err
	}
	a.Life = time.Duration(minutes) * time.Minute
	if a.Uses, err = number(f["uses"], "calls"); err != nil {
		return a, err
	}
	if a.Limits.Budget.Amount, err = number(f["amount"], "units of the budget"); err != nil {
		return a, err
	}
	if a.Reason != "" {
		return a, nil
	}
	if err := c.admin.Authorize(r.Context(), s.actor, admin.OpDecide); err != nil {
		return a, err // before anything is said about the request
	}
	v, err := c.desk.Request(r.Context(), id)
	if err != nil {
		return a, err
	}
	if v.Target.Tier >= reasonTier {
		return a, access.Errorf(access.CodeInvalid, "at tier %d an approval needs a reason: nothing was done", v.Target.Tier)
	}
	return a, nil
}

// reasonTier is the tier from which this page takes no approval without a reason.
const reasonTier = 3

// number reads a whole number above 0 in decimal; nothing is 0, which is as asked.
func number(s, what string) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != s {
		return 0, access.Errorf(access.CodeInvalid, "the number of %s must be a whole number above 0, or left empty: nothing was done", what)
	}
	return n, nil
}

// httpStatus is the one table from codes to statuses. What is not in it is 500.
func httpStatus(code access.Code) int {
	switch code {
	case access.CodeInvalid, access.CodeUsage:
		return http.StatusBadRequest
	case access.CodeUnauthenticated:
		return http.StatusUnauthorized
	case access.CodeDenied:
		return http.StatusForbidden
	case access.CodeNotFound:
		return http.StatusNotFound
	case access.CodeConflict:
		return http.StatusConflict
	case access.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case access.CodeFindings:
		return http.StatusUnprocessableEntity
	case access.CodeUnsupported:
		return http.StatusNotImplemented
	case access.CodeUpstream:
		return http.StatusBadGateway
	case access.CodeUnavailable, access.CodeEvidence:
		return http.StatusServiceUnavailable
	case access.CodeTimeout:
		return http.StatusGatewayTimeout
	default: // CodeInternal, and CodePartial: what failed is what is left
		return http.StatusInternalServerError
	}
}

// told returns what a person may read of an error; what is ours becomes a
// reference to the log.
func (c *Console) told(r *http.Request, err error) (status int, text string) {
	code := access.CodeOf(err)
	status, text = httpStatus(code), "something went wrong here"
	var e *access.Error
	if errors.As(err, &e) && code != access.CodeInternal {
		text = line(e.Msg)
	}
	if status >= http.StatusInternalServerError {
		ref := random()[:10]
		c.log.Error("an approval page did not succeed", "ref", ref, "method", r.Method, "error", access.Reasons(err))
		text += " (ref " + ref + " in the gateway's log)"
	}
	return status, text
}
