package flow

import (
	"encoding/binary"
	"errors"
	"slices"
)

// version of the form parts are kept in.
const version = 1

var errDamaged = errors.New("flow: what was kept is damaged, or was made with another key")

// append writes p after b: a version, the id of the key, then its fields with varints
// for lengths.
func (p *part) append(b []byte, k *keys) []byte {
	n := 128 + 9*len(p.prints) + 8*(len(p.said)+len(p.stems)) + 9*len(p.typed) + 12*len(p.wants)
	for i := range p.orders {
		n += 16 + 8*(len(p.orders[i].own)+len(p.orders[i].far)+len(p.orders[i].head))
	}
	b = slices.Grow(b, n)
	b = append(b, version, p.kind)
	b = binary.LittleEndian.AppendUint64(b, k.id)
	flags := byte(0)
	for i, on := range []bool{p.source.untrusted, p.source.pointed, p.lost} {
		if on {
			flags |= 1 << i
		}
	}
	b = append(b, flags, byte(p.source.tier), p.deleg)
	for _, s := range []string{p.source.call, p.source.server, p.source.tool} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(p.scopes)))
	for _, s := range p.scopes {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(p.prints)))
	for _, s := range p.prints {
		b = binary.LittleEndian.AppendUint64(b, s.fp)
		b = append(b, byte(s.where>>24))
	}
	b = binary.AppendUvarint(b, uint64(len(p.orders)))
	for _, o := range p.orders {
		b = appendAct(b, o.act)
		b = append(b, boolByte(o.hot)|boolByte(o.light)<<1)
		b = appendPrints(b, o.own)
		b = appendPrints(b, o.far)
		b = appendPrints(b, o.head)
	}
	b = appendPrints(b, p.said)
	b = binary.AppendUvarint(b, uint64(len(p.typed)))
	for _, t := range p.typed {
		b = binary.LittleEndian.AppendUint64(b, t.fp)
		b = append(b, t.kind)
	}
	b = binary.AppendUvarint(b, uint64(len(p.wants)))
	for _, w := range p.wants {
		b = binary.LittleEndian.AppendUint64(appendAct(b, w.act), w.name)
	}
	return appendPrints(b, p.stems)
}

func boolByte(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendAct(b []byte, a act) []byte {
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, a.verbs), a.objects)
}

func appendPrints(b []byte, prints []uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(prints)))
	for _, p := range prints {
		b = binary.LittleEndian.AppendUint64(b, p)
	}
	return b
}

// unpacker reads what append wrote. After a mistake it reads zeros and bad is set.
type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) take(n int) []byte {
	if n < 0 || n > len(u.b) {
		u.bad, u.b = true, nil
		return make([]byte, min(max(n, 0), 8))
	}
	out := u.b[:n]
	u.b = u.b[n:]
	return out
}

// count reads how many things of at least size bytes follow.
func (u *unpacker) count(size, most int) int {
	n, w := binary.Uvarint(u.b)
	if w <= 0 || n > uint64(most) || n*uint64(size) > uint64(len(u.b)-w) {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[w:]
	return int(n)
}

func (u *unpacker) byte() byte     { return u.take(1)[0] }
func (u *unpacker) u64() uint64    { return binary.LittleEndian.Uint64(u.take(8)) }
func (u *unpacker) u16() uint16    { return binary.LittleEndian.Uint16(u.take(2)) }
func (u *unpacker) string() string { return string(u.take(u.count(1, maxName))) }
func (u *unpacker) act() act       { return act{u.u16(), u.u16()} }

func (u *unpacker) prints(most int) (out []uint64) {
	for range u.count(8, most) {
		out = append(out, u.u64())
	}
	return out
}

// readPart reads what append wrote with the same key.
func readPart(b []byte, k *keys) (*part, error) {
	u := unpacker{b: b}
	p := &part{}
	if u.byte() != version {
		return nil, errDamaged
	}
	p.kind = u.byte()
	if u.u64() != k.id || p.kind != partUser && p.kind != partResult && p.kind != partSent {
		return nil, errDamaged
	}
	flags := u.byte()
	p.source.untrusted, p.source.pointed, p.lost = flags&1 != 0, flags&2 != 0, flags&4 != 0
	p.source.tier = min(Tier(u.byte()), Block)
	p.deleg = min(u.byte(), handsAll)
	p.source.call, p.source.server, p.source.tool = u.string(), u.string(), u.string()
	for range u.count(1, 1<<12) {
		p.scopes = append(p.scopes, u.string())
	}
	for range u.count(9, maxPrints) {
		s := slot{fp: u.u64()}
		s.where = uint32(u.byte()) << 24 & ^uint32(sourceMask)
		p.prints = append(p.prints, s)
	}
	for range u.count(6, maxOrders) {
		o := order{act: u.act()}
		flags := u.byte()
		o.hot, o.light = flags&1 != 0, flags&2 != 0
		o.own, o.far, o.head = u.prints(maxDetail), u.prints(maxDetail), u.prints(maxHead)
		p.orders = append(p.orders, o)
	}
	p.said = u.prints(maxWords)
	for range u.count(9, maxWords) {
		p.typed = append(p.typed, typedPrint{u.u64(), u.byte()})
	}
	for range u.count(12, 1<<12) {
		p.wants = append(p.wants, want{u.act(), u.u64()})
	}
	p.stems = u.prints(maxWords)
	if u.bad || len(u.b) > 0 {
		return nil, errDamaged
	}
	return p, nil
}
