package audit

import "time"

// A clock that is set forward must not make everything old at once. What retention
// goes by is how far the clock is believed: what it said when retention last ran, and
// the time the machine ran since, and clockSlack more. A clock that is further is
// believed once the log has run for clockTrial with it, or a person says that it is
// right. A clock that is set back is believed at once: nothing goes for it.
const (
	clockSlack = 3 * 24 * time.Hour
	clockTrial = 7 * 24 * time.Hour
)

// believe moves what is believed towards now and reports whether the clock is further
// than that. up is how long the process ran, last how long it had at the call before,
// base what was believed when it began.
func (r *retention) believe(now time.Time, up time.Duration, base time.Time, last time.Duration, said bool) (doubted bool) {
	now = now.UTC().Truncate(time.Microsecond)
	ran := max(0, up-last)
	switch {
	case !now.After(r.Clock), said, !now.After(base.Add(up + clockSlack)), r.Doubted+ran >= clockTrial:
		r.Clock, r.Doubted = now, 0
		return false
	}
	r.Clock, r.Doubted = r.Clock.Add(ran), r.Doubted+ran
	return true
}
