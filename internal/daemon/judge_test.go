package daemon_test

import (
	"strings"
	"testing"

	"rutile/internal/daemon"
)

// A judge is off unless it has an address, and a configuration that would send texts
// in clear, to nobody knows which model, or does nothing, is refused.
func TestJudgeIsConfiguredStrictly(t *testing.T) {
	const whole = "url: https://judge.example.com/v1, model: m-1"
	for text, want := range map[string]string{
		whole: "",
		whole + ", about: [definitions, review, results], threshold: 95, lower: true, timeout: 5s, credential: k": "",
		"url: \"http://127.0.0.1:9/v1\", model: m-1":                                                              "",
		"model: m-1": "has no url",
		"url: http://judge.example.com/v1, model: m-1":       "in clear",
		"url: https://user:pw@judge.example.com, model: m-1": "without a user",
		"url: https://judge.example.com/v1":                  "must name the version",
		whole + ", about: [prompts]":                         "prompts",
		whole + ", threshold: 49":                            "between 50 and 100",
		whole + ", timeout: 1h":                              "between 1s and 2m",
		whole + ", lowers: true":                             "lowers",
	} {
		_, err := daemon.ParseConfig([]byte("inspection:\n  judge: {"+text+"}\n"), "")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
