package audit

import (
	"context"
	"crypto/rand"
	"time"

	"rutile/internal/access"
)

// EncodeIntentForTest returns what an append does before it reaches the disk.
func EncodeIntentForTest(keys KeyStore, sealer access.Sealer, payloads bool) (func(Intent) error, error) {
	ring, err := newKeyring(context.Background(), keys, sealer, &Config{Tenant: "t1", Origin: "test", Payloads: payloads, Rand: rand.Reader})
	if err != nil {
		return nil, err
	}
	s := &scribe{keys: ring, node: "n1", tenant: "t1", boot: 1, payloads: payloads, now: time.Now, rand: rand.Reader}
	return func(i Intent) error {
		e, err := s.call(context.Background(), typeIntent, &i, false)
		if err == nil {
			s.release(e)
		}
		return err
	}, nil
}
