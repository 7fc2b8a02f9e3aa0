package inventory_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// Owners are suggested by what a repository says and by whose configuration it is,
// for what nobody owns, and never from what is gone or another machine says of its
// users.
func TestOwnersAreSuggested(t *testing.T) {
	const here, ann, bob = "hst_000000000001", "usr_00000000000a", "usr_00000000000b"
	entry := func(key, owner string, status discovery.Status) inventory.Entry {
		return inventory.Entry{Server: inventory.Server{Key: key, Owner: owner, Names: []string{key + "!"}}, Status: status}
	}
	all := []inventory.Entry{entry("a", "", discovery.StatusShadow), entry("b", "team", discovery.StatusShadow), entry("c", "", inventory.StatusGone), entry("d", "", discovery.StatusShadow)}
	see := func(key, host, user string, handles ...string) inventory.Sighting {
		return inventory.Sighting{Server: key, Host: host, User: user, Fact: discovery.Configured, CodeOwners: handles, Last: noon}
	}
	gone := see("a", here, ann, "acme/gone")
	gone.Gone = noon
	running := see("a", here, bob)
	running.Fact = discovery.Running
	seen := []inventory.Sighting{
		see("a", here, ann), see("a", here, ann), see("a", here, bob), see("a", "hst_000000000002", bob), see("a", "hst_000000000002", bob), see("a", "hst_000000000002", bob),
		see("merged", here, "", "acme/Plat_form", "acme/strangers"), gone, running,
		see("b", here, ann), see("c", here, ann), see("d", here, "usr_none", "x"), see("d", here, ""),
	}
	people := inventory.People{Host: here, Accounts: map[string]string{ann: "ann", bob: "bob"}, Known: func(id string) bool { return id == "plat-form" || id == "ann" || id == "bob" }}
	var got []string
	for _, o := range inventory.SuggestOwners(all, seen, map[string]string{"merged": "a"}, people) {
		got = append(got, fmt.Sprintf("%s %d %s%s %s %d", o.Server, o.Rank, o.Owner, o.Handle, o.Rule, o.Places))
	}
	want := []string{"a 1 plat-form@acme/Plat_form codeowners 1", "a 2 ann account 2", "a 3 bob account 1", "d 1 @x codeowners 1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
