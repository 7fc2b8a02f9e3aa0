package shim

import (
	"net/http"
)

// SetTransport replaces the network.
func (s *Shim) SetTransport(rt http.RoundTripper) { s.http.Transport = rt }
