package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/discovery/inventory"
)

// Where machines enrol and report, on the agents' address.
const (
	FleetPath   = "/discovery/"
	enrolPath   = FleetPath + "v1/enrolments"
	batchesPath = FleetPath + "v1/batches"
)

// Headers of a signed batch.
const (
	headerDevice    = "Rutile-Device"
	headerSignature = "Rutile-Signature"
)

// maxReports is how many reports are read at once: each may be as long as a batch.
const maxReports = 4

// InviteDevice says what a machine may enrol as.
type InviteDevice struct {
	Label   string `json:"label"`
	Named   bool   `json:"named,omitempty"`
	Seconds int    `json:"seconds,omitempty"` // default 3600
}

func (a *API) devices(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	all, err := a.deps.Fleet.Devices(c.Context())
	if err != nil {
		return nil, err
	}
	return paged(all, func(d inventory.Device) string { return d.ID }, q.Get("cursor"), limit)
}

func (a *API) inviteDevice(c *call) (any, error) {
	var in InviteDevice
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Seconds < 0 || in.Seconds > 1<<31 {
		return nil, access.Errorf(access.CodeInvalid, "seconds is how long the token lives")
	}
	return a.deps.Fleet.Invite(c.Context(), c.actor, in.Label, in.Named, time.Duration(in.Seconds)*time.Second)
}

func (a *API) revokeDevice(c *call) (any, error) {
	var in Reason
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return a.deps.Fleet.Revoke(c.Context(), c.actor, c.PathValue("id"), in.Reason)
}

// Fleet serves machines that enrol and report. Nobody is signed in here: a token
// or the key of a machine signs what it sends.
func (a *API) Fleet() http.Handler {
	mux := http.NewServeMux()
	room := make(chan struct{}, maxReports)
	mux.HandleFunc("POST "+enrolPath, func(w http.ResponseWriter, r *http.Request) {
		a.fleet(w, r, maxSmall, func(raw []byte) (any, error) {
			s, err := admin.ReadEnrolment(raw)
			if err != nil {
				return nil, err
			}
			return a.deps.Fleet.Enrol(r.Context(), s)
		})
	})
	mux.HandleFunc("POST "+batchesPath, func(w http.ResponseWriter, r *http.Request) {
		d, err := a.deps.Fleet.Known(r.Context(), r.Header.Get(headerDevice))
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
		case <-r.Context().Done():
			return
		}
		a.fleet(w, r, maxReport, func(raw []byte) (any, error) {
			return a.deps.Fleet.Take(r.Context(), d, raw, r.Header.Get(headerSignature), strict)
		})
	})
	return mux
}

func (a *API) fleet(w http.ResponseWriter, r *http.Request, limit int64, do func([]byte) (any, error)) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		err = access.Errorf(access.CodeTooLarge, "the request has more than %d bytes", big.Limit)
	case err != nil:
		err = access.Errorf(access.CodeInvalid, "the request ended early")
	}
	var out any
	if err == nil {
		out, err = do(raw)
	}
	var b []byte
	if err == nil {
		b, err = Marshal(out)
	}
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	write(w, http.StatusOK, "application/json", b)
}

// Devices lists machines that may report.
func (c *Client) Devices(ctx context.Context, o ListOptions) (Page[inventory.Device], error) {
	return ask[Page[inventory.Device]](ctx, c, "GET", "devices"+o.query(), nil)
}

// InviteDevice makes a token that enrols one machine.
func (c *Client) InviteDevice(ctx context.Context, in InviteDevice) (admin.Ticket, error) {
	return ask[admin.Ticket](ctx, c, "POST", "devices", in)
}

// RevokeDevice ends what a machine may report.
func (c *Client) RevokeDevice(ctx context.Context, id, why string) (inventory.Device, error) {
	return ask[inventory.Device](ctx, c, "POST", "devices/"+url.PathEscape(id)+"/revoke", Reason{why})
}

// Enrol redeems an enrolment at a gateway's address for agents.
func Enrol(ctx context.Context, gateway string, s inventory.SignedEnrolment) (inventory.Device, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return inventory.Device{}, err
	}
	return send[inventory.Device](ctx, gateway, enrolPath, b, nil)
}

// SendBatch sends the bytes of a batch with their signature.
func SendBatch(ctx context.Context, gateway, device, signature string, raw []byte) (inventory.Result, error) {
	return send[inventory.Result](ctx, gateway, batchesPath, raw, http.Header{headerDevice: {device}, headerSignature: {signature}})
}

func send[T any](ctx context.Context, gateway, path string, body []byte, head http.Header) (T, error) {
	var out T
	c, err := NewClient(gateway, "")
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	if head != nil {
		req.Header = head
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return out, c.unreachable(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return out, c.unreachable(err)
	}
	if res.StatusCode != http.StatusOK {
		return out, errorOf(res.StatusCode, b)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, &access.Error{Code: access.CodeUnavailable, Msg: "what answers at " + gateway + " is not this version of rutile", Err: err}
	}
	return out, nil
}
