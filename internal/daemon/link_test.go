package daemon_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/daemon"
	"rutile/internal/registry"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

const mailServer = `kind: Server
id: mail
owner: team-a
transport: {http: {url: "https://mail.example/mcp"}}
credential: {ref: box, header: Authorization, value: "Bearer {secret}"}
`

func box(servers, source string) string {
	return "kind: Credential\nid: box\nowner: team-a\nservers: [" + servers + "]\norigins: [\"https://mail.example\"]\nsource:\n  " + source + "\n"
}

const userOAuth = `userOAuth: {issuer: "http://127.0.0.1:1", clientID: us, auth: none}`

func declare(t *testing.T, d *daemon.Daemon, text string) {
	t.Helper()
	if _, err := d.Admin.Apply(t.Context(), admin.System(), []admin.Document{{File: "box.yaml", Text: text}}, false); err != nil {
		t.Fatal(err)
	}
}

// TestNobodyConnectsAServerACredentialIsNotFor: that a server names it is not enough,
// and nobody is sent anywhere.
func TestNobodyConnectsAServerACredentialIsNotFor(t *testing.T) {
	d := start(t, daemon.Config{Data: storetest.Dir(t)})
	defer d.Close(context.Background())
	declare(t, d, mailServer+"---\n"+box("other", userOAuth))
	if _, err := d.Admin.ChangeServer(t.Context(), admin.System(), "mail", registry.VerbApprove, "a test"); err != nil {
		t.Fatal(err)
	}
	who := access.Subject{Issuer: d.AgentsURL, ID: "ann"}
	if _, err := d.Links.Start(t.Context(), who, "box", "mail"); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("got %v, want that it is not there", err)
	}
}

// TestLinksOfACredentialThatIsOfAnotherKindNowEnd: nothing would use them any more.
func TestLinksOfACredentialThatIsOfAnotherKindNowEnd(t *testing.T) {
	dir := t.TempDir()
	d := start(t, daemon.Config{Data: dir})
	declare(t, d, mailServer+"---\n"+box("mail", `clientCredentials: {clientID: us, secret: seed}`))
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ann := access.Subject{Issuer: "https://us.example", ID: "ann"}
	l := credential.Link{ID: credential.LinkID("box", "mail", ann), Credential: "box", Server: "mail", Subject: ann, State: credential.LinkActive, Made: time.Now(), Rev: 1, Sealed: []byte("old")}
	if err := db.PutLink(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	d = start(t, daemon.Config{Data: dir})
	defer d.Close(context.Background())
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list, err := d.Links.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left are %+v", list)
		}
	}
}

// TestAGatewayToldToStopAtOnceSaysNothingOfIt: what it had no time for is not an error.
func TestAGatewayToldToStopAtOnceSaysNothingOfIt(t *testing.T) {
	var log bytes.Buffer
	d, err := daemon.New(t.Context(), daemon.Config{Data: storetest.Dir(t), Listen: free}, daemon.Options{Version: "test", Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	before := log.Len()
	d.SweepMinted(stopped)
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if said := log.Bytes()[before:]; bytes.Contains(said, []byte("level=ERROR")) || bytes.Contains(said, []byte("level=WARN")) {
		t.Errorf("it says %s", said)
	}
}
