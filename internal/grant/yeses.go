package grant

import (
	"slices"
	"time"
)

// maxYeses is how many approvals of one person within an hour are no surprise. More
// are let through and said so in the evidence: who approves that many hardly looks.
const maxYeses = 60

// yeses remembers when people approved, as far as this process knows. The Broker's
// mu guards it.
type yeses map[string][]time.Time

// count notes an approval and returns how many of that person fall into the hour
// before it. A clock that was set back forgets nothing.
func (y yeses) count(by string, at time.Time) int {
	y[by] = append(slices.DeleteFunc(y[by], func(t time.Time) bool { return !t.After(at.Add(-time.Hour)) }), at)
	return len(y[by])
}
