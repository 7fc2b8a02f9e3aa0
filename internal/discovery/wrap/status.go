package wrap

import (
	"cmp"
	"slices"

	"rutile/internal/discovery"
	"rutile/internal/discovery/clientconfig"
)

// The states of an entry.
const (
	StatusWrapped  = "wrapped"
	StatusBypassed = "bypassed"      // it leads past the gateway to a server that is routed elsewhere
	StatusReverted = "reverted"      // it was routed, and leads to its server again
	StatusNew      = "new-unwrapped" // it was never routed
	StatusMissing  = "missing"       // it was routed, and is not there
)

// Standing is how one entry stands.
type Standing struct {
	Client string `json:"client"`
	File   string `json:"file"`
	Entry  string `json:"entry"`
	Status string `json:"status"`
	Server string `json:"server,omitempty"`
	Why    string `json:"why,omitempty"`
}

// Compare says how the entries of files stand against what was done to them. Files
// of the journal that nobody looks for any more are told as missing; wants says of
// which clients.
func Compare(files []clientconfig.File, records []Record, d *discovery.Describer, wants func(client string) bool, show func(path string) string) []Standing {
	var out []Standing
	routed := map[string]bool{} // canonical keys that go through the gateway
	for i := range records {
		for _, p := range records[i].Pieces() {
			if p.Key != "" {
				routed[p.Key] = true
			}
		}
	}
	for i := range files {
		f := &files[i]
		var pieces []Piece
		if j := slices.IndexFunc(records, func(r Record) bool { return r.Path == f.Path }); j >= 0 {
			pieces = latest(records[j].Pieces())
		}
		for k := range f.Entries {
			e := &f.Entries[k]
			s := Standing{Client: e.Row.Client, File: f.Show, Entry: e.Name}
			at := slices.IndexFunc(pieces, func(p Piece) bool { return p.Name == e.Name && sameHolder(p.Way, e.Path) })
			if at >= 0 {
				s.Server = pieces[at].Server
				pieces = slices.Delete(pieces, at, at+1)
			}
			s.judge(f, e, at >= 0, routed[d.Describe(e.Spec).Target.Key])
			out = append(out, s)
		}
		for _, p := range pieces {
			s := Standing{Client: f.Row.Client, File: f.Show, Entry: p.Name, Status: StatusMissing, Server: p.Server, Why: "its client or somebody took it away"}
			if f.Refused != "" {
				s.Why = "the file cannot be read as it is: " + f.Refused
			}
			out = append(out, s)
		}
	}
	for i := range records {
		r := &records[i]
		if !wants(r.Client) || slices.ContainsFunc(files, func(f clientconfig.File) bool { return f.Path == r.Path }) {
			continue
		}
		for _, p := range latest(r.Pieces()) {
			out = append(out, Standing{Client: r.Client, File: show(r.Path), Entry: p.Name, Status: StatusMissing, Server: p.Server, Why: "its file is not there"})
		}
	}
	slices.SortStableFunc(out, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.File, b.File), cmp.Compare(a.Entry, b.Entry))
	})
	return out
}

func (s *Standing) judge(f *clientconfig.File, e *clientconfig.Entry, was, elsewhere bool) {
	switch {
	case e.Wrapped:
		s.Status, s.Server = StatusWrapped, e.Server
	case was:
		s.Status, s.Why = StatusReverted, "its client or somebody wrote it anew"
	case elsewhere:
		s.Status, s.Why = StatusBypassed, "the same server goes through the gateway elsewhere"
	default:
		s.Status = StatusNew
		s.Why = cmp.Or(f.Refused, e.Refused)
	}
}

// latest are the pieces of a file, each entry once: as it was last routed.
func latest(all []Piece) []Piece {
	var out []Piece
	for _, p := range all {
		if i := slices.IndexFunc(out, func(had Piece) bool { return had.Name == p.Name && sameHolder(had.Way, p.Way) }); i >= 0 {
			out[i] = p
			continue
		}
		out = append(out, p)
	}
	return out
}

// sameHolder reports whether two entries stand in the same map or list.
func sameHolder(a, b []clientconfig.Step) bool {
	return len(a) == len(b) && len(a) > 0 && slices.Equal(a[:len(a)-1], b[:len(b)-1])
}
