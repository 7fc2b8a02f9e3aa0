package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"rutile/internal/access"
)

// stsMints mints by sources of AWS STS.
type stsMints struct{ *Issuers }

// ReuseKey says what a session is narrowed to: a call that would be given the
// same is given this one, as it cannot be revoked anyway.
func (stsMints) ReuseKey(n Need) string {
	w, err := n.Source.AWSSTS.want(n)
	if err != nil {
		return "" // Mint says why
	}
	b, err := json.Marshal([]any{w.policy, w.tags, w.source})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// stsTransport is the service as the SDK wants it.
type stsTransport struct{ at *service }

// Do sends a request of the SDK, which must be for the service.
func (t stsTransport) Do(r *http.Request) (*http.Response, error) {
	r.Header.Del("X-Amzn-Trace-Id") // it comes from the environment
	resp, err := t.at.do(r)
	if err != nil {
		return nil, err
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode/100 == 2 && (err != nil || kind != "text/xml" && kind != "application/xml") {
		resp.Body.Close()
		return nil, access.Errorf(access.CodeUpstream, "%s answered with another content type than text/xml", stsName)
	}
	return resp, nil
}

// Mint assumes the role for what n needs and no more.
func (i stsMints) Mint(ctx context.Context, n Need) (Minted, error) {
	a := n.Source.AWSSTS
	w, err := a.want(n)
	if err != nil {
		return Minted{}, err
	}
	at, err := i.at(stsName, or(a.Endpoint, "https://sts."+a.Region+".amazonaws.com"), a.TLS)
	if err != nil {
		return Minted{}, err
	}
	life := a.life()
	var got *types.Credentials
	var user *types.AssumedRoleUser
	err = i.seed(ctx, at, or(a.Secret, a.WebIdentity), n, func(seed []byte) (err error) {
		if !headerText(string(seed)) {
			return access.Errorf(access.CodeInvalid, "credential %q holds a control character: set it again without", or(a.Secret, a.WebIdentity))
		}
		got, user, err = i.assume(ctx, at, a, w, n, life, string(seed))
		return err
	})
	if err != nil {
		return Minted{}, stsError(err)
	}
	return stsMinted(a, w, n, got, user, i.now().Add(life+stsSkew))
}

// assume asks once: a second session would not be known of.
func (i stsMints) assume(ctx context.Context, at *service, a *AWSSTS, w stsWant, n Need, life time.Duration, seed string) (*types.Credentials, *types.AssumedRoleUser, error) {
	o := sts.Options{
		Region: a.Region, BaseEndpoint: aws.String(at.base.String()), HTTPClient: stsTransport{at}, Retryer: aws.NopRetryer{},
		Credentials: aws.AnonymousCredentials{},
	}
	if a.Secret != "" {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: a.AccessKey, SecretAccessKey: seed}, nil
		})
	}
	client := sts.New(o)
	var policy *string
	if w.policy != "" {
		policy = &w.policy
	}
	seconds := aws.Int32(int32(life / time.Second))
	if a.WebIdentity != "" {
		out, err := client.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: &a.Role, RoleSessionName: &n.Decision, WebIdentityToken: &seed, DurationSeconds: seconds, Policy: policy,
		})
		if err != nil {
			return nil, nil, err
		}
		return out.Credentials, out.AssumedRoleUser, nil
	}
	in := &sts.AssumeRoleInput{RoleArn: &a.Role, RoleSessionName: &n.Decision, DurationSeconds: seconds, Policy: policy, SourceIdentity: &w.source}
	if a.ExternalID != "" {
		in.ExternalId = &a.ExternalID
	}
	for _, key := range sortedKeys(w.tags) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(w.tags[key])})
	}
	out, err := client.AssumeRole(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	if aws.ToString(out.SourceIdentity) != w.source {
		return nil, nil, access.Errorf(access.CodeUpstream, "%s made a session for another source identity than was asked for", stsName)
	}
	return out.Credentials, out.AssumedRoleUser, nil
}

// stsMinted checks an answer and takes what it holds.
func stsMinted(a *AWSSTS, w stsWant, n Need, c *types.Credentials, user *types.AssumedRoleUser, latest time.Time) (Minted, error) {
	if c == nil || user == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" || aws.ToString(c.SessionToken) == "" || c.Expiration == nil {
		return Minted{}, access.Errorf(access.CodeUpstream, "%s answered without credentials", stsName)
	}
	for _, v := range []*string{c.AccessKeyId, c.SecretAccessKey, c.SessionToken} {
		if !headerText(*v) {
			return Minted{}, access.Errorf(access.CodeUpstream, "%s answered with credentials that hold control characters", stsName)
		}
	}
	if c.Expiration.After(latest) {
		return Minted{}, access.Errorf(access.CodeUpstream, "%s made a session that lasts longer than was asked for", stsName)
	}
	if !strings.HasSuffix(aws.ToString(user.Arn), "/"+n.Decision) {
		return Minted{}, access.Errorf(access.CodeUpstream, "%s made another session than was asked for", stsName)
	}
	what := "all the role may do"
	if w.policy != "" {
		sum := sha256.Sum256([]byte(w.policy))
		what = "a session policy of SHA-256 " + hex.EncodeToString(sum[:])
	}
	if w.source != "" {
		what += " for " + w.source
	}
	return Minted{
		Values: map[string][]byte{
			"secret": []byte(*c.SecretAccessKey), "session_token": []byte(*c.SessionToken),
		},
		Plain:   map[string]string{"access_key_id": *c.AccessKeyId},
		Version: *c.AccessKeyId, Expires: *c.Expiration, Narrowed: fmt.Sprintf("%s with %s", a.Role, what),
	}, nil
}

// stsError says what went wrong without the words of the service, which may
// repeat what was sent.
func stsError(err error) error {
	var ours *access.Error
	var api smithy.APIError
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &api):
		code := api.ErrorCode()
		if !only(code, ".", 64) {
			code = "unknown"
		}
		switch {
		case strings.HasPrefix(code, "Throttl"), code == "RequestLimitExceeded", api.ErrorFault() == smithy.FaultServer:
			return access.Errorf(access.CodeUnavailable, "%s has no time to make a session (%s): try again", stsName, code)
		case code == "PackedPolicyTooLarge":
			return access.Errorf(access.CodeDenied, "%s finds the session policy and tags for this call too large", stsName)
		}
		return access.Errorf(access.CodeUpstream, "%s refused to make a session (%s): look at the role's trust policy and at the gateway's own key", stsName, code)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &access.Error{Code: access.CodeUpstream, Msg: stsName + " gave an answer that cannot be read", Err: err}
}
