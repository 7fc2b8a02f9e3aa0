package discovery_test

import (
	"fmt"
	"strings"
	"testing"

	"rutile/internal/discovery"
)

func describer() *discovery.Describer {
	return &discovery.Describer{Paths: &discovery.Paths{Home: "/home/mina", Salt: []byte("salt")}, Gateways: []string{"127.0.0.1:7433"}}
}

// However a server is started, its key is what it is (discovery.md 14).
func TestLaunchersArePeeled(t *testing.T) {
	for _, c := range []struct{ line, key, via, version string }{
		{"npx -y @acme/notes@1.2.3", "pkg:npm/%40acme/notes", "npx", "1.2.3"},
		{"npx --package=@acme/notes@1.2.3 -- notes-mcp", "pkg:npm/%40acme/notes#notes-mcp", "npx", "1.2.3"},
		{"npx -p @acme/notes notes", "pkg:npm/%40acme/notes", "npx", ""},
		{"npm exec -- @acme/notes", "pkg:npm/%40acme/notes", "npm exec", ""},
		{"pnpm dlx notes@next", "pkg:npm/notes", "pnpm dlx", "next"},
		{"yarn dlx notes", "pkg:npm/notes", "yarn dlx", ""},
		{"bunx notes", "pkg:npm/notes", "bunx", ""},
		{"/usr/local/bin/node /usr/lib/node_modules/@acme/notes/dist/i.js --x", "pkg:npm/%40acme/notes", "node", ""},
		{"uvx --from git+https://github.com/Acme/Notes.git@v1 notes", "pkg:github/acme/notes#notes", "uvx", "v1"},
		{"uvx notes[fast]==2.0.0", "pkg:pypi/notes", "uvx", "2.0.0"},
		{"uv tool run My_Notes", "pkg:pypi/my-notes", "uv tool run", ""},
		{"uv run --with notes==2.0.0 notes", "pkg:pypi/notes", "uv run", "2.0.0"},
		{"pipx run notes", "pkg:pypi/notes", "pipx run", ""},
		{"python3 -m my_notes.server", "pkg:pypi/my-notes", "python3 -m", ""},
		{"dnx Acme.Notes@1.0.0 --yes", "pkg:nuget/acme.notes", "dnx", "1.0.0"},
		{"docker run -i --rm -e A -v /srv:/srv acme/notes:1.0.0 serve", "pkg:docker/acme/notes", "docker run", "1.0.0"},
		{"docker run -it -eTOKEN=x --name n acme/notes:1.0.0", "pkg:docker/acme/notes", "docker run", "1.0.0"},
		{"podman run --network none docker.io/library/notes", "pkg:docker/notes", "podman run", ""},
		{"docker mcp gateway run", "hub:docker-mcp", "", ""},
		{"thv run fetch", "hub:toolhive:fetch", "", ""},
		{"cmd /c npx -y notes", "pkg:npm/notes", "cmd>npx", ""},
		{"C:\\Windows\\System32\\cmd.exe /d /s /c npx notes", "pkg:npm/notes", "cmd>npx", ""},
		{"env -i A=1 npx notes", "pkg:npm/notes", "env>npx", ""},
		{"wsl.exe -d Ubuntu npx notes", "pkg:npm/notes", "wsl>npx", ""},
		{"sudo -u bot timeout 60 npx notes", "pkg:npm/notes", "sudo>timeout>npx", ""},
		{"op run --env-file=.env -- npx notes", "pkg:npm/notes", "op>npx", ""},
		{"npx -y mcp-remote@0.1.0 https://Notes.Example.com:443/mcp/ --transport sse-only", "https://notes.example.com/mcp", "npx>mcp-remote@0.1.0", ""},
		{"uvx mcp-proxy --transport streamablehttp https://notes.example.com/mcp", "https://notes.example.com/mcp", "uvx>mcp-proxy", ""},
		{"npx supergateway --sse https://notes.example.com/sse", "https://notes.example.com/sse", "npx>supergateway", ""},
		{"rutile connect --data /x notes", "rutile:notes", "rutile connect", ""},
		{"/opt/rutile_1.4.0_linux_amd64 connect notes", "rutile:notes", "rutile connect", ""},
		{"rutile-next.exe connect notes", "rutile:notes", "rutile connect", ""},
		{"docker run --sig-proxy acme/real acme/other", "pkg:docker/acme/real", "docker run", ""},
		{"docker run -ie acme/other acme/real", "pkg:docker/acme/real", "docker run", ""},
		{"docker run -itv /srv:/srv acme/real", "pkg:docker/acme/real", "docker run", ""},
		{"docker run --entrypoint /bin/sh acme/notes -c x", "pkg:docker/acme/notes#/bin/sh", "docker run", ""},
		{"npx --registry https://npm.example.com notes@1.0.0", "pkg:npm/notes?repository_url=npm.example.com", "npx", "1.0.0"},
		{"npx --registry=https://npm.example.com/ notes@1.0.0", "pkg:npm/notes?repository_url=npm.example.com", "npx", "1.0.0"},
		{"npx --registry=not-an-address notes@1.0.0", "pkg:npm/notes?repository_url=elsewhere", "npx", "1.0.0"},
		{"npx --loglevel other notes", "pkg:npm/notes", "npx", ""},
		{"uvx --index-url https://u:p@pypi.example.com/simple notes==1.0.0", "pkg:pypi/notes?repository_url=pypi.example.com", "uvx", "1.0.0"},
		{"uvx --default-index=https://pypi.example.com/simple notes==1.0.0", "pkg:pypi/notes?repository_url=pypi.example.com", "uvx", "1.0.0"},
		{"env -Snpx@real notes", "command:npx@real", "env", ""},
		{"env --split-string=real notes", "command:real", "env", ""},
		{"notes-server --stdio", "command:notes-server", "", ""},
	} {
		words := strings.Fields(c.line)
		got := describer().Describe(discovery.Spec{Command: words[0], Args: words[1:]}).Target
		if got.Key != c.key || strings.Join(got.Launchers, ">") != c.via || got.Version != c.version {
			t.Errorf("%s\n got %s via %q version %q\nwant %s via %q version %q", c.line, got.Key, strings.Join(got.Launchers, ">"), got.Version, c.key, c.via, c.version)
		}
	}
}

// Addresses of one server have one key; what is in their query is not part of it.
func TestAddressesHaveOneKey(t *testing.T) {
	for in, want := range map[string]string{
		"HTTPS://Notes.Example.com:443/mcp/":       "https://notes.example.com/mcp",
		"https://notes.example.com/mcp?key=1":      "https://notes.example.com/mcp",
		"http://notes.example.com:80":              "http://notes.example.com",
		"http://[::1]:3000/mcp":                    "http://[::1]:3000/mcp",
		"https://u:p@notes.example.com/t/{id}/mcp": "https://notes.example.com/t/{}/mcp",
		"https://${HOST}/mcp":                      "https://{}/mcp",
		"http://127.0.0.1:7433/mcp/files":          "rutile:files",
	} {
		if got := describer().Describe(discovery.Spec{URL: in}).Target.Key; got != want {
			t.Errorf("%s has the key %s, want %s", in, got, want)
		}
	}
}

// A secret in an address is one only where it stands there.
func TestTemplatesInAddressesAreNoSecrets(t *testing.T) {
	for in, want := range map[string]discovery.SecretKind{
		"https://a.example.com/mcp?token=${TOKEN}": discovery.SecretReference,
		"https://a.example.com/mcp?token=abc":      discovery.SecretLiteral,
		"https://me:${PW}@a.example.com/mcp":       discovery.SecretReference,
		"https://me:abc@a.example.com/mcp":         discovery.SecretLiteral,
	} {
		got := describer().Describe(discovery.Spec{URL: in}).Secrets
		if len(got) != 1 || got[0].Kind != want {
			t.Errorf("%s: %+v, want one %s", in, got, want)
		}
	}
}

// Names almost like a known one are told; the known ones and others are not.
func TestLookalikesAreTold(t *testing.T) {
	told := func(pkg string) bool {
		for _, f := range discovery.Judge(&discovery.Sighting{Target: discovery.Target{Package: pkg, Pinned: true}}) {
			if f.Rule == discovery.LookalikeName {
				return true
			}
		}
		return false
	}
	for pkg, want := range map[string]bool{
		"pkg:npm/%40modelcontextprotocol/server-filesystem":          false,
		"pkg:npm/%40modelcontextprotocols/server-filesystem":         true,
		"pkg:npm/%40modelcontextprotocol/server-filesystme":          true,
		"pkg:npm/server-filesystem":                                  true,
		"pkg:npm/mcp-rem0te":                                         true,
		"pkg:pypi/mcp-server-gti":                                    true,
		"pkg:pypi/mcp-server-git":                                    false,
		"pkg:npm/notes":                                              false,
		"pkg:npm/%40acme/server-tools":                               false,
		"pkg:docker/github/github-mcp-server?repository_url=ghcr.io": false,
	} {
		if told(pkg) != want {
			t.Errorf("%s: told is %v, want %v", pkg, !want, want)
		}
	}
}

// Arguments keep only what is known to be harmless.
func TestArgumentsKeepOnlyWhatIsHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"--port 3000":                            "--port 3000",
		"--token abc":                            "--token <redacted:secret>",
		"--token $TOKEN":                         "--token $TOKEN",
		"--api-key=abc":                          "--api-key=<redacted:secret>",
		"--verbose read-only":                    "--verbose read-only",
		"hunter22":                               "<redacted:text>",
		"-phunter":                               "-p<redacted:text>",
		"/home/mina/src/x":                       "~/src/x",
		"--root=/home/mina":                      "--root=~",
		"--header Authorization:abc":             "--header Authorization: <redacted:header>",
		"postgres://a:b@db:5432/x?sslmode=off":   "postgres://db:5432/x?sslmode",
		"DATABASE=abc":                           "DATABASE=<redacted:secret>",
		"read,write,hunter22":                    "read,write,<redacted:text>",
		"ghp_0123456789abcdefghij0123456789abcd": "<redacted:secret>",
		"--db-path notes.db":                     "--db-path notes.db",
		"--token:abc":                            "--token:<redacted:secret>",
		"/password:abc":                          "/password:<redacted:secret>",
		"--botToken abc":                         "--botToken <redacted:secret>",
		"-Dpassword=abc":                         "-Dpassword=<redacted:secret>",
		"--passphrase abc":                       "--passphrase <redacted:secret>",
		"--max-tokens 100":                       "--max-tokens 100",
		"--header=X-Api-Key:abc":                 "--header=X-Api-Key: <redacted:header>",
		"X-Api-Key:abc":                          "X-Api-Key: <redacted:header>",
		"-u mina:abc":                            "-u <redacted:secret>",
		"--user mina:12345":                      "--user <redacted:secret>",
		"mina:abc":                               "<redacted:text>",
		"-k abc":                                 "-k <redacted:text>",
		"-p abc":                                 "-p <redacted:text>",
		"-p 3000":                                "-p 3000",
		"//mina:abc@host/x":                      "//<redacted:segment>/x",
		"/mcp?token=abc":                         "/<redacted:segment>",
		"/mcp;sid=abc":                           "/<redacted:segment>",
		"--token $abc":                           "--token <redacted:secret>",
		"$abc":                                   "<redacted:text>",
		"${TOKEN:-abc} ${TOKEN-abc} ${TOKEN}":    "<redacted:text> <redacted:text> ${TOKEN}",
		"${input:my-key} ${env:TOKEN}":           "${input:my-key} ${env:TOKEN}",
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "<redacted:secret>",
		"src/components/notes/index.js":            "src/components/notes/index.js",
	} {
		got := describer().Describe(discovery.Spec{Command: "tool", Args: strings.Fields(in)}).Target.Args
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q is shown as %q, want %q", in, s, want)
		}
	}
}

// A command with its arguments in one text shows none of them.
func TestCommandLinesInOneTextShowNoArgument(t *testing.T) {
	for _, command := range []string{"/opt/notes --token abcabc", "/opt/notes --token abcabc | tee /tmp/x", "/opt/notes TOKEN=abcabc", "C:\\notes.exe /token:abcabc", "./notes; echo abcabc"} {
		d := describer().Describe(discovery.Spec{Command: command, Args: []string{"x"}})
		if shown := fmt.Sprintf("%+v", d); strings.Contains(shown, "abcabc") {
			t.Errorf("%s is shown as %s", command, shown)
		}
	}
}

// What stands as a parameter in a path of an address is not shown.
func TestParametersInPathsOfAddressesAreNotShown(t *testing.T) {
	d := describer().Describe(discovery.Spec{URL: "https://a.example.com/mcp;sid=abcabc/token=abcabc/x"})
	if got := d.Target.URL; got != "https://a.example.com/<redacted:segment>/<redacted:segment>/x" {
		t.Errorf("it is shown as %s", got)
	}
	if len(d.Secrets) != 1 || d.Secrets[0].Name != "path" {
		t.Errorf("secrets: %+v, want one in the path", d.Secrets)
	}
}

// A reference is one only in the way clients write it: a password may begin with a dollar.
func TestPasswordsAreNotTakenForReferences(t *testing.T) {
	for value, want := range map[string]discovery.SecretKind{"$ecretword": discovery.SecretLiteral, "$SECRET": discovery.SecretReference, "${secret}": discovery.SecretReference} {
		if ref := discovery.Secret("PASSWORD", "env", value); ref.Kind != want || want == discovery.SecretLiteral && ref.Ref != "" {
			t.Errorf("%s: %+v, want %s", value, ref, want)
		}
	}
}

// A secret that looks like a path is no folder.
func TestSecretsAreNoScopes(t *testing.T) {
	d := describer().Describe(discovery.Spec{Command: "tool", Args: []string{"--token", "/abcabc", "--secret=/abcabc", "--token:/abcabc", "--root", "/srv"}})
	if got := fmt.Sprint(d.Scopes); got != "[{fs:/srv argument}]" {
		t.Errorf("scopes: %s", got)
	}
}

// What runs before the server may do anything: a script that is read in, or a
// module that an interpreter loads first.
func TestWhatRunsBeforeTheServerIsTold(t *testing.T) {
	for _, spec := range []discovery.Spec{
		{Command: "sh", Args: []string{"-c", "source /tmp/x.sh && npx notes@1.0.0"}},
		{Command: "sh", Args: []string{"-c", ". ./x.sh; exec notes"}},
		{Command: "node", Args: []string{"--require", "/tmp/x.js", "/srv/notes.js"}},
		{Command: "node", Args: []string{"--import=/tmp/x.mjs", "/srv/notes.js"}},
	} {
		if !describer().Describe(spec).Executable {
			t.Errorf("%s %q is not told", spec.Command, spec.Args)
		}
	}
	if describer().Describe(discovery.Spec{Command: "sh", Args: []string{"-c", "cd /srv && npx notes@1.0.0"}}).Executable {
		t.Error("a change of folder is told")
	}
}

// Splitting a line that asks to be split again and again ends.
func TestSplittingEnds(t *testing.T) {
	d := describer().Describe(discovery.Spec{Command: "env", Args: []string{strings.Repeat("-S", 200_000), "notes"}})
	if d.Target.Key == "" || len(d.Target.Launchers) != 0 {
		t.Errorf("it is taken for %+v", d.Target)
	}
}
