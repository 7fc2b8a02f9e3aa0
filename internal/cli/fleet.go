package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/discovery/inventory"
)

func (a *app) inventoryEnroll() *cobra.Command {
	in := api.InviteDevice{}
	var ttl time.Duration
	c := a.command("enroll NAME", "Print a token that lets one machine report what it finds", "rutile inventory enroll laptop-7 > token", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		in.Label, in.Seconds = args[0], int(ttl/time.Second)
		got, err := client.InviteDevice(ctx, in)
		if err != nil {
			return err
		}
		a.say("on the machine, until %s: rutile discover --report %s --token FILE", when(got.Device.Expires), got.Gateway)
		return a.print(got, func(w io.Writer) { fmt.Fprintln(w, got.Token) })
	})
	c.Long = `Print a token that lets one machine report what it finds. It counts once: the
machine makes a key of its own with it and signs what it reports with that.

What a machine reports names neither itself nor its users: both are pseudonyms.
With --identifiable it says what it is called.`
	c.Flags().BoolVar(&in.Named, "identifiable", false, "let the machine say what it is called")
	c.Flags().DurationVar(&ttl, "ttl", time.Hour, "`how long` the token counts, up to 168h")
	return c
}

func (a *app) inventoryDevices() *cobra.Command {
	var o api.ListOptions
	c := a.command("devices", "List the machines that may report", "rutile inventory devices", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Devices(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			t := a.table("DEVICE", "NAME", "STATE", "HOST", "IDENTIFIABLE", "BY", "ENROLLED", "TOKEN EXPIRES")
			for i := range page.Items {
				d := &page.Items[i]
				t.add(d.ID, d.Label, string(d.State), d.Host, fmt.Sprint(d.Named), d.By, when(d.Enrolled), when(d.Expires))
			}
			t.write(w)
		})
	})
	paging(c, &o)
	return c
}

func (a *app) inventoryRevoke() *cobra.Command {
	var why string
	c := a.command("revoke DEVICE", "End what a machine may report", "rutile inventory revoke laptop-7 --why lost", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		d, err := client.RevokeDevice(ctx, args[0], why)
		if err != nil {
			return err
		}
		return a.print(d, func(w io.Writer) {
			fmt.Fprintf(w, "%s (%s) is %s; what it saw counts as gone\n", d.ID, cell(d.Label), d.State)
		})
	})
	c.Flags().StringVar(&why, "why", "", "`reason`, kept in the evidence")
	return c
}

// reporting is where a run is to be reported besides the gateway here.
type reporting struct {
	url, token string
	show       bool
}

func (r *reporting) check() error {
	if r.url == "" && (r.token != "" || r.show) {
		return access.Errorf(access.CodeUsage, "--token and --print need --report: say which gateway to report to")
	}
	return nil
}

// deviceFile keeps what this machine is at the gateway it reports to: a secret.
const deviceFile = "discovery-device.json"

// reported sends what a run saw to the gateway it is to be reported to, or shows
// the bytes that it would send.
func (a *app) reported(ctx context.Context, r *reporting, data string, b inventory.Batch) error {
	id, err := a.device(ctx, r, data)
	if err != nil {
		return err
	}
	if id.Named {
		if b.Name, err = os.Hostname(); err != nil {
			return access.Errorf(access.CodeUnavailable, "the name of this machine is not known: %w", err)
		}
	}
	raw, signature, err := id.Sign(b, a.now())
	if err != nil {
		return err
	}
	if r.show {
		_, _ = a.out.Write(raw) // it keeps the error
		return nil
	}
	// The sequence is kept first: one that was used and forgotten would be refused.
	if err := writeDevice(data, &id); err != nil {
		return err
	}
	res, err := a.sent(ctx, func(ctx context.Context) (inventory.Result, error) {
		return api.SendBatch(ctx, id.Gateway, id.Device, signature, raw)
	})
	if err != nil {
		return err
	}
	a.say("reported to %s as %s: %d new, %d changed, %d as before, %d gone", id.Gateway, res.Host, res.Sightings, res.Changed, res.Seen, res.Gone)
	return nil
}

// sendTime bounds how long a gateway that does not answer is tried again.
const sendTime = 30 * time.Second

// sent sends a batch until it is answered. It may have been taken before the answer
// was lost: the same bytes change nothing twice. An interrupted run tries twice.
func (a *app) sent(ctx context.Context, send func(context.Context) (inventory.Result, error)) (inventory.Result, error) {
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	end, said := a.now().Add(sendTime), false
	for pause := 250 * time.Millisecond; ; pause *= 2 {
		res, err := send(bound)
		if access.CodeOf(err) != access.CodeUnavailable || a.now().Add(pause).After(end) {
			return res, err
		}
		if !said {
			a.say("the gateway does not answer; trying again for %s", sendTime)
			said = true
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return send(bound)
		}
	}
}

// device is what this machine is at a gateway: enrolled earlier, or now with a
// token.
func (a *app) device(ctx context.Context, r *reporting, data string) (inventory.Identity, error) {
	gateway := strings.TrimSuffix(r.url, "/")
	raw, err := os.ReadFile(filepath.Join(data, deviceFile))
	switch {
	case err == nil:
		var id inventory.Identity
		if json.Unmarshal(raw, &id) != nil {
			return id, access.Errorf(access.CodeInvalid, "%s cannot be read: remove it and enrol this machine anew", filepath.Join(data, deviceFile))
		}
		if id.Gateway == gateway && r.token == "" {
			return id, nil
		}
		if r.token == "" {
			return id, access.Errorf(access.CodeInvalid, "this machine reports to %s: enrol it at %s with --token FILE to report there instead", id.Gateway, gateway)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return inventory.Identity{}, access.Errorf(access.CodeInvalid, "%s cannot be read: %w", filepath.Join(data, deviceFile), err)
	case r.token == "":
		return inventory.Identity{}, access.Errorf(access.CodeUnauthenticated, "this machine is not enrolled at %s: ask its operator for a token (rutile inventory enroll) and give it with --token FILE", gateway)
	}
	if r.show {
		return inventory.Identity{}, access.Errorf(access.CodeUsage, "--print shows what an enrolled machine would send: enrol it first, without --print")
	}
	var token []byte
	if r.token == "-" {
		token, err = io.ReadAll(io.LimitReader(a.in, 4096))
	} else {
		token, err = os.ReadFile(r.token)
	}
	if err != nil {
		return inventory.Identity{}, access.Errorf(access.CodeUsage, "--token: %w", err)
	}
	id, request, err := inventory.Enrol(string(bytes.TrimSpace(token)), gateway, a.now())
	if err != nil {
		return inventory.Identity{}, err
	}
	d, err := api.Enrol(ctx, gateway, request)
	if err != nil {
		return inventory.Identity{}, err
	}
	id.Named = d.Named
	return id, writeDevice(data, &id)
}

// writeDevice replaces the file in one step, for this user alone.
func writeDevice(data string, id *inventory.Identity) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(data, ".device-*") // of mode 0600
	if err != nil {
		return access.Errorf(access.CodeInvalid, "what this machine is cannot be kept: %w", err)
	}
	_, err = tmp.Write(raw)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(data, deviceFile))
	}
	if err != nil {
		os.Remove(tmp.Name())
		return access.Errorf(access.CodeInvalid, "what this machine is cannot be kept: %w", err)
	}
	return nil
}
