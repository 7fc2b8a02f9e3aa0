package notice

import (
	"errors"
	"net/mail"
	"strings"
	"time"
)

// Item is one thing that waits for somebody.
type Item struct {
	Key   string // the only one; what came up again has another
	About string
	Title string // one line of ours, with names in it
	URL   string // of the page about it; it gives no right
	Owner string // who answers for it, "" while nobody does
	Rank  int    // the worse, the greater
	Since time.Time
}

// CheckAddress says why something is no plain address of mail: a local part and a domain
// in ASCII and nothing else, so that nothing of it is read as a header or a command.
func CheckAddress(a string) error {
	p, err := mail.ParseAddress(a)
	if err != nil || p.Address != a || p.Name != "" || len(a) > 254 || strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"\\()<>[],;:", r) }) {
		return errors.New("it is no plain address of mail")
	}
	return nil
}
