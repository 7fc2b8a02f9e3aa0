package sink

import (
	"bytes"
	"encoding/json"
	"fmt"

	"rutile/internal/audit"
	"rutile/internal/signal"
)

// maxBody bounds what is sent at once, in bytes, unless one event alone is more.
const maxBody = 1 << 20

// batch is what is sent at once: at least one event.
type batch struct {
	body  []byte
	lines [][]byte // of forms that have them, without line ends
	mime  string
	n     int // events in it
	// parcels are those of FormSSF, in place of the above where they are fetched.
	parcels []signal.Parcel
}

// encoder writes events in a form.
type encoder struct {
	version string // of Rutile
	size    int    // bytes a batch may have
}

// encode puts as many of the events into a batch as fit.
func (e encoder) encode(form string, list []audit.Told) (batch, error) {
	if form == FormOTLP {
		return e.otlp(list)
	}
	write, mime := e.leaf, "application/x-ndjson"
	switch form {
	case FormOCSF:
		write = e.ocsf
	case FormCloudEvents:
		write, mime = e.cloudEvent, "application/cloudevents-batch+json"
	case FormCEF:
		write, mime = e.cef, "text/plain; charset=utf-8"
	case FormLeaf:
	default:
		return batch{}, fmt.Errorf("there is no form %q", form)
	}
	b := batch{mime: mime}
	for i, size := 0, 0; i < len(list); i++ {
		line, err := write(&list[i])
		if err != nil {
			return batch{}, fmt.Errorf("writing leaf %d as %s: %w", list[i].Index, form, err)
		}
		if size += len(line) + 1; size > e.size && b.n > 0 {
			break
		}
		b.lines, b.n = append(b.lines, line), b.n+1
	}
	if form == FormCloudEvents {
		b.body = append(append([]byte{'['}, bytes.Join(b.lines, []byte{','})...), ']')
	} else {
		b.body = append(bytes.Join(b.lines, []byte{'\n'}), '\n')
	}
	return b, nil
}

// leaf is the leaf itself with where it stands.
func (e encoder) leaf(x *audit.Told) ([]byte, error) {
	return json.Marshal(struct {
		Origin string          `json:"origin"`
		Index  uint64          `json:"index"`
		Leaf   json.RawMessage `json:"leaf"` // JCS: read again and encoded it hashes to the leaf hash
	}{x.Origin, x.Index, x.Leaf})
}
