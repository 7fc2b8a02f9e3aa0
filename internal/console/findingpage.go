package console

import (
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/finding"
)

// findingPage is one finding with all that is known of it, and what can be done.
type findingPage struct {
	findingRow
	Can      bool
	Reported bool // a person reported it, so that a person ends it
	Until    string
}

func (c *Console) finding(v *visit) (any, error) {
	f, err := c.work.Findings.Show(v.Context(), v.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return findingPage{findingRow: findingRow{f, f.Now(v.now), f.Overdue(v.now), subjectURL(f.Subject)}, Can: c.may(v, admin.OpFinding) && f.State != finding.Resolved,
		Reported: f.Rule == admin.WrongDenial, Until: v.now.Add(muteTime).UTC().Format(time.DateOnly)}, nil
}

// dealWith gives a finding an owner and a due date, leaves it alone until a day, takes
// that back, or answers one that was reported.
func (c *Console) dealWith(v *visit, f map[string]string) (string, string, error) {
	id := v.PathValue("id")
	to := at("findings", id)
	day := time.Time{}
	if f["day"] != "" {
		d, err := time.Parse(time.DateOnly, f["day"])
		if err != nil {
			return to, "", access.Errorf(access.CodeInvalid, "write a day such as 2027-03-31")
		}
		day = d.AddDate(0, 0, 1).Add(-time.Second)
	}
	var err error
	switch f["verb"] {
	case "assign":
		_, err = c.work.Findings.Assign(v.Context(), v.session.actor, id, f["text"], day)
		return to, v.words.t("The finding is with %s now.", or(line(f["text"]), v.words.t("nobody"))), err
	case "mute":
		if day.IsZero() {
			return to, "", access.Errorf(access.CodeInvalid, "say until which day it is left alone")
		}
		_, err = c.work.Findings.Mute(v.Context(), v.session.actor, id, f["text"], day)
		return to, v.words.t("The finding is left alone until %s.", f["day"]), err
	case "unmute":
		_, err = c.work.Findings.Unmute(v.Context(), v.session.actor, id, f["text"])
		return to, v.words.t("The finding counts again."), err
	case "answer":
		_, err = c.work.Findings.AnswerReport(v.Context(), v.session.actor, id, f["text"])
		return to, v.words.t("The report is answered."), err
	default:
		return to, "", access.Errorf(access.CodeInvalid, "a finding is assigned, muted, unmuted or answered")
	}
}
