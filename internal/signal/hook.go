package signal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// hooked is what a webhook says: {"type":"revoke","data":{"kind":"agent","id":"…"}}.
type hooked struct {
	Type string `json:"type"`
	Data struct {
		Kind    string          `json:"kind"`
		ID      string          `json:"id"`
		Subject json.RawMessage `json:"subject"`
	} `json:"data"`
}

// The types of webhooks.
const (
	hookRevoke  = "revoke"
	hookSuspend = "suspend"
)

// hook takes a webhook. It names what is to end by what it is called here, or by a
// subject that a Match names.
func (r *Receiver) hook(ctx context.Context, s *Source, h http.Header, body []byte) error {
	now := r.cfg.Now()
	var id string
	var bad error
	if err := r.cfg.Secrets.Compare(ctx, s.Secret, r.cfg.Origin, func(secret []byte) bool {
		id, bad = r.cfg.Hook(secret, h, body, now)
		return bad == nil
	}); err != nil {
		return err
	}
	if bad != nil {
		return refuse(ErrAuth, "%s", bad)
	}
	if !printable(id) { // it would be another once it was kept, and never done
		return refuse(ErrRequest, "its id is no text")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var in hooked
	if len(body) > MaxSET || d.Decode(&in) != nil || !ended(d) {
		return refuse(ErrRequest, `it is not {"type": "revoke", "data": {"kind": "agent", "id": "…"}}`)
	}
	e := Event{ID: id, At: now, Data: json.RawMessage("{}")}
	switch in.Type {
	case hookRevoke:
		e.Type = SessionRevoked
	case hookSuspend:
		e.Type = AccountDisabled
	default:
		return refuse(ErrRequest, "its type is neither revoke nor suspend")
	}
	switch direct := in.Data.Kind + in.Data.ID; {
	case in.Data.Subject != nil && direct == "":
		var err error
		if e.Subject, err = readSubject(in.Data.Subject, 0); err != nil {
			return refuse(ErrRequest, "%s", err)
		}
	case in.Data.Subject == nil && directKind(in.Data.Kind) && in.Data.ID != "" && printable(in.Data.ID):
		e.Subject.Direct = &Direct{in.Data.Kind, in.Data.ID}
	default:
		return refuse(ErrRequest, "it names either a kind (agent, session or user) and an id, or a subject")
	}
	_, err := r.take(ctx, s, []Event{e})
	return err
}

// ended reports whether nothing follows what was read.
func ended(d *json.Decoder) bool {
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}

func directKind(k string) bool { return k == MayAgent || k == MaySession || k == MayUser }
