package admin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Action says what a plan does with an object.
type Action string

// The actions. Apply never deletes: an object that is not named stands. Only
// rolling back does.
const (
	ActionCreate    Action = "create"
	ActionUpdate    Action = "update"
	ActionDelete    Action = "delete"
	ActionUnchanged Action = "unchanged"
)

// FieldChange is one field before and after, as JSON; nil where it was or is
// not there.
type FieldChange struct {
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Item is what happens to one declared object.
type Item struct {
	Kind   string        `json:"kind"`
	ID     string        `json:"id"`
	Action Action        `json:"action"`
	Fields []FieldChange `json:"fields,omitempty"`
	// Runs is the exact command a stdio server will start, argument by argument.
	Runs []string `json:"runs,omitempty"`
	// Dangers says what is unsafe about it; Notes what a reader should know.
	Dangers []string `json:"dangers,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	Before  string   `json:"before,omitempty"` // digest, where something changes
	After   string   `json:"after,omitempty"`
}

// Plan is what an apply does, or would do.
type Plan struct {
	Items      []Item `json:"items"`
	Applied    bool   `json:"applied"` // false for a diff and where nothing changes
	Generation uint64 `json:"generation"`
}

// Changes reports whether the plan changes anything.
func (p Plan) Changes() bool {
	return slices.ContainsFunc(p.Items, func(i Item) bool { return i.Action != ActionUnchanged })
}

// fieldsOf compares two objects field by field. A missing object is nil.
func fieldsOf(before, after any) []FieldChange {
	old, now := flatten(before), flatten(after)
	all := map[string]bool{}
	for k := range old {
		all[k] = true
	}
	for k := range now {
		all[k] = true
	}
	var out []FieldChange
	for _, k := range keysOf(all) {
		if string(old[k]) != string(now[k]) {
			out = append(out, FieldChange{Field: k, Before: old[k], After: now[k]})
		}
	}
	return out
}

// unseenFields are kept by the registry itself and are never a difference.
var unseenFields = []string{"created", "changed", "stateBy", "confirmed", "confirmedBy"}

// flatten returns the members of an object by path. Lists are one value: their
// order means something, and a reader compares them as wholes.
func flatten(v any) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	b, err := json.Marshal(v)
	if v == nil || err != nil {
		return out
	}
	var walk func(path string, raw json.RawMessage)
	walk = func(path string, raw json.RawMessage) {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil || members == nil {
			out[path] = raw
			return
		}
		for k, m := range members {
			if path == "" && slices.Contains(unseenFields, k) {
				continue
			}
			walk(strings.TrimPrefix(path+"."+k, "."), m)
		}
	}
	walk("", b)
	delete(out, "")
	return out
}

func sortItems(items []Item) {
	rank := map[string]int{kindUser: -1, kindTeam: 0, kindAgent: 1, kindServer: 2, kindPolicy: 3, kindFact: 4, kindEntitlement: 5, kindCredential: 6, kindWebhook: 7, kindSink: 8, kindSignal: 9, kindMail: 10, kindLabel: 11}
	slices.SortFunc(items, func(a, b Item) int { return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(a.ID, b.ID)) })
}

// dangers says what is unsafe about a command a server is to start (mcp.md
// section 5 row 6). It warns; the person who applies decides.
func dangers(argv []string) []string {
	var out []string
	add := func(format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	line := strings.Join(argv, " ")
	for i, a := range argv {
		base := a[strings.LastIndexAny(a, `/\`)+1:]
		if i == 0 || argv[0] == "env" || argv[0] == "sudo" {
			switch strings.TrimSuffix(base, ".exe") {
			case "sudo", "su", "doas", "pkexec", "runas":
				add("runs with the rights of another user (%s)", base)
			case "sh", "bash", "zsh", "dash", "ksh", "fish", "cmd", "powershell", "pwsh":
				add("starts a shell (%s), which can run anything", base)
			case "curl", "wget", "nc", "ncat", "socat", "ssh", "telnet":
				add("reaches the network by itself (%s)", base)
			case "rm", "dd", "mkfs", "shred":
				add("destroys data (%s)", base)
			case "npx", "uvx", "bunx", "pipx":
				if !pinned(argv[i+1:]) {
					add("%s (%s)", notPinned, base)
				}
			}
		}
		switch {
		case a == "/" || a == "~" || a == "/etc" || a == "/root" || strings.Contains(a, "/.ssh") || strings.Contains(a, "/.aws") || strings.Contains(a, "/etc/shadow") || strings.Contains(a, "docker.sock"):
			add("is given the sensitive path %q", clip(a))
		case a == "--privileged":
			add("runs a container with every right of the machine")
		}
	}
	if strings.Contains(line, "rm -rf") || strings.Contains(line, "rm -fr") {
		add("holds rm -rf")
	}
	if strings.Contains(line, "| sh") || strings.Contains(line, "|sh") || strings.Contains(line, "| bash") || strings.Contains(line, "|bash") {
		add("pipes what it fetched into a shell")
	}
	return out
}

// notPinned is what is said of a launcher that may run another package tomorrow.
const notPinned = "runs a package whose version is not pinned"

// fetches reports whether a command fetches what it runs.
func fetches(argv []string) bool {
	return slices.ContainsFunc(argv, func(a string) bool {
		base := a[strings.LastIndexAny(a, `/\`)+1:]
		return slices.Contains([]string{"npx", "uvx", "bunx", "pipx", "docker", "podman"}, strings.TrimSuffix(base, ".exe"))
	})
}

// pinned reports whether the package a launcher is to run names its version.
func pinned(args []string) bool {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			continue
		}
		at := strings.LastIndexByte(a, '@')
		return at > 0 && !strings.HasSuffix(a, "@latest") || strings.Contains(a, "==")
	}
	return true
}
