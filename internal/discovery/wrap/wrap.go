package wrap

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"rutile/internal/discovery/clientconfig"
)

// Route says how one entry is to lead to the gateway: as a command, or with URL
// set as an address, for clients that take one.
type Route struct {
	Entry   clientconfig.Entry
	Server  string
	Agent   string
	Key     string
	Command string
	Args    []string
	URL     string
	DropEnv bool // its variables are elsewhere now
}

// Outcome is what became of one file.
type Outcome struct {
	Path    string
	Entries []EntryOutcome
	Err     error // nothing of the file was changed
}

// EntryOutcome is what became of one entry.
type EntryOutcome struct {
	Name   string
	Result string // wrapped, restored, removed, reverted, merged
	Why    string
}

// What becomes of entries.
const (
	Wrapped  = "wrapped"
	Restored = "restored" // byte for byte
	Merged   = "merged"   // ours is taken back, edits made since in the same entry stay
	Removed  = "removed"  // somebody took the entry away: it stays so
	Reverted = "reverted" // it does not lead to us any more: it is left alone
)

// Preview returns the bytes a file would have with its entries routed.
func Preview(f *clientconfig.File, routes []Route) ([]byte, error) {
	out, _, err := routed(f, routes)(f.Raw)
	return out, err
}

// Wrap routes entries of one file. It writes all of them or nothing.
func (b *Book) Wrap(f *clientconfig.File, routes []Route) error {
	r, err := b.record(f.Path)
	if err != nil {
		return err
	}
	if r == nil {
		r = &Record{Version: recordVersion, Path: f.Path}
	}
	r.Base, r.Row, r.Client, r.Format, r.NameField = f.Base, f.Row.ID, f.Row.Client, f.Row.Format, f.Row.NameField
	return b.edit(r, false, routed(f, routes))
}

// routed makes the edits of a file whose entries are as they were when they were
// looked at. Others may have changed.
func routed(f *clientconfig.File, routes []Route) next {
	return func(raw []byte) ([]byte, []Piece, error) {
		out := raw
		var pieces []Piece
		for _, rt := range routes {
			e := rt.Entry
			way, ok := clientconfig.Named(raw, e.Row, e.Path, e.Name)
			if !ok || !clientconfig.SameEntry(f.Raw, e.Path, raw, way, e.Row.Format) {
				return nil, nil, unfit("the entry " + e.Name + " was changed since it was looked at: run it again")
			}
			next, before, after, err := splice(out, e.Row, way, rt.change())
			if err != nil {
				return nil, nil, err
			}
			out = next
			pieces = append(pieces, Piece{Name: e.Name, Way: way, Server: rt.Server, Agent: rt.Agent, Key: rt.Key, Original: before, Wrapped: after})
		}
		return out, pieces, nil
	}
}

// change is what becomes of the members of the entry. Names, switches, time limits
// and filters are not among them.
func (rt *Route) change() change {
	r := rt.Entry.Row
	var c change
	head := func(keys []string) {
		for _, k := range keys {
			k, _, _ = strings.Cut(k, ".")
			c.drop = append(c.drop, k)
		}
	}
	toCommand := rt.URL == ""
	if rt.Entry.Spec.URL != "" || !toCommand {
		// What says how to reach an address, or how to prove who one is there, means
		// nothing to a command, and is not for the gateway either.
		head(r.Fields.Headers)
		c.drop = append(c.drop, slices.Concat(r.SecretRefs, r.SecretFields, r.SecretObjects)...)
	}
	if rt.DropEnv || !toCommand {
		head(r.Fields.Env)
	}
	if toCommand {
		head(r.Fields.URL)
		c.asCommand(rt)
	} else {
		head(r.Fields.Command)
		head(r.Fields.Args)
		c.set = append(c.set, setting{r.Fields.URL[0], rt.URL})
	}
	c.typed(rt, toCommand)
	c.drop = slices.DeleteFunc(c.drop, func(k string) bool {
		return slices.ContainsFunc(c.set, func(s setting) bool { return s.key == k })
	})
	return c
}

func (c *change) asCommand(rt *Route) {
	f := rt.Entry.Row.Fields
	key := present(rt, f.Command)
	if rt.Entry.Row.CommandForm == "array" {
		c.set = append(c.set, setting{key, append([]string{rt.Command}, rt.Args...)})
		for _, k := range f.Args {
			if k != key {
				c.drop = append(c.drop, k)
			}
		}
		return
	}
	c.set = append(c.set, setting{key, rt.Command})
	if len(f.Args) > 0 {
		c.set = append(c.set, setting{present(rt, f.Args), rt.Args})
	}
}

// typed gives the entry the client's word for its new transport, where it has one.
func (c *change) typed(rt *Route, toCommand bool) {
	r := rt.Entry.Row
	if len(r.Fields.Type) == 0 || toCommand && rt.Entry.Spec.URL == "" {
		return
	}
	kind := map[bool]string{true: "stdio", false: "http"}[toCommand]
	words := r.Types[kind]
	had := rt.Entry.Members
	for _, key := range r.Fields.Type {
		if !slices.Contains(had, key) {
			continue
		}
		if len(words) == 0 {
			c.drop = append(c.drop, key)
		} else {
			c.set = append(c.set, setting{key, words[0]})
		}
		return
	}
	if !toCommand && len(words) > 0 {
		c.set = append(c.set, setting{r.Fields.Type[0], words[0]})
	}
}

// present is the first of several names of a member that the entry has, else the
// one its client prefers.
func present(rt *Route, names []string) string {
	for _, n := range names {
		if slices.Contains(rt.Entry.Members, n) {
			return n
		}
	}
	return names[0]
}

// Unwrap puts the entries of one file back.
func (b *Book) Unwrap(path string) ([]EntryOutcome, error) {
	r, err := b.record(path)
	if err != nil || r == nil {
		return nil, err
	}
	if err := b.settle(r); err != nil {
		return nil, err
	}
	if len(r.live()) == 0 {
		return nil, nil
	}
	var out []EntryOutcome
	err = b.edit(r, true, func(raw []byte) ([]byte, []Piece, error) {
		var text []byte
		var err error
		text, out, err = b.undone(r, raw)
		return text, nil, err
	})
	if errors.Is(err, fs.ErrNotExist) { // the whole file was removed
		out = nil
		for _, p := range r.Pieces() {
			out = append(out, EntryOutcome{Name: p.Name, Result: Removed})
		}
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return out, b.close(r)
}

// UndonePreview returns the bytes a file would have after Unwrap. exact says that
// nobody changed it since.
func (b *Book) UndonePreview(path string) (before, after []byte, exact bool, err error) {
	r, err := b.record(path)
	if err != nil || r == nil {
		return nil, nil, false, err
	}
	if _, before, err = b.look(r); err != nil {
		return nil, nil, false, err
	}
	after, _, err = b.undone(r, before)
	return before, after, chained(r.live(), before), err
}

// chained reports whether a text is what we wrote, and all we wrote to the file was
// written one after the other.
func chained(live []*Edit, raw []byte) bool {
	if len(live) == 0 || digest(raw) != live[len(live)-1].After {
		return false
	}
	for i := 1; i < len(live); i++ {
		if live[i-1].After != live[i].Before {
			return false
		}
	}
	return true
}

// close says that nothing of a file is routed any more.
func (b *Book) close(r *Record) error {
	changed := false
	for i := range r.Edits {
		if r.Edits[i].State == Done {
			r.Edits[i].State, changed = Undone, true
		}
	}
	if !changed {
		return nil
	}
	return b.keep(r)
}

// undone is the text of a file without what we did to it: the original bytes if
// nobody touched it since, else every entry of ours put back by itself.
func (b *Book) undone(r *Record, raw []byte) ([]byte, []EntryOutcome, error) {
	live := r.live()
	if len(live) == 0 {
		return raw, nil, nil
	}
	if chained(live, raw) {
		text, err := b.kept(live[0].Before)
		if err != nil {
			return nil, nil, err
		}
		var out []EntryOutcome
		for _, p := range r.Pieces() {
			out = append(out, EntryOutcome{Name: p.Name, Result: Restored})
		}
		return text, out, nil
	}
	var out []EntryOutcome
	var done []Piece
	for i := len(live) - 1; i >= 0; i-- {
		whole, err := b.kept(live[i].Before)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range slices.Backward(live[i].Pieces) {
			if slices.ContainsFunc(done, func(had Piece) bool { return had.Name == p.Name && sameHolder(had.Way, p.Way) }) {
				continue // it was routed again later
			}
			done = append(done, p)
			text, o, err := putBack(raw, r.row(), p, whole)
			if err != nil {
				return nil, nil, unfit("the entry " + p.Name + " cannot be put back by itself: " + err.Error())
			}
			raw, out = text, append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b EntryOutcome) int { return cmp.Compare(a.Name, b.Name) })
	return raw, out, nil
}

// putBack takes one entry of ours back out of a text that was edited since.
func putBack(raw []byte, row *clientconfig.Row, p Piece, whole []byte) ([]byte, EntryOutcome, error) {
	o := EntryOutcome{Name: p.Name}
	way, ok := clientconfig.Named(raw, row, p.Way, p.Name)
	if !ok {
		o.Result = Removed
		return raw, o, nil
	}
	if text, err := restore(raw, row, way, p, whole); err == nil {
		o.Result = Restored
		return text, o, nil
	}
	c, ours, err := merged(raw, way, whole, p, row.Format)
	if err != nil {
		return nil, o, err
	}
	if !ours {
		o.Result = Reverted
		return raw, o, nil
	}
	text, _, _, err := splice(raw, row, way, c)
	o.Result = Merged
	return text, o, err
}
