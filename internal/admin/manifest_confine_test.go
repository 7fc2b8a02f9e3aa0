package admin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/registry"
)

const confined = "kind: Server\nid: s\nowner: t\ntransport:\n  stdio:\n    command: x\n"

func TestConfinementIsRead(t *testing.T) {
	for text, want := range map[string]registry.Stdio{
		"":                         {},
		"    confine: off\n":       {Confine: &registry.Confine{Off: true}},
		"    confine: {}\n":        {Confine: &registry.Confine{}},
		"    process: principal\n": {},
		"    process: server\n    startTimeout: 2m\n    idleTimeout: 24h\n":                   {Process: registry.ProcessServer, StartTimeout: 2 * time.Minute, IdleTimeout: 24 * time.Hour},
		"    confine: {read: [/b, /a], exec: [/c], write: [/d], bestEffort: true}\n":          {Confine: &registry.Confine{Read: []string{"/a", "/b"}, Exec: []string{"/c"}, Write: []string{"/d"}, BestEffort: true}},
		"    confine: {network: none, sockets: true}\n":                                       {Confine: &registry.Confine{Network: &registry.Network{}, Sockets: true}},
		"    confine: {network: any}\n":                                                       {Confine: &registry.Confine{Network: &registry.Network{Connect: registry.Ports{Any: true}, Listen: registry.Ports{Any: true}}}},
		"    confine: {network: {connect: [443, 53], listen: none}}\n":                        {Confine: &registry.Confine{Network: &registry.Network{Connect: registry.Ports{List: []int{53, 443}}}}},
		"    confine: {limits: {processes: 8, files: 64, memory: 2GiB, fileSize: 1536MiB}}\n": {Confine: &registry.Confine{Limits: &registry.Limits{Processes: 8, Files: 64, Memory: 2 << 30, FileSize: 1536 << 20}}},
		"    confine: {limits: {processes: unlimited, memory: unlimited}}\n":                  {Confine: &registry.Confine{Limits: &registry.Limits{Processes: -1, Memory: -1}}},
	} {
		o := open(t)
		o.apply(confined + text)
		s, _ := o.Current().View.Server("s")
		want.Command = "x"
		if diff := cmp.Diff(want, *s.Transport.Stdio); diff != "" {
			t.Errorf("%s(-want +got):\n%s", text, diff)
		}
		if plan, err := o.Diff(t.Context(), doc(confined+text)); err != nil || plan.Changes() {
			t.Errorf("%sis different from itself: %+v %v", text, plan, err)
		}
		exported, err := o.Export(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if plan, err := o.Diff(t.Context(), doc(string(exported))); err != nil || plan.Changes() {
			t.Errorf("%scomes back different: %v\n%s", text, err, exported)
		}
	}
}

func TestConfinementIsStrict(t *testing.T) {
	for text, want := range map[string]string{
		"    confine: on\n":                                       "m.yaml:7:14: transport.stdio.confine: must be off, or a mapping",
		"    confine: false\n":                                    "must be off, or a mapping",
		"    confine: [off]\n":                                    "must be a mapping",
		"    confine: {reads: [/a]}\n":                            `do you mean "read"?`,
		"    confine:\n      read: [docs]\n":                      `m.yaml:8:13: transport.stdio.confine.read: "docs" is not an absolute path`,
		"    confine: {read: [~/docs]}\n":                         "~ and variables are not expanded",
		"    confine: {write: [/]}\n":                             "the whole machine cannot be granted",
		"    confine: {write: [/a/../etc]}\n":                     `use "/etc"`,
		"    confine: {write: [/a/]}\n":                           `use "/a"`,
		"    confine: {exec: [/a, /a]}\n":                         `"/a" is there twice`,
		"    confine: {exec: /a}\n":                               "must be a list",
		"    confine: {exec: [\"/a\\u202e\"]}\n":                  "invisible character U+202E",
		"    confine: {bestEffort: maybe}\n":                      "bestEffort: must be true or false",
		"    confine: {sockets: \"true\"}\n":                      "sockets: must be true or false",
		"    confine: {network: some}\n":                          "network: must be none, any, or a mapping",
		"    confine: {network: {connect: [0]}}\n":                "connect[0]: must be a port from 1 to 65535",
		"    confine: {network: {connect: [443, 443]}}\n":         "connect[1]: 443 is there twice",
		"    confine: {network: {connect: [https]}}\n":            "must be a port",
		"    confine: {network: {bind: [1]}}\n":                   "unknown key",
		"    confine: {network: {listen: 80}}\n":                  "listen: must be any, none, or a list",
		"    confine: {limits: {processes: 0}}\n":                 "processes: must be unlimited or a whole number from 1",
		"    confine: {limits: {files: -1}}\n":                    "files: must be unlimited or a whole number from 16",
		"    confine: {limits: {memory: 4GB}}\n":                  "memory: must be unlimited or an amount such as 512MiB",
		"    confine: {limits: {memory: 4096}}\n":                 "an amount such as",
		"    confine: {limits: {memory: 0GiB}}\n":                 "an amount such as",
		"    confine: {limits: {memory: 99999999999999999TiB}}\n": "an amount such as",
		"    confine: {limits: {fileSize: -1GiB}}\n":              "an amount such as",
		"    process: everyone\n":                                 `"everyone" is unknown: use principal, session, server`,
		"    startTimeout: 10\n":                                  "startTimeout: must be a time from 1s to 1h0m0s",
		"    startTimeout: 2h\n":                                  "startTimeout: must be a time",
		"    idleTimeout: 10ms\n":                                 "idleTimeout: must be a time from 1s",
		"    process: server\ncredential: {ref: r, env: TOKEN}\n": "m.yaml:8:13: credential: must not be in a process that everybody shares",
	} {
		o := open(t)
		_, err := o.Apply(t.Context(), ann, doc(confined+text), false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%sgives %v, want %q", text, err, want)
		}
	}
}

// What holds a process less than the default is pointed at before it is applied.
func TestLooseConfinementIsADanger(t *testing.T) {
	o := open(t)
	for text, want := range map[string]string{
		"    confine: off\n": "confine: off", "    confine: {sockets: true}\n": "unix socket", "    process: server\n": "share one process",
	} {
		plan, err := o.Diff(t.Context(), doc(confined+text))
		if err != nil || len(plan.Items) != 1 || !strings.Contains(strings.Join(plan.Items[0].Dangers, "; "), want) {
			t.Errorf("%s: %+v %v", text, plan, err)
		}
	}
	if plan, err := o.Diff(t.Context(), doc(confined)); err != nil || len(plan.Items[0].Dangers) != 0 {
		t.Errorf("the default: %+v %v", plan, err)
	}
	// Switching it off is a change of its own, with both values in it.
	o.apply(confined)
	plan, err := o.Diff(t.Context(), doc(confined+"    confine: off\n"))
	if err != nil || len(plan.Items[0].Fields) != 1 || plan.Items[0].Fields[0].Field != "transport.stdio.confine.off" || string(plan.Items[0].Fields[0].After) != "true" {
		t.Errorf("switching off: %+v %v", plan, err)
	}
}
