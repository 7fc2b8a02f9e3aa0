package risk

import "math"

// Bounds of the order of calls that is known.
const (
	orderSymbols = 24 // the last stands for all further ones
	orderPairs   = 1024
)

// order is which call follows which: counts of order 0, 1 and 2 over servers and classes.
type order struct {
	Symbols []uint64
	Ones    []uint16 // orderSymbols
	Twos    []uint8  // orderSymbols × orderSymbols: after one
	Threes  []uint8  // hashed: after two
	Pairs   []uint8  // hashed: of the two before

	Mean, Var float64 // bits of a session's calls
	N         uint32
}

func newOrder() order {
	return order{Ones: make([]uint16, orderSymbols), Twos: make([]uint8, orderSymbols*orderSymbols), Threes: make([]uint8, orderPairs), Pairs: make([]uint8, orderPairs)}
}

// symbol is the number of a symbol, from 1; what is not known is the last.
func (o *order) symbol(h uint64) uint8 {
	for i, x := range o.Symbols {
		if x == h {
			return uint8(i + 1)
		}
	}
	return orderSymbols
}

func (o *order) slots(p2, p1, s uint8) (three, pair int) {
	h := mix(uint64(p2)<<8|uint64(p1), 77)
	return int(mix(h, uint64(s)) % orderPairs), int(h % orderPairs)
}

// bits is how surprising s is after p2 and p1: each order backs off to the one below.
func (o *order) bits(p2, p1, s uint8) float64 {
	const k = 4
	var all, after float64
	for _, n := range o.Ones {
		all += float64(n)
	}
	p := (float64(o.Ones[s-1]) + 1) / (all + orderSymbols)
	if p1 > 0 {
		row := o.Twos[int(p1-1)*orderSymbols : int(p1)*orderSymbols]
		for _, n := range row {
			after += float64(n)
		}
		p = (float64(row[s-1]) + k*p) / (after + k)
	}
	if p2 > 0 {
		three, pair := o.slots(p2, p1, s)
		n := float64(o.Pairs[pair])
		p = (min(float64(o.Threes[three]), n) + k*p) / (n + k)
	}
	return -math.Log2(p)
}

// sequence looks for calls in an order that the agent's never had: the mean of the last
// calls of a session, since one step is often new.
func (a *agent) sequence(s *Seen, ev *evidence) {
	o, se, c := &a.Order, s.session, &s.call
	c.sym, c.prev, c.prev2 = o.symbol(c.symbol), se.prev, se.prev2
	bits := o.bits(c.prev2, c.prev, c.sym)
	if se.calls == 0 {
		se.bits = o.Mean
	}
	se.bits += (bits - se.bits) / 6
	se.calls++
	se.prev2, se.prev = se.prev, c.sym
	if o.N < youngCalls/2 {
		return
	}
	z := (se.bits - o.Mean) / max(math.Sqrt(o.Var), 0.35)
	if x := 0.4 * (z - 3.5); x > 0 {
		ev.add(famSequence, x, why{sigOrder, float32(se.bits), float32(o.Mean), 0, o.N})
	}
}

// learn counts a step of a session.
func (o *order) learn(c *call, se *session) {
	s := o.symbol(c.symbol)
	if s == orderSymbols && len(o.Symbols) < orderSymbols-1 {
		o.Symbols = append(o.Symbols, c.symbol)
		s = uint8(len(o.Symbols))
	}
	if o.Ones[s-1] == math.MaxUint16 {
		for i := range o.Ones {
			o.Ones[i] /= 2
		}
	}
	o.Ones[s-1]++
	if c.prev > 0 {
		row := o.Twos[int(c.prev-1)*orderSymbols : int(c.prev)*orderSymbols]
		count(row, int(s-1))
	}
	if c.prev2 > 0 {
		three, pair := o.slots(c.prev2, c.prev, s)
		if o.Pairs[pair] == math.MaxUint8 {
			for i := range o.Pairs {
				o.Pairs[i] /= 2
				o.Threes[i] /= 2
			}
		}
		o.Pairs[pair]++
		o.Threes[three] = min(o.Threes[three], math.MaxUint8-1) + 1
	}
	o.N++
	alpha := 1 / float64(min(o.N, 500))
	x := se.bits
	if o.N > youngCalls/2 {
		x = min(x, o.Mean+3*math.Sqrt(o.Var)+0.5)
	}
	d := x - o.Mean
	o.Mean += alpha * d
	o.Var = (1 - alpha) * (o.Var + alpha*d*d)
}

// count counts up one of a row, which is halved when it is full.
func count(row []uint8, i int) {
	if row[i] == math.MaxUint8 {
		for j := range row {
			row[j] /= 2
		}
	}
	row[i]++
}
