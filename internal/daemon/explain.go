package daemon

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/rehearsal"
)

// Explain says why a recorded decision was made and what would change it; sealed says
// that whoever asks may see evidence.
func (h rehearsals) Explain(ctx context.Context, decision string, sealed bool) (rehearsal.Explained, error) {
	none := access.Errorf(access.CodeNotFound, "no decision %.64q is recorded here: rutile audit search lists them", decision)
	if decision == "" {
		return rehearsal.Explained{}, none
	}
	rows, err := h.d.Evidence.Search(ctx, audit.Query{Decision: decision, Ascending: true, Limit: 1})
	if err != nil {
		return rehearsal.Explained{}, err
	}
	if len(rows) == 0 {
		return rehearsal.Explained{}, none
	}
	for c, err := range h.d.Evidence.Calls(ctx, rows[0].Index, rows[0].Index+1) {
		if err != nil {
			return rehearsal.Explained{}, err
		}
		then, generation, err := h.then(ctx, c)
		if err != nil {
			return rehearsal.Explained{}, err
		}
		return rehearsal.Explain(ctx, c, rehearsal.Explaining{Then: then, Generation: generation, Now: h.d.states.State(), Held: h.d.held, Sealed: sealed})
	}
	return rehearsal.Explained{}, access.Errorf(access.CodeNotFound, "%.64q is no decision about a call: rutile audit show tells what it is", decision)
}

// then is the state the rules make that were in force when a call was decided, on what
// is registered now. Where they fit that no more, it is the state in force and the
// generation is 0: their text is not shown then as what decided.
func (h rehearsals) then(ctx context.Context, c *audit.Call) (*pdp.State, uint64, error) {
	now := h.d.states.State()
	var before uint64
	for {
		list, err := h.d.Admin.Versions(ctx, before, versionsRead)
		if err != nil {
			return nil, 0, err
		}
		for _, v := range list {
			if v.At.After(c.At) {
				continue
			}
			if c.Set == now.Set.Digest() {
				return now, v.N, nil
			}
			s, err := h.state(ctx, admin.Draft{Generation: v.N})
			if access.CodeOf(err) == access.CodeInvalid {
				return now, 0, nil
			}
			return s, v.N, err
		}
		if len(list) < versionsRead {
			return now, 0, nil
		}
		before = list[len(list)-1].N
	}
}

// versionsRead is how many generations are looked through at once.
const versionsRead = 200
