package floweval

import (
	"rutile/internal/access"
	"rutile/internal/flow"
	"rutile/internal/policy"
)

// Shipped returns what the shipped rules say of a call of a tool that changes and sends,
// in a session that has read what anybody may have written.
func Shipped() (func(flow.Facts) (flow.Decision, string), error) {
	s := step{Tool: "send", Labels: []string{"external_sink", "state_changing"}}
	set, err := rules([]*record{{Steps: []step{s}}})
	if err != nil {
		return nil, err
	}
	return func(f flow.Facts) (flow.Decision, string) {
		return decide(set, &s, &policy.Query{Touched: &access.Touched{Taint: []string{access.LabelUntrusted}, Flow: f.Values()}})
	}, nil
}
