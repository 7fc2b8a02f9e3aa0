package signal

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// The states of a stream (SSF 1.0, section 8.1.2.1).
const (
	Enabled  = "enabled"
	Paused   = "paused"   // what happens is kept until it is enabled
	Disabled = "disabled" // what happens is not told, now or later
)

// Statuses lists the states of a stream.
func Statuses() []string { return []string{Disabled, Enabled, Paused} }

// Stream is what a receiver of ours set up of what it is told, within what is declared for
// it. The zero Stream is one that nobody set up: enabled, with all that is declared.
type Stream struct {
	Status    string    `json:"status,omitempty"` // "" is enabled
	Reason    string    `json:"reason,omitempty"` // of Status, the receiver's words
	Text      string    `json:"description,omitempty"`
	Requested []string  `json:"requested,omitempty"` // short names of events; nil is all
	Without   []Subject `json:"without,omitempty"`   // subjects it is not told of
	Made      bool      `json:"made,omitempty"`      // the receiver created it
	Gone      bool      `json:"gone,omitempty"`      // the receiver deleted it
	Verified  time.Time `json:"verified,omitzero"`   // verification was asked for last
	// Refused is the last event that the receiver would not take, and why.
	Refused   string    `json:"refused,omitempty"`
	RefusedAt time.Time `json:"refusedAt,omitzero"`
}

// State is the state of a stream.
func (s *Stream) State() string {
	switch {
	case s.Gone:
		return Disabled
	case s.Status == "":
		return Enabled
	}
	return s.Status
}

// Wants reports whether a receiver asked for events of a short name about a subject.
func (s *Stream) Wants(event string, about *Subject) bool {
	return (s.Requested == nil || slices.Contains(s.Requested, event)) && !slices.ContainsFunc(s.Without, func(w Subject) bool { return w.covers(about) })
}

// covers reports whether a subject that was taken out of a stream is another (SSF 1.0,
// section 8.1.3.1): a simple one is also who stands as a part of a complex one, and of two
// complex ones the parts that both have must be the same.
func (s *Subject) covers(other *Subject) bool {
	if len(s.Parts) == 0 {
		if meet(s.Keys(), other.Keys()) {
			return true
		}
		for _, part := range other.Parts {
			if meet(s.Keys(), part.Keys()) {
				return true
			}
		}
		return false
	}
	common := 0
	for name, part := range s.Parts {
		theirs, ok := other.Parts[name]
		if !ok {
			continue
		}
		if common++; !meet(part.Keys(), theirs.Keys()) {
			return false
		}
	}
	return common > 0
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// Same reports whether two subjects are the same words.
func (s *Subject) Same(other *Subject) bool { return s.Text() == other.Text() }

// ReadSubject reads a subject as a receiver names it.
func ReadSubject(raw json.RawMessage) (Subject, error) { return readSubject(raw, 0) }

// Parcel is an event that is to be told, without what a token of it says of who it is from
// and for.
type Parcel struct {
	ID   string // jti: that of the leaf, for ever
	Body []byte // JSON: sub_id, events, toe
	At   time.Time
}

// Claims are the claims of a security event token of p (RFC 8417, SSF 1.0 section 4).
func (p *Parcel) Claims(issuer, audience string, now time.Time) ([]byte, error) {
	var body struct {
		Subject json.RawMessage `json:"sub_id"`
		Events  json.RawMessage `json:"events"`
		At      int64           `json:"toe,omitempty"`
	}
	if err := json.Unmarshal(p.Body, &body); err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Issuer   string          `json:"iss"`
		Audience string          `json:"aud"`
		ID       string          `json:"jti"`
		Issued   int64           `json:"iat"`
		At       int64           `json:"toe,omitempty"`
		Subject  json.RawMessage `json:"sub_id"`
		Events   json.RawMessage `json:"events"`
	}{issuer, audience, p.ID, now.Unix(), body.At, body.Subject, body.Events})
}

// Verify is the event that answers a request to verify a stream (SSF 1.0, section 8.1.4).
func Verify(id, stream, state string, at time.Time) (Parcel, error) {
	event := map[string]string{}
	if state != "" {
		event["state"] = state
	}
	body, err := json.Marshal(map[string]any{"sub_id": map[string]string{"format": "opaque", "id": stream}, "events": map[string]any{TypeOf(Verification): event}})
	return Parcel{ID: id, Body: body, At: at}, err
}

// Streams keeps streams and what waits in those that are fetched from.
type Streams interface {
	// Stream returns a stream and its revision; both are zero where nobody set it up.
	Stream(ctx context.Context, id string) (Stream, uint64, error)
	// PutStream keeps a stream that had the revision rev; the error is an
	// access.CodeConflict where it has another.
	PutStream(ctx context.Context, id string, rev uint64, s Stream) error
	// Post puts parcels into a stream. What is there already stays as it is.
	Post(ctx context.Context, stream string, list []Parcel) error
	// Waiting returns the oldest parcels of a stream.
	Waiting(ctx context.Context, stream string, limit int) ([]Parcel, error)
	// Fetched removes parcels of a stream; nil removes all.
	Fetched(ctx context.Context, stream string, ids []string) error
	// Backlog is how many parcels wait, and since when; zero for none.
	Backlog(ctx context.Context, stream string) (n int, oldest time.Time, err error)
}
