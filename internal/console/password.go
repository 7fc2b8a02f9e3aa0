package console

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"rsc.io/qr"

	"rutile/internal/access"
	"rutile/internal/throttle"
)

// passwordSignIn opens a session for whoever sends a password and a code that count.
// Every other is answered with the same page.
func (c *Console) passwordSignIn(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "request", "user", "password", "code")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if !place(f["request"]) {
		c.missing(w, r)
		return
	}
	from, user := throttle.Address(r.RemoteAddr), strings.TrimSpace(f["user"])
	if c.tooMany(w, r, f["request"], from) {
		return
	}
	if wait := c.guesses.take(user, from); wait > 0 {
		c.attempts.giveBack(from)
		c.entries.TurnedAway()
		w.Header().Set("Retry-After", fmt.Sprint(int((wait+time.Second-1)/time.Second)))
		c.askWhoStatus(w, r, http.StatusTooManyRequests, f["request"], "Too many sign-ins of this user have failed. Wait "+count(int((wait+time.Second-1)/time.Second), "second")+", or sign in another way.")
		return
	}
	actor, err := c.signIns.SignInWithPassword(r.Context(), user, f["password"], f["code"])
	if err == nil {
		c.guesses.giveBack(user, from)
	}
	c.signedIn(w, r, f["request"], actor, "password", user, err)
}

// passwordPage shows, once it was chosen, what a password needs besides.
type passwordPage struct {
	Gone         bool
	Secret, Path string
	Size         int // of the picture, in modules
	Recovery     []string
}

func (c *Console) password(v *visit) (any, error) {
	e, ok := c.chosen.Look(v.id)
	if !ok {
		return passwordPage{Gone: true}, nil
	}
	path, size, err := picture(e.Address)
	return passwordPage{Secret: e.Secret, Path: path, Size: size, Recovery: e.Recovery}, err
}

// choosePassword takes a password that counts once a code confirms it.
func (c *Console) choosePassword(v *visit, f map[string]string) (string, string, error) {
	if f["new"] != f["again"] {
		return at("account"), "", access.Errorf(access.CodeInvalid, "the two passwords are not the same")
	}
	e, err := c.signIns.ChoosePassword(v.Context(), v.session.actor, f["new"])
	if err != nil {
		return at("account"), "", err
	}
	c.chosen.Put(v.id, e)
	return at("account", "password"), v.words.t("Type the code that your app shows, and the password counts."), nil
}

// confirmPassword makes the chosen password count. A wrong code leaves what was shown.
func (c *Console) confirmPassword(v *visit, f map[string]string) (string, string, error) {
	e, ok := c.chosen.Look(v.id)
	if !ok {
		return at("account"), "", access.Errorf(access.CodeConflict, "no password was chosen within the last five minutes: choose it again")
	}
	added, err := c.signIns.SetPassword(v.Context(), v.session.actor, e, strings.TrimSpace(f["code"]))
	if access.CodeOf(err) == access.CodeInvalid {
		return at("account", "password"), "", err
	}
	c.chosen.Take(v.id)
	if err == nil {
		c.sessions.proven(v.id, added.ID)
	}
	return at("account"), v.words.t("The password is set. You need a code of your app with it."), err
}

// picture draws a text as a QR code: the path of its dark modules, with the quiet zone,
// and how many modules it has on a side.
func picture(text string) (path string, size int, err error) {
	const quiet = 4
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", 0, fmt.Errorf("drawing a QR code: %w", err)
	}
	var b strings.Builder
	for y := range code.Size {
		for x := range code.Size {
			if code.Black(x, y) {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	return b.String(), code.Size + 2*quiet, nil
}
