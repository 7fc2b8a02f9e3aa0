package flow

import (
	"slices"
	"strings"
	"unicode"
)

// names of arguments, word by word, by what they are for.
var (
	recipientNames = []string{
		"to", "recipient", "recipients", "cc", "bcc", "email", "emails", "mail", "user", "users", "username", "url",
		"urls", "uri", "link", "href", "webhook", "endpoint", "callback", "host", "hostname", "domain", "phone", "tel",
		"iban", "account", "channel", "channels", "group", "groups", "dest", "destination", "target", "payee",
		"beneficiary", "receiver", "participant", "participants", "attendee", "attendees", "guest", "guests",
		"invitee", "invitees", "member", "members", "contact", "contacts", "remote", "bucket", "repo", "repository",
		"origin", "forward", "wallet", "room", "server", "peer", "handle", "person", "people", "customer", "buyer",
		"vendor", "merchant", "seller",
	}
	powerNames = []string{
		"password", "passwd", "secret", "role", "roles", "permission", "permissions", "scope", "scopes", "privilege",
		"privileges", "access", "key", "token", "owner", "admin", "policy", "acl", "visibility", "public", "pin",
	}
	contentNames = []string{
		"body", "text", "message", "content", "contents", "subject", "title", "description", "comment", "note",
		"notes", "summary", "html", "data", "payload", "caption", "reason", "memo", "details", "remark", "markdown",
		"snippet", "value", "query", "question", "answer", "reply", "topic", "status", "bio",
	}
)

// roleOf is what an argument is for, by its name and the kind of its value.
func roleOf(pointer, kind string) Role {
	words := lastName(pointer)
	if len(words) == 0 {
		return Selector
	}
	last := words[len(words)-1]
	switch {
	case slices.Contains(contentNames, last):
		return Content
	case slices.Contains(recipientNames, last) || slices.Contains(powerNames, last):
		return Recipient
	case kind == "email" || kind == "url" || kind == "host" || kind == "account":
		return Recipient
	case kind == "text":
		return Content
	}
	for _, w := range words {
		if last != "id" && (slices.Contains(recipientNames, w) || slices.Contains(powerNames, w)) {
			return Recipient
		}
	}
	return Selector
}

// lastName is the words of the last member a pointer names.
func lastName(pointer string) []string {
	parts := strings.Split(pointer, "/")
	for i := len(parts) - 1; i > 0; i-- {
		if strings.Trim(parts[i], "0123456789") != "" {
			return namesOf(parts[i])
		}
	}
	return nil
}

// namesOf splits an identifier at signs and at changes of case, in lower case.
func namesOf(name string) []string {
	var out []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			out = append(out, b.String())
			b.Reset()
		}
	}
	rs := []rune(name)
	for i, r := range rs {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			flush()
			continue
		}
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1])) {
			flush()
		}
		b.WriteRune(unicode.ToLower(r))
	}
	flush()
	return out
}

// actOf is what a tool does, by its name; by its description where the name has no
// verb.
func actOf(name, description string) act {
	var a act
	lex := lexicon()
	var implied uint16
	light := false
	for i, n := range namesOf(name) {
		w := lex.of([]byte(n))
		// A tool is called after what it does: the first verb counts, and with one that
		// says little of itself what it makes: to create an order is to order.
		if a.verbs != 0 && light {
			a.verbs |= (w.verbs | w.done) &^ actRead
		}
		if a.verbs == 0 && w.verbs != 0 {
			light = slices.Contains(lightVerbs, n)
			a.verbs, implied = w.verbs, w.implied
			if i > 0 {
				a.objects |= w.objects
			}
			continue
		}
		a.objects |= w.objects
	}
	if a.objects == 0 {
		a.objects = implied
	}
	if a.verbs == 0 && description != "" {
		var s speech
		f := fold(nil, []byte(description[:min(len(description), 512)]), false)
		var sp splitter
		sp.tokens(f.text, func(t token) {
			if t.kind == kindWord {
				s.hear(lex, lex.of(t.text), f.text, t.start, t.end, false)
			}
		})
		s.finish(f.text)
		if len(s.clauses) > 0 {
			a = s.clauses[0].act
		}
	}
	return a
}

// TraitsOf reads what a tool does from its classes (read, write, destroy, egress), its
// labels (external_sink, state_changing) and, where neither says anything, its name.
func TraitsOf(name string, classes, labels []string) Traits {
	t := Traits{
		Sends:   slices.Contains(classes, "egress") || slices.Contains(labels, "external_sink"),
		Changes: slices.Contains(classes, "write") || slices.Contains(classes, "destroy") || slices.Contains(labels, "state_changing"),
	}
	if len(classes) == 0 && len(labels) == 0 {
		a := actOf(name, "")
		t.Sends = a.verbs&(actSend|actWrite|actPost|actGrant|actBuy) != 0
		t.Changes = a.verbs&^(actRead|actSend|actWrite|actPost) != 0
	}
	return t
}

// How far the user hands over to a text.
const (
	handsNothing = iota
	handsSome    // "refund what she asks for": acts the user names, details the text gives
	handsAll     // "do the tasks in", "follow the instructions"
)

// delegates is how far the user hands over.
func delegates(text []byte, s *speech) byte {
	some := byte(handsNothing)
	for i := range s.words {
		word := string(text[s.words[i].start:s.words[i].end])
		if slices.Contains(wishes, word) && i > 0 {
			some = handsSome
		}
		if !slices.Contains(carryOut, word) || i > 0 && s.sentence[i-1] == s.sentence[i] && !s.orders(text, i) {
			continue
		}
		for _, w := range s.words[i+1 : min(len(s.words), i+7)] {
			if slices.Contains(chores, string(text[w.start:w.end])) {
				return handsAll
			}
		}
	}
	return some
}

var (
	lightVerbs = []string{
		"create", "make", "place", "submit", "issue", "do", "perform", "process", "file", "initiate", "request", "add",
		"run", "execute", "get", "set", "put", "let", "give", "take", "use",
	}
	carryOut = []string{
		"do", "follow", "perform", "execute", "complete", "carry", "handle", "process", "finish", "fulfil", "fulfill",
		"implement", "address",
	}
	chores = []string{
		"task", "tasks", "todo", "todos", "action", "actions", "instruction", "instructions", "step", "steps",
		"request", "requests", "things", "everything", "what", "whatever",
	}
	wishes = []string{"asks", "wants", "says", "requests", "requires", "demands", "instructs"}
)
