package gatetest_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// childListen is a listen a child of 2026-07-28 serves.
type childListen struct {
	id   string
	uris []string
}

// listened takes what is of listens, in a part that serves them; false means that
// it is not.
func (c *child) listened(method, id string, want json.RawMessage, ended string) bool {
	if !strings.Contains(c.part, "listens") {
		return false
	}
	switch method {
	case "subscriptions/listen":
		var asked struct {
			URIs []string `json:"resourceSubscriptions"`
		}
		_ = json.Unmarshal(want, &asked)
		if _, err := os.Stat(os.Getenv(childNotes) + ".deaf"); err == nil {
			want = json.RawMessage(`{}`)
		}
		c.say(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":%s,"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, want, id)
		c.listens = append(c.listens, childListen{id, asked.URIs})
		if strings.Contains(c.part, "at once") {
			for _, uri := range asked.URIs {
				c.update(id, uri)
			}
		}
	case "notifications/cancelled":
		c.listens = slices.DeleteFunc(c.listens, func(l childListen) bool { return l.id == ended })
	default:
		return false
	}
	return true
}

func (c *child) update(listen, uri string) {
	c.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q,"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, uri, listen)
}

// tellListens says something in the listens: of a resource in those that asked for
// it, or what is named.
func (c *child) tellListens(what string) {
	verb, rest, _ := strings.Cut(what, " ")
	for _, l := range c.listens {
		switch verb {
		case "shout": // whether it was asked for or not
			c.update(l.id, rest)
		case "changed":
			c.say(`{"jsonrpc":"2.0","method":"notifications/%s/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, rest, l.id)
		case "finish":
			c.say(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, l.id, l.id)
		case "cancel":
			c.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`, l.id)
		case "flood":
			for range 20_000 {
				c.update(l.id, rest)
			}
		default:
			if slices.Contains(l.uris, verb) {
				c.update(l.id, verb)
			}
		}
	}
	if verb == "stray" { // of no listen there is
		c.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, rest)
		for _, id := range []string{`999999`, `"s"`, `null`, `{}`} {
			c.update(id, rest)
		}
	}
}
