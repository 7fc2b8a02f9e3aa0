package admin_test

import (
	"strings"
	"testing"
)

const idpSignal = `kind: Signal
id: idp
owner: secops
issuer: "https://ssf.example.com/tenant"
audience: rutile
poll: "https://ssf.example.com/tenant/poll"
secret: {ref: idp-token}
events: [session-revoked, account-disabled]
may: [user, suspend]
subjects: [{subject: "email:Ann@Example.com", user: ann}, {subject: "opaque:laptop-7", agent: bot}]
`

const edrSignal = `kind: Signal
id: edr
owner: secops
form: webhook
secret: {ref: edr-key}
may: [agent]
state: retired
`

const opsMail = `kind: Mail
id: ops
owner: secops
server: "smtp://mail.example.com:587"
user: rutile
secret: {ref: mail-password}
from: rutile@example.com
to: [ops@example.com]
routes: [{owner: team-dev, to: [dev@example.com, lead@example.com]}]
about: [finding, request]
least: critical
every: 30m0s
`

// TestSignalsAndMailsComeBackAsTheyWere: applied again nothing changes, and an export
// applied to an empty store exports the same bytes.
func TestSignalsAndMailsComeBackAsTheyWere(t *testing.T) {
	all := idpSignal + "---\n" + edrSignal + "---\n" + opsMail
	o := open(t)
	o.apply(all)
	if plan, err := o.Diff(t.Context(), doc(all)); err != nil || plan.Changes() {
		t.Errorf("is different from itself: %+v %v", plan, err)
	}
	exported := o.export()
	again := open(t)
	again.apply(exported)
	equal(t, "exported again", again.export(), exported)
	if s := again.Current().Signals["idp"]; len(s.Subjects) != 2 || s.Subjects[0].Subject != "email:ann@example.com" || s.Form != "ssf" {
		t.Errorf("kept: %+v", s)
	}
}

func TestSignalsAndMailsAreStrict(t *testing.T) {
	for name, c := range map[string]struct{ in, old, new, want string }{
		"an issuer in clear":       {idpSignal, "https://ssf.example.com/tenant\"\naud", "http://ssf.example.com/tenant\"\naud", "must be https"},
		"no audience":              {idpSignal, "audience: rutile\n", "", "audience"},
		"polling without a token":  {idpSignal, "secret: {ref: idp-token}\n", "", "bearer token of the stream"},
		"an unknown event":         {idpSignal, "session-revoked", "session-ended", `"session-ended" is unknown`},
		"an unknown right":         {idpSignal, "[user, suspend]", "[everything]", `"everything" is unknown`},
		"no right":                 {idpSignal, "may: [user, suspend]\n", "", "may"},
		"a subject without format": {idpSignal, "opaque:laptop-7", "laptop-7", "its format and words"},
		"a user and an agent":      {idpSignal, "agent: bot", "agent: bot, user: ann", "either a user or an agent"},
		"a webhook without key":    {edrSignal, "secret: {ref: edr-key}\n", "", "is required with form webhook"},
		"a webhook that polls":     {edrSignal, "form: webhook\n", "form: webhook\npoll: \"https://x.example\"\n", "is of the form ssf"},
		"a header in an address":   {opsMail, "to: [ops@example.com]", "to: [\"ops@example.com\\r\\nBcc: x@example.com\"]", "to"},
		"a name in an address":     {opsMail, "from: rutile@example.com", "from: \"Rutile <rutile@example.com>\"", "no plain address"},
		"two in one address":       {opsMail, "[ops@example.com]", "[\"a@example.com,b@example.com\"]", "no plain address"},
		"nobody":                   {opsMail, "to: [ops@example.com]", "to: []", "1 to 16"},
		"another scheme":           {opsMail, "smtp://mail.example.com:587", "http://mail.example.com", "smtp://host:587"},
		"a password in the server": {opsMail, "smtp://mail", "smtp://me:pw@mail", "smtp://host:587"},
		"a user without password":  {opsMail, "secret: {ref: mail-password}\n", "", "belong together"},
		"too often":                {opsMail, "30m0s", "1s", "every"},
		"an unknown severity":      {opsMail, "critical", "terrible", `"terrible" is unknown`},
	} {
		changed := strings.Replace(c.in, c.old, c.new, 1)
		if changed == c.in {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := open(t).Diff(t.Context(), doc(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
