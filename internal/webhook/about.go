package webhook

import (
	"fmt"
	"strconv"
	"time"
)

// Finding is what an event says of something that is wrong. Why it is stands on its page:
// servers and agents chose words of that.
type Finding struct {
	ID       string    `json:"finding"`
	Rule     string    `json:"rule"`
	Severity string    `json:"severity"`
	Kind     string    `json:"kind"` // of its subject
	Subject  string    `json:"subject"`
	Place    string    `json:"place,omitempty"`
	Tier     int       `json:"tier,omitempty"`
	Owner    string    `json:"owner,omitempty"`
	State    string    `json:"state"`
	Since    time.Time `json:"since"` // it is so
	More     int       `json:"more,omitempty"`
	URL      string    `json:"url,omitempty"`
}

// Revocation is what an event says of the receipt of a revocation.
type Revocation struct {
	ID       string `json:"revocation"`
	Epoch    uint64 `json:"epoch"`
	Kind     string `json:"kind"` // of its target
	Target   string `json:"target"`
	By       string `json:"by"`
	State    string `json:"state"`
	Sessions int    `json:"sessions"`
	Grants   int    `json:"grants"`
	Requests int    `json:"requests"`
	Calls    int    `json:"calls"`
	DeniedUS int64  `json:"deniedUs"`
	Amended  int    `json:"amended,omitempty"` // times since it was first written
	URL      string `json:"url,omitempty"`
}

// about is what an event is about: the same text for the same event.
func (e Event) about() string {
	switch {
	case e.Finding != nil:
		return e.Finding.ID
	case e.Revocation != nil:
		return e.Revocation.ID
	case e.Type == RequestPending, e.Type == RequestAnswered:
		return e.Data.Request
	}
	return e.Data.Grant
}

// key tells an event from others of its type. A finding comes up again, and a receipt is
// amended.
func (e Event) key() string {
	switch {
	case e.Finding != nil:
		return e.about() + "\x00" + strconv.FormatInt(e.Finding.Since.UnixMilli(), 10)
	case e.Revocation != nil:
		return e.about() + "\x00" + strconv.Itoa(e.Revocation.Amended)
	}
	return e.about()
}

// data is what is sent of an event as JSON.
func (e Event) data() any {
	switch {
	case e.Finding != nil:
		return e.Finding
	case e.Revocation != nil:
		return e.Revocation
	}
	return e.Data
}

// crowd reports whether events like e may come by hundreds. They get half of a queue, so
// that what people are asked has room beside them.
func (e Event) crowd() bool { return e.Finding != nil || e.Revocation != nil }

// line is the finding as one line of text.
func (f *Finding) line(resolved bool) string {
	out := fmt.Sprintf("%s finding %s about %s %s", escape(f.Severity), code(f.Rule), escape(f.Kind), code(f.Subject))
	if resolved {
		out += " is resolved"
	}
	if f.Owner != "" {
		out += ", owner " + code(f.Owner)
	}
	if f.More > 0 {
		out += fmt.Sprintf(", and %d more at once", f.More)
	}
	return out + ": <" + f.URL + ">"
}

// line is the receipt as one line of text.
func (r *Revocation) line() string {
	out := fmt.Sprintf("%s revoked %s %s: %d sessions, %d grants, %d calls in flight", code(r.By), escape(r.Kind), code(r.Target), r.Sessions, r.Grants, r.Calls)
	if r.State != "done" {
		out += "; some of what was minted under it lives"
	}
	return out + ": <" + r.URL + ">"
}
