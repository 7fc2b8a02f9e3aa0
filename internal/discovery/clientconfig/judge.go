package clientconfig

import (
	"slices"
	"strings"

	"rutile/internal/discovery"
)

// judge tells what is wrong with an entry by itself.
func (x *scan) judge(s *discovery.Sighting, r *reading, at discovery.Place) {
	for _, f := range discovery.Judge(s) {
		x.into.Find(f)
	}
	row := r.rows[0]
	if r.raw.approves != "" {
		x.into.Find(discovery.NewFinding(discovery.AutoApprove, discovery.Medium, s.Target.Key, at,
			row.Name+" lets calls to it through without asking ("+r.raw.approves+")", "take the member "+r.raw.approves+" out of the entry"))
	}
	if slices.ContainsFunc(r.rows, func(row *Row) bool { return row.expandsCommands() }) && r.raw.runs() || s.Executable {
		x.into.Find(discovery.NewFinding(discovery.ExecutableConfig, discovery.Medium, s.Target.Key, at,
			"a value of it is run by a shell when the server starts", "write the value out, or keep it in the credential store"))
	}
}

// runs reports whether a value asks for something to be run.
func (r raw) runs() bool {
	values := append([]string{r.spec.Command, r.spec.URL}, r.spec.Args...)
	for _, p := range slices.Concat(r.env, r.headers, r.fields) {
		values = append(values, p.value)
	}
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "$(") || strings.Contains(v, "`") })
}

// strict tells that a client may refuse the whole file.
func (x *scan) strict(f *found, d *document, rows []*Row) {
	var at []*Row
	for _, r := range rows {
		if r.Format == "json" && len(x.entries(d, r)) > 0 {
			at = append(at, r)
		}
	}
	if len(d.loose) == 0 || len(at) == 0 {
		return
	}
	x.into.Find(discovery.NewFinding(discovery.ClientMayReject, discovery.Low, "", discovery.Place{Path: x.cfg.Paths.Show(f.path)},
		"it has "+strings.Join(d.loose, " and ")+", which "+clientsOf(at)+" may not accept: its servers may not be in use", "take it out"))
}

// ended tells that a client's maker does not look after it any more.
func (x *scan) ended(f *found, rows []*Row) {
	for _, r := range rows {
		if r.EndOfLife {
			x.into.Find(discovery.NewFinding(discovery.UnsupportedClient, discovery.Low, "", discovery.Place{Path: x.cfg.Paths.Show(f.path)},
				r.Name+" gets no updates any more, and has servers", "remove the client, or its servers from it"))
			return
		}
	}
}
