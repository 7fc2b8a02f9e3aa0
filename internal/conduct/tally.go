package conduct

import (
	"slices"
	"time"
)

// Bounds of a tally.
const (
	baseSize   = 128 // answers whose length counts as what is usual
	windowSize = 32  // last calls
	learnTime  = 32  // calls before anything can be unusual
	maxShapes  = 16  // a tool with more has no shape of its own
	maxHosts   = 64  // a tool with more may name any
	maxNews    = 8   // new hosts that are named
	quiet      = 16  // calls with no new shape or host after which one is unusual
)

// Tally is what is kept of one tool: what is usual, which only calls add to in which
// nothing was found, and the last calls as they were.
type Tally struct {
	Revision string    `json:"revision"`
	Since    time.Time `json:"since"`
	Last     time.Time `json:"last"`
	Calls    uint64    `json:"calls"`
	Errors   uint64    `json:"errors,omitempty"`
	Claims   Claims    `json:"claims"`

	// Learned is how many calls were learned from.
	Learned    uint64    `json:"learned,omitempty"`
	Sizes      []float32 `json:"sizes,omitempty"` // a ring
	Next       int       `json:"next,omitempty"`
	BaseCalls  uint64    `json:"baseCalls,omitempty"` // of them, halved now and then
	BaseErrors uint64    `json:"baseErrors,omitempty"`
	Shapes     []uint32  `json:"shapes,omitempty"`
	ShapeNew   uint64    `json:"shapeNew,omitempty"` // Learned when the last of them came
	Hosts      []uint32  `json:"hosts,omitempty"`    // hashes
	HostNew    uint64    `json:"hostNew,omitempty"`
	News       []News    `json:"news,omitempty"`

	Window []sample `json:"window,omitempty"` // a ring
	At     int      `json:"at,omitempty"`
}

// News is a host that a tool named after it had long named no new one.
type News struct {
	Host  string    `json:"host"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Calls int       `json:"calls"`
}

// add takes one call.
func (t *Tally) add(s sample, at time.Time) {
	t.Calls++
	if s.Marks&markFailed != 0 {
		t.Errors++
	}
	if at.After(t.Last) {
		t.Last = at
	}
	usual := s.Marks&markFlagged == 0 && !t.strange(s)
	t.host(s, at)
	if usual {
		t.learn(s)
	}
	s.hosts = nil
	if len(t.Window) < windowSize {
		t.Window = append(t.Window, s)
		return
	}
	t.Window[t.At] = s
	t.At = (t.At + 1) % windowSize
}

// strange reports whether a call is so far from what is usual that it must not
// become part of it.
func (t *Tally) strange(s sample) bool {
	if len(t.Sizes) < learnTime || s.Marks&markFailed != 0 {
		return false
	}
	// Cheap, since it is asked for each call: what is far outside of all that was
	// learned, not of its middle.
	lo, hi := slices.Min(t.Sizes), slices.Max(t.Sizes)
	return s.Size > hi+farther || s.Size < lo-farther
}

// farther is how far from everything known a length may be and still be learned, as a
// logarithm: a factor of about two.
const farther = 0.7

func (t *Tally) learn(s sample) {
	if s.Marks&markFailed != 0 && t.failing() {
		return // else whoever fails long enough would be as usual
	}
	t.BaseCalls++
	if s.Marks&markFailed != 0 {
		t.BaseErrors++
	}
	if t.BaseCalls >= 512 { // so that what is usual may change slowly
		t.BaseCalls /= 2
		t.BaseErrors /= 2
	}
	if s.Marks&markFailed != 0 {
		return
	}
	t.Learned++
	if len(t.Sizes) < baseSize {
		t.Sizes = append(t.Sizes, s.Size)
	} else {
		t.Sizes[t.Next] = s.Size
		t.Next = (t.Next + 1) % baseSize
	}
	if s.Shape != 0 && t.Learned <= 2*learnTime && len(t.Shapes) <= maxShapes && !slices.Contains(t.Shapes, s.Shape) {
		t.Shapes = append(t.Shapes, s.Shape)
		t.ShapeNew = t.Learned
	}
}

// settled reports whether a set that was learned is small and has not grown for a
// while.
func (t *Tally) settled(size, most int, grew uint64) bool {
	return size <= most && t.Learned >= learnTime && t.Learned >= grew+quiet
}

// newsTime is how long a new host is news.
const newsTime = 7 * 24 * time.Hour

// host takes the hosts of a call.
func (t *Tally) host(s sample, at time.Time) {
	for _, h := range s.hosts {
		sum := uint32(fnv(2166136261).add(h))
		if slices.Contains(t.Hosts, sum) {
			continue
		}
		if i := slices.IndexFunc(t.News, func(n News) bool { return n.Host == h }); i >= 0 {
			t.News[i].Last = at
			t.News[i].Calls++
			continue
		}
		switch {
		case t.settled(len(t.Hosts), maxHosts, t.HostNew):
			if len(t.News) == maxNews {
				t.News = t.News[1:]
			}
			t.News = append(t.News, News{Host: h, First: at, Last: at, Calls: 1})
		case s.Marks&markFlagged == 0 && len(t.Hosts) <= maxHosts:
			t.Hosts = append(t.Hosts, sum)
			t.HostNew = t.Learned
		}
	}
}
