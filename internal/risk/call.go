package risk

import (
	"bytes"
	"math/bits"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/argument"
	"rutile/internal/rawjson"
)

// Bounds of what is read of one call.
const (
	maxLeaves  = 256
	maxDepth   = 8
	maxDests   = 8
	maxNumbers = 4
	maxURLs    = 4 // whose registrable domain is looked up
	maxLooked  = 512
)

// call is what is kept of a call while it runs: hashes, sizes and numbers.
type call struct {
	at   time.Duration
	wall time.Time

	name     string // "server/tool"
	tool     uint64
	server   uint64
	symbol   uint64 // server and class, for the order of calls
	sends    bool   // its class is egress or write
	attested bool
	drift    bool
	version  uint64
	instance uint64

	shape   uint64
	size    int // bytes of the arguments
	blob    int // bytes of the longest text that looks encoded
	row     int // how many times in a row its numbers have gone up
	dests   [maxDests]uint64
	nDests  int
	numbers [maxNumbers]number
	nNums   int
	leaves  int
	urls    int

	prev, prev2, sym uint8 // of its order
}

// number is a whole number among the arguments.
type number struct {
	key   uint64
	value int64
	page  bool // its name says that it counts pages
}

// see reads a call.
func see(r *access.Request, classes []string, drift bool, wall time.Time, at time.Duration) call {
	c := call{at: at, wall: wall, name: r.Server + "/" + r.Target, attested: r.Who.Actor.Attested, drift: drift}
	if r.Kind == access.KindResource {
		c.name = r.Server + "/resources/read"
		c.destination([]byte("uri"), []byte(r.Target))
	}
	c.tool, c.server = hash(c.name), hash(r.Server)
	word := "read"
	for _, k := range classes {
		if k != "read" {
			word = k
			c.sends = true
		}
	}
	c.symbol = mix(c.server, hash(word))
	if v := r.Who.Actor.Version; v != "" {
		c.version = hash(v)
	}
	if v := r.Who.Actor.Instance; v != "" {
		c.instance = hash(v)
	}
	if r.Arguments.Exists() {
		c.size = len(r.Arguments.Raw())
		c.shape = c.read(r.Arguments, nil, 0)
	}
	return c
}

// read walks a value and returns a digest of how it is built: names, kinds, rough
// lengths and what texts are made of, in any order of members.
func (c *call) read(v rawjson.Value, key []byte, depth int) uint64 {
	if c.leaves++; c.leaves > maxLeaves || depth > maxDepth {
		return 1
	}
	switch v.Kind() {
	case rawjson.Object:
		h := uint64(3)
		for k, m := range v.Members() {
			if c.leaves > maxLeaves {
				break
			}
			name := text(k)
			h += mix(hashBytes(name), c.read(m, name, depth+1))
		}
		return h
	case rawjson.Array:
		var first uint64
		n := 0
		for item := range v.Items() {
			if c.leaves > maxLeaves {
				break
			}
			if h := c.read(item, key, depth+1); n == 0 {
				first = h
			}
			n++
		}
		return mix(5+uint64(rough(n)), first)
	case rawjson.String:
		return c.text(key, text(v))
	case rawjson.Number:
		c.number(key, v)
		return 7
	default:
		return uint64(11 + v.Kind())
	}
}

// text is a string of JSON, without a copy where it has no escapes.
func text(v rawjson.Value) []byte {
	raw := v.Raw()
	if len(raw) >= 2 && bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	s, _ := v.Str()
	return []byte(s)
}

// What texts are made of.
const (
	madeDigits = iota + 17
	madeName
	madePath
	madeWords
	madeOther
)

func (c *call) text(key, s []byte) uint64 {
	c.destination(key, s)
	looked := s[:min(len(s), maxLooked)]
	made, run, longest := madeDigits, 0, 0
	var seen [4]uint64
	for _, b := range looked {
		seen[b>>6] |= 1 << (b & 63)
		switch {
		case b >= '0' && b <= '9':
			run++
			continue
		case b|0x20 >= 'a' && b|0x20 <= 'z', b == '+', b == '=':
			run++
			made = max(made, madeName)
			continue
		case b == '/':
			run++
			made = max(made, madePath)
			continue
		case b == '_', b == '-':
			run++
			made = max(made, madeName)
			continue
		case b == '.', b == ':', b == '@', b == '#', b == '?', b == '&':
			made = max(made, madePath)
		case b >= ' ' && b < 0x7f, b == '\n', b == '\t', b == '\r', b >= 0x80:
			made = max(made, madeWords)
		default:
			made = madeOther
		}
		longest, run = max(longest, run), 0
	}
	longest = max(longest, run)
	distinct := bits.OnesCount64(seen[0]) + bits.OnesCount64(seen[1]) + bits.OnesCount64(seen[2]) + bits.OnesCount64(seen[3])
	if longest >= 120 && distinct >= 14 && mixed(looked) {
		c.blob = max(c.blob, len(s))
	}
	return mix(uint64(made), uint64(rough(len(s))))
}

// mixed reports whether letters and digits change so often that nobody wrote it: as in
// base64 and hexadecimal, and in no path or word.
func mixed(s []byte) bool {
	changes, kind := 0, -1
	for _, b := range s {
		k := 0
		switch {
		case b >= '0' && b <= '9':
		case b >= 'a' && b <= 'z':
			k = 1
		case b >= 'A' && b <= 'Z':
			k = 2
		default:
			continue
		}
		if kind >= 0 && k != kind {
			changes++
		}
		kind = k
	}
	return changes*4 >= len(s)
}

// rough is the order of magnitude of a length.
func rough(n int) int { return bits.Len(uint(n)) / 4 }

// places are names of arguments that say where something goes.
const places = " to cc bcc recipient recipients channel channel_id chat chat_id bucket repo repository owner mailbox webhook endpoint host hostname domain phone iban account account_id uri url target destination "

// destination notes where a text leads, if it does.
func (c *call) destination(key, s []byte) {
	if len(s) == 0 || len(s) > 2048 || c.nDests == maxDests {
		return
	}
	if i := bytes.Index(s[:min(len(s), 16)], []byte("://")); i > 0 {
		host := s[i+3:]
		if j := bytes.IndexAny(host, "/?#"); j >= 0 {
			host = host[:j]
		}
		if j := bytes.LastIndexByte(host, '@'); j >= 0 {
			host = host[j+1:]
		}
		if j := bytes.LastIndexByte(host, ':'); j >= 0 {
			host = host[:j]
		}
		name := strings.ToLower(string(host[:min(len(host), 253)]))
		if c.urls++; c.urls <= maxURLs {
			if d, err := argument.Registrable(name); err == nil {
				name = d
			}
		}
		c.dest(hash(name))
		return
	}
	at := bytes.IndexByte(s, '@')
	mail := at > 0 && at < len(s)-3 && len(s) <= 254 && !bytes.ContainsAny(s, " \n,;<>/")
	if mail || len(s) <= 256 && len(key) > 0 && len(key) < 16 && isPlace(key) {
		c.dest(hash(strings.ToLower(string(s))))
	}
}

func isPlace(key []byte) bool {
	var room [20]byte
	word := append(append(append(room[:0], ' '), bytes.ToLower(key)...), ' ')
	return strings.Contains(places, string(word))
}

func (c *call) dest(h uint64) {
	for _, d := range c.dests[:c.nDests] {
		if d == h {
			return
		}
	}
	c.dests[c.nDests] = h
	c.nDests++
}

// number notes a whole number.
func (c *call) number(key []byte, v rawjson.Value) {
	n, ok := v.Int64()
	if !ok || c.nNums == maxNumbers || len(key) > 64 {
		return
	}
	page := bytes.Contains(key, []byte("page")) || bytes.Contains(key, []byte("offset")) || bytes.Contains(key, []byte("skip")) || bytes.Contains(key, []byte("start"))
	c.numbers[c.nNums] = number{mix(c.tool, hashBytes(key)), n, page}
	c.nNums++
}

// hash is FNV-1a; what it is of comes from whoever calls, and a collision only makes
// something new look known.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h, 0x9e3779b97f4a7c15)
}

func hashBytes(s []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range s {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return mix(h, 0x9e3779b97f4a7c15)
}

// mix is a hash of two hashes.
func mix(a, b uint64) uint64 {
	h := a ^ bits.RotateLeft64(b, 31)*0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return h ^ h>>29
}
