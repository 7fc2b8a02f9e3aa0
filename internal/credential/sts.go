package credential

import (
	"strings"
	"time"

	"rutile/internal/access"
)

// AWSSTS makes temporary AWS credentials: AssumeRole with a session policy made
// for the call. They cannot be revoked and end after Duration.
type AWSSTS struct {
	Region   string `json:"region"`
	Endpoint string `json:"endpoint,omitempty"` // default https://sts.REGION.amazonaws.com
	TLS      TLS    `json:"tls,omitzero"`
	Role     string `json:"role"` // ARN
	// ExternalID is what a role of another account may ask for.
	ExternalID string `json:"externalId,omitempty"`
	// AccessKey and Secret are the long-lived key that may assume the role; Secret
	// names the sealed half. WebIdentity names a sealed OIDC token instead.
	AccessKey   string `json:"accessKey,omitempty"`
	Secret      string `json:"secret,omitempty"`
	WebIdentity string `json:"webIdentity,omitempty"`
	Duration    Span   `json:"duration,omitempty"` // 15 m (default) to 12 h
	// SourceIdentity is who CloudTrail names: agent (default) or subject.
	SourceIdentity string `json:"sourceIdentity,omitempty"`
	// Tags are session tags: templates of Slots.
	Tags  map[string]string `json:"tags,omitempty"`
	Slots map[string]Slot   `json:"slots,omitempty"`
	Rules []STSRule         `json:"rules"`
}

// STSRule says what a session may do for some tools.
type STSRule struct {
	For
	// Policy is the session policy: JSON with {{slots}} inside its strings. A
	// session may do what both the role and it permit.
	Policy string `json:"policy,omitempty"`
	// WholeRole takes all the role may do instead.
	WholeRole bool `json:"wholeRole,omitempty"`
}

// Bounds by the documentation of AssumeRole.
const (
	stsName      = "AWS STS"
	stsShortest  = 15 * time.Minute
	stsLongest   = 12 * time.Hour
	stsSkew      = 5 * time.Minute // between AWS's clock and ours
	maxSTSPolicy = 2048            // characters
	maxSTSTags   = 50
	stsTagChars  = " _.:/=+@-"
)

// Check refuses what cannot work; the error names the member.
func (a *AWSSTS) Check() error {
	switch {
	case !only(a.Region, "-", 32):
		return access.Errorf(access.CodeInvalid, "region is required, for example eu-central-1")
	case !strings.HasPrefix(a.Role, "arn:") || !strings.Contains(a.Role, ":role/") || !only(a.Role, ":/+=,.@_-", 2048):
		return access.Errorf(access.CodeInvalid, "role must be the ARN of a role, for example arn:aws:iam::123456789012:role/reader")
	case a.ExternalID != "" && !only(a.ExternalID, "_+=,.@:/-", 1224):
		return access.Errorf(access.CodeInvalid, "externalId has a character that cannot be sent")
	case (a.AccessKey == "") != (a.Secret == "") || (a.Secret == "") == (a.WebIdentity == ""):
		return access.Errorf(access.CodeInvalid, "needs either accessKey and secret, the name of its sealed half, or webIdentity, the name of a sealed token")
	case a.AccessKey != "" && !only(a.AccessKey, "_", 128):
		return access.Errorf(access.CodeInvalid, "accessKey must be the id of an access key")
	case a.WebIdentity != "" && (len(a.Tags) > 0 || a.ExternalID != "" || a.SourceIdentity != ""):
		return access.Errorf(access.CodeInvalid, "tags, externalId and sourceIdentity come with the token where webIdentity is used")
	case a.Duration != 0 && (a.life() < stsShortest || a.life() > stsLongest || a.life()%time.Second != 0):
		return access.Errorf(access.CodeInvalid, "duration must be from 15m to 12h")
	case a.SourceIdentity != "" && a.SourceIdentity != "agent" && a.SourceIdentity != "subject":
		return access.Errorf(access.CodeInvalid, "sourceIdentity must be agent or subject")
	case len(a.Rules) == 0:
		return access.Errorf(access.CodeInvalid, "rules is required")
	}
	if a.Endpoint != "" {
		if _, err := checkService(a.Endpoint); err != nil {
			return access.Errorf(access.CodeInvalid, "endpoint %w", err)
		}
	}
	if err := a.checkTags(); err != nil {
		return err
	}
	for name, s := range a.Slots {
		if !only(name, "", 64) {
			return access.Errorf(access.CodeInvalid, "slots: %q must be letters and digits", name)
		}
		if err := s.check(); err != nil {
			return access.Errorf(access.CodeInvalid, "slots.%s %w", name, err)
		}
	}
	for i, r := range a.Rules {
		if err := r.check(a.Slots); err != nil {
			return access.Errorf(access.CodeInvalid, "rules[%d] %w", i, err)
		}
	}
	return nil
}

// life is how long a session is to last.
func (a *AWSSTS) life() time.Duration {
	if a.Duration == 0 {
		return stsShortest
	}
	return time.Duration(a.Duration)
}

func (a *AWSSTS) checkTags() error {
	if len(a.Tags) > maxSTSTags {
		return access.Errorf(access.CodeInvalid, "tags: at most %d are taken", maxSTSTags)
	}
	for key, template := range a.Tags {
		if !only(key, stsTagChars, 128) || strings.HasPrefix(strings.ToLower(key), "aws:") {
			return access.Errorf(access.CodeInvalid, "tags: %q cannot be the key of a tag", key)
		}
		names, err := places(template)
		if err != nil {
			return access.Errorf(access.CodeInvalid, "tags.%s %w", key, err)
		}
		texts := map[string]string{}
		for _, n := range names {
			if _, ok := a.Slots[n]; !ok {
				return access.Errorf(access.CodeInvalid, "tags.%s has a place {{%s}} and no slot of that name", key, n)
			}
			texts[n] = "x"
		}
		if !only(fill(template, texts), stsTagChars, 256) {
			return access.Errorf(access.CodeInvalid, "tags.%s has a character a tag cannot have", key)
		}
	}
	return nil
}

func (r STSRule) check(slots map[string]Slot) error {
	if err := r.For.check(); err != nil {
		return err
	}
	switch {
	case (r.Policy == "") != r.WholeRole:
		return access.Errorf(access.CodeInvalid, "must have exactly one of policy and wholeRole: true")
	case r.WholeRole:
		return nil
	case len(r.Policy) > maxSTSPolicy:
		return access.Errorf(access.CodeInvalid, "policy is longer than %d characters", maxSTSPolicy)
	}
	if err := checkJSONTemplate(r.Policy, slots); err != nil {
		return access.Errorf(access.CodeInvalid, "policy %w", err)
	}
	names, _ := places(r.Policy)
	for _, n := range names {
		if r.Discovery && slots[n].Argument != "" {
			return access.Errorf(access.CodeInvalid, "policy takes an argument where there is no call: give discovery a rule of its own")
		}
	}
	return nil
}

// stsWant is what one session is for.
type stsWant struct {
	policy string
	tags   map[string]string
	source string
	tool   string
}

// want narrows to what n needs.
func (a *AWSSTS) want(n Need) (stsWant, error) {
	for _, r := range a.Rules {
		if !r.meant(n) {
			continue
		}
		w := stsWant{tags: map[string]string{}, tool: n.Tool}
		var err error
		if w.policy, err = a.filled(r.Policy, n); err != nil {
			return w, err
		}
		if len(w.policy) > maxSTSPolicy {
			return w, access.Errorf(access.CodeDenied, "the session policy for this call is longer than %d characters", maxSTSPolicy)
		}
		for key, template := range a.Tags {
			if w.tags[key], err = a.filled(template, n); err != nil {
				return w, err
			}
			if len(w.tags[key]) > 256 {
				return w, access.Errorf(access.CodeDenied, "the session tag %s for this call is longer than 256 characters", key)
			}
		}
		if a.WebIdentity == "" {
			w.source, err = a.sourceIdentity(n)
		}
		return w, err
	}
	return stsWant{}, noRule(n)
}

// filled fills a template for n.
func (a *AWSSTS) filled(template string, n Need) (string, error) {
	names, err := places(template)
	if err != nil {
		return "", err
	}
	texts := map[string]string{}
	for _, name := range names {
		if texts[name], err = a.Slots[name].text(n); err != nil {
			return "", err
		}
	}
	return fill(template, texts), nil
}

// sourceIdentity is who the session is for. It is never made to fit: two people
// would become one.
func (a *AWSSTS) sourceIdentity(n Need) (string, error) {
	who := n.Who.Actor.Agent
	switch {
	case n.Who.Actor.Agent == "" && n.Tool == "":
		who = "rutile" // the gateway itself looks
	case a.SourceIdentity == "subject":
		who = n.Who.Subject.ID
	}
	if len(who) < 2 || !only(who, "_+=,.@-", 64) {
		return "", access.Errorf(access.CodeDenied, "who calls has a name AWS does not take as a source identity: 2 to 64 letters, digits and _+=,.@-")
	}
	return who, nil
}
