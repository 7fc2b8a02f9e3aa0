package gate

import (
	"context"
	"net/url"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// leaseRequest says which secret is needed, for which server and origin, and
// under which decision. A stdio server has the origin "stdio:".
// recorded says that an intent and an outcome will name what is leased.
// What of the arguments is masked is not among what it is narrowed to.
func leaseRequest(r *access.Request, dec *access.Decision, s registry.Server, args rawjson.Value, recorded bool) credential.LeaseRequest {
	c := s.Credential
	q := credential.LeaseRequest{
		Ref: c.Ref, Header: c.Header, Env: c.Env, Template: c.Value, Also: c.Also, Files: c.Files, Args: c.Args, Server: s.ID, Origin: "stdio:" + s.ID,
		Decision: dec.ID, Tier: dec.Tier, Outcome: dec.Outcome, Who: r.Who, Grant: dec.Grant, Recorded: recorded,
	}
	if h := s.Transport.HTTP; h != nil {
		q.URL = h.URL
		if u, err := url.Parse(h.URL); err == nil {
			q.Origin = u.Scheme + "://" + u.Host
		}
	}
	if h := s.Transport.HTTP; h != nil && !h.SSE {
		// A process and an event stream outlive the call, so that nothing of it may
		// decide what they are given.
		q.Method, q.Kind, q.Tool, q.Arguments = r.Method, r.Kind, r.Target, args
	}
	return q
}

// Scrub removes the leased secret from b, which it may return unchanged.
func (d *Dispatch) Scrub(b []byte) []byte {
	if d.Lease == nil {
		return b
	}
	out, _ := d.Lease.Scrub(b)
	return out
}

// findRepeated is the rule a server breaks that repeats the credential it was
// given, as evidence names it.
const findRepeated = "credential.repeated"

// findings adds what scrubbing found.
func (d *Dispatch) findings(found []string) []string {
	if d.Lease != nil && d.Lease.Repeated() {
		return append(found, findRepeated)
	}
	return found
}

// Release closes the lease.
func (d *Dispatch) Release() {
	if d.Lease != nil {
		d.Lease.Release()
	}
}

// Minted reports whether the credential was minted for d.
func (d *Dispatch) Minted() bool { return d.Lease != nil && d.Lease.Minted() }

// Share returns a dispatch of the same credential, to be released too.
func (d *Dispatch) Share() (*Dispatch, error) {
	own := *d
	if d.Lease == nil {
		return &own, nil
	}
	var err error
	own.Lease, err = d.Lease.Share()
	return &own, err
}

// Follow makes d know the credential an earlier part of the same call was made
// with; false if d's is not another of the same kind for the same caller.
func (d *Dispatch) Follow(earlier *Dispatch) bool {
	return d.Lease != nil && earlier.Lease != nil && d.Lease.Adopt(earlier.Lease)
}

// ready mints what is minted.
func (d *Dispatch) ready(ctx context.Context) error {
	if d.Lease == nil {
		return nil
	}
	return d.Lease.Ready(ctx)
}

// unlocks is what evidence keeps of the lease.
func (d *Dispatch) unlocks(at time.Time) []audit.Unlock {
	if d.Lease == nil {
		return nil
	}
	var out []audit.Unlock
	for _, u := range d.Lease.Unlocks() {
		out = append(out, audit.Unlock{Cred: d.Server.Credential.Ref, Version: u.Version, At: at, Kind: u.Kind, Minted: u.Minted, Narrowed: u.Narrowed, Expires: u.Expires})
	}
	return out
}
