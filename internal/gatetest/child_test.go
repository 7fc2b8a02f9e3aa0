package gatetest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// childPart makes the test binary play a server on its standard input and
// output; childNotes is a file it writes what happens to it into, childKey a
// credential.
const (
	childPart  = "GATETEST_CHILD"
	childNotes = "GATETEST_NOTES"
	childKey   = "GATETEST_KEY"
)

// TestChild is not a test: it is the server the tests below start.
func TestChild(t *testing.T) {
	part := os.Getenv(childPart)
	if part == "" {
		return
	}
	c := &child{modern: strings.Contains(part, "modern"), part: part, waits: map[string]string{}}
	c.note("start %d %s", os.Getpid(), strings.Join(os.Args[1:], " "))
	if strings.Contains(part, "stillborn") {
		os.Exit(3)
	}
	for strings.Contains(part, "gated") {
		if _, err := os.Stat(os.Getenv(childNotes) + ".gate"); err != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if strings.Contains(part, "held") {
		c.waitHeld()
	}
	take := c.line
	if strings.Contains(part, "tasks") {
		tasks := &taskPipe{ends: map[string]context.CancelFunc{}}
		take = func(raw []byte) {
			c.note("got %s", raw)
			tasks.line(raw)
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		take(lines.Bytes())
	}
	c.note("end %d", os.Getpid())
	os.Exit(0)
}

type child struct {
	part    string
	modern  bool
	waits   map[string]string // id of a waiting call → its text
	listens []childListen
	drift   string // what the definition of its tool has more
}

func (c *child) note(format string, args ...any) {
	f, err := os.OpenFile(os.Getenv(childNotes), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, format+"\n", args...)
}

func (c *child) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (c *child) text(id, text string) {
	raw, _ := json.Marshal(text)
	stamp := ""
	if c.modern {
		stamp = `"resultType":"complete",`
	}
	c.say(`{"jsonrpc":"2.0","id":%s,"result":{%s"content":[{"type":"text","text":%s}]}}`, id, stamp, raw)
}

func (c *child) line(raw []byte) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Result json.RawMessage `json:"result"`
		Params struct {
			URI           string          `json:"uri"`
			RequestID     json.RawMessage `json:"requestId"`
			Notifications json.RawMessage `json:"notifications"`
			Arguments     struct {
				Do   string `json:"do"`
				Text string `json:"text"`
			} `json:"arguments"`
			Client struct {
				Name string `json:"name"`
			} `json:"clientInfo"`
			Meta struct {
				Token json.RawMessage `json:"progressToken"`
			} `json:"_meta"`
		} `json:"params"`
	}
	_ = json.Unmarshal(raw, &m)
	c.note("got %s", raw)
	if strings.Contains(c.part, "silent") {
		return
	}
	id, stamp := string(m.ID), ""
	if c.modern {
		stamp = `"resultType":"complete","ttlMs":0,"cacheScope":"private",`
	}
	switch {
	case m.Method == "server/discover" && c.modern:
		c.say(`{"jsonrpc":"2.0","id":%s,"result":{%s"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}%s}}}`, id, stamp, c.resources())
	case c.listened(m.Method, id, m.Params.Notifications, string(m.Params.RequestID)):
	case m.Method == "initialize" && strings.HasPrefix(m.Params.Client.Name, "refused "):
		c.say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"no"}}`, id)
	case m.Method == "initialize" && !c.modern:
		c.say(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}%s},"serverInfo":{"name":"child","version":"1"}}}`, id, c.resources())
	case m.Method == "tools/list":
		c.say(`{"jsonrpc":"2.0","id":%s,"result":{%s"tools":[{"name":"do","inputSchema":{"type":"object"}%s}]}}`, id, stamp, c.drift)
	case m.Method == "resources/list":
		c.say(`{"jsonrpc":"2.0","id":%s,"result":{%s"resources":[{"uri":"test://a","name":"a"},{"uri":"test://b","name":"b"}]}}`, id, stamp)
	case m.Method == "resources/subscribe", m.Method == "resources/unsubscribe":
		if strings.Contains(c.part, "at once") {
			c.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, m.Params.URI)
		}
		c.say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
	case m.Method == "tools/call":
		c.call(id, m.Params.Arguments.Do, m.Params.Arguments.Text, string(m.Params.Meta.Token))
	case m.Method == "" && string(m.Result) != "":
		for w := range c.waits {
			c.text(w, "answered "+string(m.Result)+" "+os.Getenv(childKey))
		}
	case id != "":
		c.say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, id)
	}
}

// resources is the capability, where the part has it.
func (c *child) resources() string {
	if strings.Contains(c.part, "resources") {
		return `,"resources":{"subscribe":true,"listChanged":true},"prompts":{"listChanged":true}`
	}
	return ""
}

func (c *child) call(id, do, text, token string) {
	switch do {
	case "die":
		os.Exit(3)
	case "die mid-answer":
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"res`, id)
		os.Exit(3)
	case "who":
		env, _ := json.Marshal(os.Environ())
		c.text(id, fmt.Sprintf("pid %d args %q env %s", os.Getpid(), os.Args[1:], env))
	case "leak":
		c.leak(id)
	case "key":
		key := os.Getenv(childKey)
		c.note("key %s %s", text, key)
		answer := func() { c.text(id, "holds "+key) }
		if text == "slow" {
			time.AfterFunc(time.Second, answer)
			return
		}
		answer()
	case "file":
		raw, _ := os.ReadFile(os.Getenv("TOKEN_FILE"))
		c.note("file %s %d %s", text, os.Getpid(), raw)
		c.text(id, "holds "+string(raw))
	case "doubt":
		c.say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`, id)
	case "update":
		c.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, text)
		c.text(id, text)
		time.AfterFunc(20*time.Millisecond, func() {
			c.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q,"later":true}}`, text)
		})
	case "tell":
		c.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, text)
		c.text(id, text)
	case "changed":
		c.say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		c.text(id, text)
	case "flood":
		for range 20_000 {
			c.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, text)
		}
		c.text(id, text)
	case "garble":
		c.say(`{"jsonrpc":"1.0","method":"x"}`)
	case "wait":
		c.waits[id] = text
	case "release":
		for w, text := range c.waits {
			c.text(w, text)
		}
		c.waits = map[string]string{}
		c.text(id, "released")
	case "drift":
		c.drift = `,"description":"another"`
		c.text(id, text)
	case "listens":
		c.tellListens(text)
		c.text(id, text)
	case "progress":
		c.say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}`, token)
		c.text(id, text)
	case "ask":
		c.waits[id] = text
		c.say(`{"jsonrpc":"2.0","id":"ask-1","method":"elicitation/create","params":{"message":"how?","requestedSchema":{"type":"object","properties":{}}}}`)
	case "later":
		c.text(id, text)
		go func() {
			time.Sleep(50 * time.Millisecond)
			os.Exit(3)
		}()
	default:
		c.text(id, text)
	}
}

// leak answers id and says the process's credential wherever it can be said.
func (c *child) leak(id string) {
	key := os.Getenv(childKey)
	raw, _ := json.Marshal(key)
	c.say(`{%s:1,%s:2}`, raw, raw)                      // a key twice
	c.say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, raw) // nobody's answer
	c.say(`{"jsonrpc":"2.0","method":%s}`, raw)
	c.say(`{"jsonrpc":"2.0","id":{%s:1},"method":"ping"}`, raw)
	c.say(`%s`, raw)
	fmt.Fprintf(os.Stderr, "cannot use %s\n%s%s\n", key, strings.Repeat("x", 8<<10), key)
	c.text(id, "holds "+key)
}
