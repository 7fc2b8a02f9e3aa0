package identity

import (
	"crypto/sha256"
	"sync"

	"rutile/internal/access"
)

// verified is a token whose signature and session were checked. What changes
// with time or with the request is checked again each time it is used.
type verified struct {
	who     access.Identity
	subject string // of who, as a Family has it
	aud     string
	issued  int64 // Unix seconds
	expires int64
	gen     generation // it was verified under
}

type digest = [sha256.Size]byte

const shards = 16

// cache remembers verified tokens by SHA-256 digest, so that it holds no token.
// It is bounded: each shard forgets its oldest entry first. Only tokens that
// verified get in, so strangers cannot push others out.
type cache struct {
	shard [shards]struct {
		sync.RWMutex
		entries map[digest]*verified
		ring    []digest // in order of arrival, next is the oldest
		next    int
		_       [40]byte // keep the locks of two shards off one cache line
	}
	each int // entries per shard
}

func newCache(size int) *cache {
	c := &cache{each: (size + shards - 1) / shards}
	for i := range c.shard {
		c.shard[i].entries = make(map[digest]*verified)
	}
	return c
}

// get returns what is known about a token if it was verified under gen.
func (c *cache) get(sum *digest, gen generation) *verified {
	s := &c.shard[sum[0]%shards]
	s.RLock()
	v := s.entries[*sum]
	s.RUnlock()
	if v == nil || v.gen != gen {
		return nil
	}
	return v
}

func (c *cache) put(sum *digest, v *verified) {
	s := &c.shard[sum[0]%shards]
	s.Lock()
	defer s.Unlock()
	if _, again := s.entries[*sum]; !again {
		if len(s.ring) < c.each {
			s.ring = append(s.ring, *sum)
		} else {
			delete(s.entries, s.ring[s.next])
			s.ring[s.next] = *sum
			s.next = (s.next + 1) % c.each
		}
	}
	s.entries[*sum] = v
}
