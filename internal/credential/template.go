package credential

import (
	"strings"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Slot says where the text for a place of a template comes from and how it must
// look. Exactly one of Argument and Fact is set.
type Slot struct {
	Argument string `json:"argument,omitempty"` // pointer into the arguments
	Fact     string `json:"fact,omitempty"`     // agent, subject, session, task, tool or decision
	// Form is name (default): letters, digits and _ . - ; or path: such names with
	// / between them, none of which is . or ..
	Form string `json:"form,omitempty"`
	// OneOf lists all values that are taken, in place of Form.
	OneOf []string `json:"oneOf,omitempty"`
}

// The forms of a slot.
const (
	formName = "name"
	formPath = "path"
)

// maxSlot bounds one filled text in bytes.
const maxSlot = 256

// check refuses a slot that could be filled with anything but plain text: no
// quote, no brace or $, which policies give meaning, no * or ?.
func (s Slot) check() error {
	switch {
	case (s.Argument == "") == (s.Fact == ""):
		return access.Errorf(access.CodeInvalid, "must have exactly one of argument and fact")
	case s.Form != "" && s.Form != formName && s.Form != formPath:
		return access.Errorf(access.CodeInvalid, "form must be name or path")
	case s.Form != "" && len(s.OneOf) > 0:
		return access.Errorf(access.CodeInvalid, "must not have both form and oneOf")
	}
	for _, v := range s.OneOf {
		if !only(v, slotChars+"/", maxSlot) {
			return access.Errorf(access.CodeInvalid, "oneOf: %q has a character that is not taken: use letters, digits and %s/", v, slotChars)
		}
	}
	if s.Argument != "" {
		return checkPointer(s.Argument)
	}
	if _, ok := factOf(s.Fact, Need{}); !ok {
		return access.Errorf(access.CodeInvalid, "%q is no fact: use agent, subject, session, task, tool or decision", s.Fact)
	}
	return nil
}

// slotChars may stand in a filled text besides letters and digits. Nothing of
// them has a meaning in JSON, in an ARN's pattern or in a policy variable.
const slotChars = "_.-@+="

// factOf returns what is known of n by name; ok is false for another name.
func factOf(name string, n Need) (value string, ok bool) {
	switch name {
	case "agent":
		return n.Who.Actor.Agent, true
	case "subject":
		return n.Who.Subject.ID, true
	case "session":
		return n.Who.Session, true
	case "task":
		return n.Who.Task, true
	case "tool":
		return n.Tool, true
	case "decision":
		return n.Decision, true
	}
	return "", false
}

// text returns what fills the slot.
func (s Slot) text(n Need) (string, error) {
	where := "the " + s.Fact + " of the call"
	value, _ := factOf(s.Fact, n)
	if s.Argument != "" {
		where = "the argument " + s.Argument
		var err error
		if value, err = textAt(n.Arguments, s.Argument); err != nil {
			return "", err
		}
	}
	if !s.takes(value) {
		return "", access.Errorf(access.CodeDenied, "%s has a form the credential cannot be narrowed to: %s", where, s.wants())
	}
	return value, nil
}

func (s Slot) takes(value string) bool {
	if len(s.OneOf) > 0 {
		for _, v := range s.OneOf {
			if v == value {
				return true
			}
		}
		return false
	}
	if len(value) > maxSlot {
		return false
	}
	parts := []string{value}
	if s.Form == formPath {
		parts = strings.Split(value, "/")
	}
	for _, p := range parts {
		if !only(p, slotChars, maxSlot) || p == "." || p == ".." {
			return false
		}
	}
	return true
}

func (s Slot) wants() string {
	switch {
	case len(s.OneOf) > 0:
		return "it is none of those its manifest lists"
	case s.Form == formPath:
		return "write names of letters, digits and " + slotChars + " with / between them, none of them . or .."
	}
	return "write letters, digits and " + slotChars
}

// places returns the names of the places of a template: {{name}}.
func places(template string) ([]string, error) {
	var names []string
	for rest := template; ; {
		_, after, ok := strings.Cut(rest, "{{")
		if !ok {
			return names, nil
		}
		name, behind, ok := strings.Cut(after, "}}")
		if !ok || !only(name, "", 64) {
			return nil, access.Errorf(access.CodeInvalid, "has a {{ that does not begin a place such as {{name}}")
		}
		names, rest = append(names, name), behind
	}
}

// fill puts texts into the places of a template that passed its check.
func fill(template string, texts map[string]string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(template, "{{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		var name string
		name, template, _ = strings.Cut(after, "}}")
		b.WriteString(texts[name])
	}
}

// checkJSONTemplate refuses a template that is no JSON object, or whose places
// stand elsewhere than inside its string values.
func checkJSONTemplate(template string, slots map[string]Slot) error {
	names, err := places(template)
	if err != nil {
		return err
	}
	for _, n := range names {
		if _, ok := slots[n]; !ok {
			return access.Errorf(access.CodeInvalid, "has a place {{%s}} and no slot of that name", n)
		}
	}
	v, err := rawjson.Parse([]byte(template), rawjson.Limits{})
	if err != nil || v.Kind() != rawjson.Object {
		return access.Errorf(access.CodeInvalid, "must be a JSON object, with {{places}} inside its strings only")
	}
	return keysWithout(v)
}

// keysWithout refuses places in keys.
func keysWithout(v rawjson.Value) error {
	for key, val := range v.Members() {
		if s, _ := key.Str(); strings.Contains(s, "{{") {
			return access.Errorf(access.CodeInvalid, "must not have a place in a key")
		}
		if err := keysWithout(val); err != nil {
			return err
		}
	}
	for item := range v.Items() {
		if err := keysWithout(item); err != nil {
			return err
		}
	}
	return nil
}
