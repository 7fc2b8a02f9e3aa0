package wrap

import (
	"maps"
	"reflect"
	"slices"

	"rutile/internal/discovery/clientconfig"
)

// merged is what takes our part out of an entry that was edited since: members we
// changed get what they said before, all others stay. ours is false if one of
// those says something else by now: then somebody decided anew.
func merged(raw []byte, way []clientconfig.Step, whole []byte, p Piece, format string) (c change, ours bool, err error) {
	before, err := membersAt(whole, format, p.Way)
	if err != nil {
		return c, false, err
	}
	wrapped, err := wrappedMembers(whole, p, format)
	if err != nil {
		return c, false, err
	}
	now, err := membersAt(raw, format, way)
	if err != nil {
		return c, false, err
	}
	keys := maps.Clone(before)
	maps.Copy(keys, wrapped)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		was, had := before[k]
		we, has := wrapped[k]
		if had == has && reflect.DeepEqual(was, we) {
			continue
		}
		is, there := now[k]
		if there != has || !reflect.DeepEqual(is, we) {
			return c, false, nil
		}
		if had {
			c.set = append(c.set, setting{k, was})
		} else {
			c.drop = append(c.drop, k)
		}
	}
	return c, true, nil
}

// membersAt are the members of the entry at a place.
func membersAt(raw []byte, format string, way []clientconfig.Step) (map[string]any, error) {
	v, err := reading(raw, format)
	if err != nil {
		return nil, unfit("the file cannot be read")
	}
	for _, s := range way {
		switch x := v.(type) {
		case map[string]any:
			v = x[s.Key]
		case []any:
			if s.Index >= len(x) {
				return nil, unfit("the entry is not where it was")
			}
			v = x[s.Index]
		case []map[string]any:
			if s.Index >= len(x) {
				return nil, unfit("the entry is not where it was")
			}
			v = x[s.Index]
		default:
			return nil, unfit("the entry is not where it was")
		}
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, unfit("the entry is not where it was")
	}
	return m, nil
}

// wrappedMembers are the members the entry had when we had written it.
func wrappedMembers(whole []byte, p Piece, format string) (map[string]any, error) {
	mark, body := cutMark(whole)
	row := &clientconfig.Row{Format: format}
	start, end, err := span(body, row, p.Way)
	if err != nil {
		return nil, err
	}
	text := append(append(append(slices.Clone(mark), body[:start]...), p.Wrapped...), body[end:]...)
	return membersAt(text, format, p.Way)
}
