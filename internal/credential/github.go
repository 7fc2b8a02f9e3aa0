package credential

import (
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// GitHubApp makes installation tokens of a GitHub App, each for the repositories
// and permissions one call needs, and deletes them after it.
type GitHubApp struct {
	URL          string       `json:"url,omitempty"` // of the REST API, default https://api.github.com
	TLS          TLS          `json:"tls,omitzero"`
	App          string       `json:"app"`          // client id or app id
	Installation int64        `json:"installation"` // id of the installation
	Owner        string       `json:"owner"`        // whose repositories the installation is for
	Key          string       `json:"key"`          // sealed credential: the app's private key in PEM
	Rules        []GitHubRule `json:"rules"`
}

// GitHubRule says what a token may do for some tools.
type GitHubRule struct {
	For
	// Permissions of the token, for example {contents: read}.
	Permissions map[string]string `json:"permissions"`
	// Exactly one of the following says for which repositories.
	Argument     string   `json:"argument,omitempty"`     // pointer to name or owner/name in the arguments
	Repositories []string `json:"repositories,omitempty"` // names
	All          bool     `json:"all,omitempty"`          // whatever the installation has
	// OwnerArgument points at the owner where it is an argument of its own.
	OwnerArgument string `json:"ownerArgument,omitempty"`
}

const (
	githubName = "the GitHub API"
	githubURL  = "https://api.github.com"
	githubJSON = "application/vnd.github+json"
	githubLife = time.Hour       // of a token, by its documentation
	githubSkew = 5 * time.Minute // between GitHub's clock and ours
	githubJWT  = 5 * time.Minute // of what proves who the app is; at most 10 are taken
)

// Check refuses what cannot work; the error names the member.
func (g *GitHubApp) Check() error {
	if _, err := checkService(or(g.URL, githubURL)); err != nil {
		return access.Errorf(access.CodeInvalid, "url %w", err)
	}
	switch {
	case !only(g.App, ".", 64):
		return access.Errorf(access.CodeInvalid, "app must be the client id or the app id of the GitHub App")
	case g.Installation <= 0:
		return access.Errorf(access.CodeInvalid, "installation must be the number of the installation")
	case !githubOwner(g.Owner):
		return access.Errorf(access.CodeInvalid, "owner must be the user or organization the app is installed for")
	case g.Key == "":
		return access.Errorf(access.CodeInvalid, "key is required: the name of the sealed private key")
	case len(g.Rules) == 0:
		return access.Errorf(access.CodeInvalid, "rules is required")
	}
	for i, r := range g.Rules {
		if err := r.check(); err != nil {
			return access.Errorf(access.CodeInvalid, "rules[%d] %w", i, err)
		}
	}
	return nil
}

func (r GitHubRule) check() error {
	if err := r.For.check(); err != nil {
		return err
	}
	n := 0
	for _, set := range []bool{r.Argument != "", len(r.Repositories) > 0, r.All} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return access.Errorf(access.CodeInvalid, "must have exactly one of argument, repositories and all: true")
	case r.OwnerArgument != "" && r.Argument == "":
		return access.Errorf(access.CodeInvalid, "ownerArgument belongs to argument")
	case r.Argument != "" && r.Discovery:
		return access.Errorf(access.CodeInvalid, "cannot take an argument where there is no call: use repositories, or a rule of its own for discovery")
	case len(r.Permissions) == 0:
		return access.Errorf(access.CodeInvalid, "permissions is required: without it a token has all the installation has")
	case len(r.Repositories) > 500:
		return access.Errorf(access.CodeInvalid, "a token is for at most 500 repositories")
	}
	for _, p := range []string{r.Argument, r.OwnerArgument} {
		if p == "" {
			continue
		}
		if err := checkPointer(p); err != nil {
			return err
		}
	}
	for i, name := range r.Repositories {
		if slices.ContainsFunc(r.Repositories[:i], func(o string) bool { return strings.EqualFold(o, name) }) {
			return access.Errorf(access.CodeInvalid, "repositories names %q twice", name)
		}
		if !githubRepo(name) {
			return access.Errorf(access.CodeInvalid, "repositories: %q is not the name of a repository (without its owner)", name)
		}
	}
	for name, level := range r.Permissions {
		if !only(name, "_", 64) || level != "read" && level != "write" && level != "admin" {
			return access.Errorf(access.CodeInvalid, "permissions: %q: %q is not a permission of read, write or admin", name, level)
		}
	}
	return nil
}

// githubOwner and githubRepo report whether s can be such a name.
func githubOwner(s string) bool { return only(s, "-_", 39) && s[0] != '-' && s[len(s)-1] != '-' }

func githubRepo(s string) bool {
	return only(s, "-_.", 100) && s != "." && s != ".." && !strings.HasSuffix(strings.ToLower(s), ".git")
}

// githubWant is what one token is for.
type githubWant struct {
	all          bool
	repositories []string
	permissions  map[string]string
}

// want narrows to what n needs.
func (g *GitHubApp) want(n Need) (githubWant, error) {
	for _, r := range g.Rules {
		if !r.meant(n) {
			continue
		}
		w := githubWant{all: r.All, repositories: r.Repositories, permissions: r.Permissions}
		if r.Argument == "" {
			return w, nil
		}
		name, err := g.repository(n, r)
		w.repositories = []string{name}
		return w, err
	}
	return githubWant{}, noRule(n)
}

// repository returns the name the arguments of n hold, of a repository of the
// installation's owner.
func (g *GitHubApp) repository(n Need, r GitHubRule) (string, error) {
	name, err := textAt(n.Arguments, r.Argument)
	if err != nil {
		return "", err
	}
	if owner, rest, ok := strings.Cut(name, "/"); ok {
		if name = rest; !strings.EqualFold(owner, g.Owner) {
			return "", g.stranger()
		}
	}
	if r.OwnerArgument != "" {
		owner, err := textAt(n.Arguments, r.OwnerArgument)
		if err != nil {
			return "", err
		}
		if !strings.EqualFold(owner, g.Owner) {
			return "", g.stranger()
		}
	}
	if !githubRepo(name) {
		return "", access.Errorf(access.CodeDenied, "the argument %s is not the name of a repository, and the credential is made for one", r.Argument)
	}
	return name, nil
}

func (g *GitHubApp) stranger() error {
	return access.Errorf(access.CodeDenied, "the credential is for repositories of %s only", g.Owner)
}
