package risk

import (
	"math"
	"time"
)

// now is what is left of a count.
func (d *decayed) now(at, half time.Duration) float64 {
	if d.n == 0 {
		return 0
	}
	return d.n * math.Exp2(-float64(max(at-d.at, 0))/float64(half))
}

// recent counts the different things of a while, exactly up to its size.
type recent struct {
	list [24]struct {
		h  uint64
		at time.Duration
	}
	n int
}

// see notes a thing and returns how many different ones came within a window.
func (r *recent) see(h uint64, at, window time.Duration) (n int) {
	slot, old := -1, 0
	for i := range r.list[:r.n] {
		x := &r.list[i]
		if x.h == h {
			slot = i
		} else if at-x.at <= window {
			n++
		}
		if x.at < r.list[old].at {
			old = i
		}
	}
	switch {
	case slot >= 0:
	case r.n < len(r.list):
		slot, r.n = r.n, r.n+1
	default:
		slot = old
	}
	r.list[slot].h, r.list[slot].at = h, max(at, r.list[slot].at)
	return min(n+1, len(r.list))
}

// sketch counts things in fixed room and never too little (a count-min sketch with
// conservative updates). Counters stop at 255.
type sketch []uint8

const (
	sketchRows  = 4
	sketchWidth = 512
)

func newSketch() sketch { return make(sketch, sketchRows*sketchWidth) }

func (s sketch) at(h uint64, row int) *uint8 {
	return &s[row*sketchWidth+int(mix(h, uint64(row)+1)%sketchWidth)]
}

func (s sketch) count(h uint64) uint8 {
	least := uint8(255)
	for row := range sketchRows {
		least = min(least, *s.at(h, row))
	}
	return least
}

// add counts a thing once and returns its count.
func (s sketch) add(h uint64) uint8 {
	n := s.count(h)
	if n == 255 {
		return n
	}
	for row := range sketchRows {
		if c := s.at(h, row); *c == n {
			*c = n + 1
		}
	}
	return n + 1
}

// known is the destinations an agent uses: the last ones exactly.
type known struct {
	List   []uint64 // newest first
	Counts []uint32
	N      uint32 // uses
	Single uint32 // destinations that came once
}

const maxKnown = 96

func (k *known) find(h uint64) int {
	for i, x := range k.List {
		if x == h {
			return i
		}
	}
	return -1
}

func (k *known) learn(h uint64) {
	k.N++
	i := k.find(h)
	n := uint32(1)
	if i >= 0 {
		if n = k.Counts[i] + 1; n == 2 && k.Single > 0 {
			k.Single--
		}
	} else {
		k.Single++
		if i = len(k.List); i == maxKnown {
			i--
		} else {
			k.List, k.Counts = append(k.List, 0), append(k.Counts, 0)
		}
	}
	copy(k.List[1:i+1], k.List[:i])
	copy(k.Counts[1:i+1], k.Counts[:i])
	k.List[0], k.Counts[0] = h, n
}

// surprise is how many bits it takes to say that something never came, where single of
// n different things so far came once (Good and Turing).
func surprise(single, n uint32) float64 {
	p := (float64(single) + 0.5) / (float64(n) + 1)
	return -math.Log2(min(p, 1))
}

// spread is the distribution of sizes, in steps of a quarter of a power of two.
type spread struct {
	Bins [96]uint16
	N    uint32
}

// bin is the step of a size.
func bin(size int) int { return min(int(4*math.Log2(float64(size)+1)), 95) }

// sizeOf is the middle of a step.
func sizeOf(b float64) float64 { return math.Exp2(b/4) - 1 }

func (s *spread) add(size int) {
	b := bin(size)
	if s.Bins[b] == math.MaxUint16 {
		for i := range s.Bins {
			s.Bins[i] /= 2
		}
	}
	s.Bins[b]++
	s.N++
}

// usual is the median and the median distance from it, in steps.
func (s *spread) usual() (median, distance int) {
	var all uint32
	for _, n := range s.Bins {
		all += uint32(n)
	}
	var sum uint32
	for i, n := range s.Bins {
		if sum += uint32(n); 2*sum >= all {
			median = i
			break
		}
	}
	sum = uint32(s.Bins[median])
	for distance = 0; 2*sum < all && distance < len(s.Bins); {
		distance++
		if i := median - distance; i >= 0 {
			sum += uint32(s.Bins[i])
		}
		if i := median + distance; i < len(s.Bins) {
			sum += uint32(s.Bins[i])
		}
	}
	return median, distance
}

// far is how far above the usual a size is, in robust standard deviations.
func (s *spread) far(size int) (z, median float64) {
	m, d := s.usual()
	return (float64(bin(size)) - float64(m)) / (1.4826 * max(float64(d), 1.5)), sizeOf(float64(m))
}
