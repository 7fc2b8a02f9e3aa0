package sink

import (
	"encoding/json"
	"time"

	"rutile/internal/audit"
)

// cloudEvent is the JSON form of CloudEvents 1.0.2. source and id together name
// one event for ever (spec 3.1.1), so a receiver knows a repetition.
func (e encoder) cloudEvent(x *audit.Told) ([]byte, error) {
	r := recordOf(x)
	typ := "io.rutile.decision.v1"
	switch r.Kind {
	case KindChange:
		typ = "io.rutile.change.v1"
	case KindLog:
		typ = "io.rutile.log.v1"
	}
	subject := r.Decision
	if subject == "" {
		subject = r.Change
	}
	return json.Marshal(struct {
		Spec    string    `json:"specversion"`
		ID      string    `json:"id"`
		Source  string    `json:"source"`
		Type    string    `json:"type"`
		Subject string    `json:"subject,omitempty"`
		Time    time.Time `json:"time"`
		Content string    `json:"datacontenttype"`
		Data    record    `json:"data"`
	}{"1.0", r.ID, r.Origin, typ, subject, r.At, "application/json", r})
}
