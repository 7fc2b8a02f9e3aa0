package oauth

import "time"

// MaxClients is how many clients a limiter remembers.
const MaxClients = maxClients

// ParseForm is parseForm.
func ParseForm(body string) (map[string][]string, error) { return parseForm(body) }

// Known is known.
func Known(name string) bool { return known(name) }

// Limiter is limiter.
type Limiter struct{ *limiter }

// NewLimiter is newLimiter.
func NewLimiter(rate, burst int, now func() time.Time) Limiter {
	return Limiter{newLimiter(rate, burst, now)}
}

// Take is take.
func (l Limiter) Take(client string) time.Duration { return l.take(client) }

// Len is how many clients are remembered, counted in both structures.
func (l Limiter) Len() (int, int) { return len(l.clients), l.recent.Len() }

// ClientAddress is clientAddress.
func ClientAddress(remote string) string { return clientAddress(remote) }
