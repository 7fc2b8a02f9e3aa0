package mcpproxy

import (
	"math/bits"
	"sync"

	"rutile/internal/rawjson"
)

// The buffers of large answers are used again: to make and collect one for each
// costs as much as to carry what it holds. Whoever gives one back says that
// nothing reads it any more; it is wiped then, so that whatever does shows.
const (
	minBodyKept = 64 << 10
	maxBodyKept = 16 << 20
	maxDocKept  = 2 << 20
)

// bodies are buffers by the power of two of their capacity.
var bodies = [...]sync.Pool{31: {}}

// takeBody returns an empty buffer with room for n bytes.
func takeBody(n int) []byte {
	if n < minBodyKept || n > maxBodyKept {
		return make([]byte, 0, n)
	}
	class := bits.Len(uint(n - 1))
	if b, ok := bodies[class].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// giveBody takes back what takeBody returned; of others it keeps none.
func giveBody(b []byte) {
	n := cap(b)
	if n < minBodyKept || n > maxBodyKept || n&(n-1) != 0 {
		return
	}
	clear(b)
	b = b[:0]
	bodies[bits.Len(uint(n-1))].Put(&b)
}

// grownBody is a full buffer with room for several times as much, or for what is
// left of length, -1 if that is not known, and its end; never for more than one
// byte over max.
func grownBody(b []byte, length int64, max int) []byte {
	n := 8 * len(b)
	if len(b) > answerAhead {
		n = 4 * len(b)
	}
	n = min(n, max+1)
	if left := int(length) + 1; left > len(b) {
		n = min(n, left)
	}
	out := append(takeBody(n), b...)
	giveBody(b)
	return out
}

// docs are what large answers were parsed into.
var docs = sync.Pool{}

// takeDoc gives d room for a large answer.
func takeDoc(d *rawjson.Doc) {
	if kept, ok := docs.Get().(*rawjson.Doc); ok {
		*d = *kept
	}
}

// giveDoc empties d, which nothing reads any more.
func giveDoc(d *rawjson.Doc) {
	kept := *d
	*d = rawjson.Doc{}
	if kept.Clear(); kept.Size() > maxDocKept {
		return
	}
	docs.Put(&kept)
}

// done gives back what the answer of a call was read into and made of, once it
// is written: a write that failed may not have let go of it.
func (c *call) done(rep *reply) {
	if rep != nil && rep.lent {
		if len(rep.body) >= minBodyKept {
			giveDoc(&rep.doc)
		}
		giveBody(rep.body)
		rep.body, rep.lent = nil, false
	}
	if c.made != nil {
		giveBody(c.made)
		c.made = nil
	}
}
