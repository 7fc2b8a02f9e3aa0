package mcpproxy

// Noted lets a test note changes of resources for a listen that wants some, and
// take them as its stream would.
type Noted struct{ h *listener }

func NewNoted(wants ...string) Noted {
	h := newListener()
	for _, uri := range wants {
		h.wants[change{resourceUpdated, uri}] = true
	}
	return Noted{h}
}

func (n Noted) Mark(uri string) { n.h.mark(change{resourceUpdated, uri}) }

func (n Noted) Next() (string, bool) {
	ch, ok := n.h.next()
	return ch.uri, ok
}
