package audit

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Kinds of object whose leaves have a type of their own: Admin.Detail is a Revocation
// then, and what a leaf may show of it is shown.
const (
	KindRevocation = "Revocation"
	KindReceipt    = "Receipt"
)

// Revocation is what leaves say of something that was revoked and, once it was carried
// out, of what that came to. Times to effect are in microseconds.
type Revocation struct {
	ID       string   `json:"revocation"` // "rev_…"
	Epoch    uint64   `json:"epoch"`
	Kind     string   `json:"kind"`
	Target   string   `json:"id"`
	Amended  int      `json:"amended,omitempty"` // how often the receipt was
	Sessions []string `json:"sessions,omitempty"`
	Grants   []string `json:"grants,omitempty"`
	Requests []string `json:"requests,omitempty"`
	Calls    int      `json:"calls,omitempty"`
	Late     int      `json:"late,omitempty"`
	Running  int      `json:"running,omitempty"` // calls that were cut and had not returned
	DeniedUS int64    `json:"deniedUs,omitempty"`
	CutUS    int64    `json:"cutUs,omitempty"`
	Nodes    []struct {
		Node   string `json:"node"`
		US     int64  `json:"us,omitempty"`
		Lapsed bool   `json:"leaseLapsed,omitempty"`
	} `json:"nodes,omitempty"`
	Credentials []struct {
		ID      string    `json:"id"`
		Version string    `json:"version,omitempty"`
		Result  string    `json:"result"`
		Until   time.Time `json:"residualUntil,omitzero"`
	} `json:"credentials,omitempty"`
}

// revocationOf is what the detail of a says, nil if it is about something else.
func revocationOf(a *Admin) *Revocation {
	if a.Kind != KindRevocation && a.Kind != KindReceipt {
		return nil
	}
	var r Revocation
	if json.Unmarshal(a.Detail, &r) != nil || r.ID == "" || r.Kind == "" {
		return nil // it stays a change, with its detail as a payload
	}
	return &r
}

func (r *Revocation) leafType(kind string) string {
	if kind == KindReceipt {
		return typeReceipt
	}
	return typeRevocation
}

// shown reports whether a leaf may name targets of this kind in clear.
func (r *Revocation) shown() bool {
	return slices.Contains([]string{"tenant", "server", "tool", "credential", "grant"}, r.Kind) && plain(strings.ReplaceAll(r.Target, "@", "/"))
}

// revocation writes the member of that name, its keys in the order of the canonical
// form. Of a receipt the counts are there also where they are 0.
func (d *draft) revocation(r *Revocation) {
	mark := d.begin("revocation")
	if r.Amended > 0 {
		d.int("amended", int64(r.Amended))
	}
	receipt := len(r.Nodes) > 0
	if receipt {
		d.int("calls", int64(r.Calls))
		d.credentials(r)
		d.int("cut_us", r.CutUS)
		d.int("denied_us", r.DeniedUS)
	}
	d.int("epoch", int64(r.Epoch))
	if receipt {
		d.int("grants", int64(len(r.Grants)))
	}
	d.str("id", r.ID)
	d.str("kind", r.Kind)
	if receipt {
		d.int("late", int64(r.Late))
		d.nodes(r)
		d.int("requests", int64(len(r.Requests)))
		d.int("running", int64(r.Running))
		d.int("sessions", int64(len(r.Sessions)))
	}
	if r.shown() {
		d.str("target", r.Target)
	}
	d.end(mark)
}

func (d *draft) nodes(r *Revocation) {
	d.enc.key("nodes")
	d.b = append(d.b, '[')
	for i, n := range r.Nodes[:min(len(r.Nodes), maxList)] {
		if i > 0 {
			d.b = append(d.b, ',')
		}
		d.b = append(d.b, '{')
		if n.Lapsed {
			d.str("lease", "lapsed")
		}
		d.str("node", n.Node)
		if !n.Lapsed {
			d.int("us", n.US)
		}
		d.b = append(d.b, '}')
	}
	d.b = append(d.b, ']')
}

func (d *draft) credentials(r *Revocation) {
	if len(r.Credentials) == 0 {
		return
	}
	d.enc.key("credentials")
	d.b = append(d.b, '[')
	for i, c := range r.Credentials[:min(len(r.Credentials), maxList)] {
		if i > 0 {
			d.b = append(d.b, ',')
		}
		d.b = append(d.b, '{')
		d.text("id", c.ID)
		if !c.Until.IsZero() {
			d.time("residual_until", c.Until)
		}
		d.text("result", c.Result)
		d.text("ver", c.Version)
		d.b = append(d.b, '}')
	}
	d.b = append(d.b, ']')
}
