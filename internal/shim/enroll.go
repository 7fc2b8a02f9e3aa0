package shim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/identity"
)

const enrollTime = 30 * time.Second

// Enroll makes a key, redeems the code for it at the gateway and keeps it in
// dir. The key is written before the gateway learns of it and takes the place
// of an earlier one only afterwards, so no failure leaves a profile that does
// not work in the place of one that did. ca is PEM, "" trusts the system's.
func Enroll(ctx context.Context, dir, gateway, ca, code string) (Profile, error) {
	agent, err := identity.CodeAgent(code)
	if err != nil {
		return Profile{}, err
	}
	p, err := NewProfile(agent, gateway, ca)
	if err != nil {
		return Profile{}, err
	}
	client, err := p.client()
	if err != nil {
		return Profile{}, err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, enrollTime)
	defer cancel()
	if err := p.known(ctx, client); err != nil {
		return Profile{}, err
	}
	staged, err := p.stage(dir)
	if err != nil {
		return Profile{}, err
	}
	defer os.Remove(staged)
	if err := p.redeem(ctx, client, code); err != nil {
		return Profile{}, err
	}
	if err := os.Rename(staged, filepath.Join(dir, p.Agent+profileEnding)); err != nil {
		return Profile{}, access.Errorf(access.CodeInvalid, "the key is enrolled, but keeping it did not work; remove it with rutile agent unenroll: %w", err)
	}
	return p, nil
}

// known checks that the gateway calls itself what the person called it: tokens
// and assertions name it byte for byte.
func (p Profile) known(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Gateway+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		return err
	}
	var doc struct {
		Issuer string `json:"issuer"`
	}
	status, err := p.fetch(client, req, &doc)
	if why := (*access.Error)(nil); errors.As(err, &why) {
		return err // nothing answers, or not to the end
	}
	if err != nil || status != http.StatusOK {
		return access.Errorf(access.CodeUnavailable, "what answers at %s is no gateway of rutile; give the agents' address of the ready line", p.Gateway)
	}
	if doc.Issuer != p.Gateway {
		return access.Errorf(access.CodeInvalid, "the gateway at %s calls itself %q: enroll with --gateway and that address, if it is the one you mean", p.Gateway, clip(doc.Issuer))
	}
	return nil
}

func (p Profile) redeem(ctx context.Context, client *http.Client, code string) error {
	public, err := p.Public()
	if err != nil {
		return err
	}
	request, err := identity.SignEnrollment(code, p.Gateway, public)
	if err != nil {
		return err
	}
	form := url.Values{"enrollment": {request}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Gateway+identity.EnrollPath, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var out struct {
		Agent       string `json:"agent"`
		Key         string `json:"key"`
		Description string `json:"error_description"`
	}
	status, err := p.fetch(client, req, &out)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK && out.Description != "":
		return access.Errorf(access.CodeDenied, "the gateway did not enroll the key: %s", clip(out.Description))
	case status != http.StatusOK:
		return access.Errorf(access.CodeUnavailable, "the gateway did not enroll the key (status %d); see its log", status)
	case out.Agent != p.Agent || out.Key != identity.KeyID(public):
		return access.Errorf(access.CodeUnavailable, "the gateway answered another enrollment; try again with a new code")
	}
	return nil
}

func (p Profile) fetch(client *http.Client, req *http.Request, out any) (status int, err error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, &access.Error{Code: access.CodeUnavailable, Msg: "the gateway does not answer at " + p.Gateway + " (" + reason(err) + "); check the address and that it runs", Err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer))
	if err != nil {
		return 0, access.Errorf(access.CodeUnavailable, "the gateway's answer broke off: %w", err)
	}
	if err := json.Unmarshal(b, out); err != nil && resp.StatusCode == http.StatusOK {
		return 0, errors.New("what answers is no gateway of rutile")
	}
	return resp.StatusCode, nil
}
