package daemon

import (
	"time"

	"rutile/internal/admin"
	"rutile/internal/signin"
)

// buildSignIns makes the ways to sign in to the console besides tokens and links.
// Where there can be no passkeys it says why to whoever asks for one.
func (d *Daemon) buildSignIns() error {
	var keys *signin.Passkeys
	origin, none := signin.Origin(d.OperatorsURL, d.localOperators())
	why := ""
	if none != nil {
		why = none.Error()
	} else {
		var err error
		if keys, err = signin.NewPasskeys(origin, d.store, d.vault, time.Now); err != nil {
			return err
		}
	}
	words, err := signin.NewPasswords(d.store, d.vault, time.Now)
	if err != nil {
		return err
	}
	d.SignIns, err = admin.NewSignIns(d.Admin, d.store, keys, why, words, d.Findings)
	return err
}
