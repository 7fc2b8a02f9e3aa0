package eval_test

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"rutile/internal/inspect"
	"rutile/internal/inspect/eval"
	"rutile/internal/rawjson"
)

// Ordinary results one after the other, as pages of one list, as rows of one table and as
// JSON in a text, call for nothing that none of them calls for alone.
func TestOrdinaryPagesTogetherCallForNothing(t *testing.T) {
	e := engine(t)
	for _, dir := range []string{"testdata", sets(t)} {
		if dir == "" {
			continue
		}
		texts := ordinary(t, e, filepath.Join(dir, "outputs.jsonl"))
		rnd := rand.New(rand.NewPCG(1, 2))
		flagged, pairs := 0, 0
		for range 3 {
			rnd.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
			for form, shape := range map[string]func(text string) any{
				"texts": func(text string) any { return map[string]any{"text": text} },
				"rows":  func(text string) any { return map[string]any{"rows": []any{map[string]any{"id": 1, "cell": text}}} },
				"JSON": func(text string) any {
					b, _ := json.Marshal([]any{map[string]any{"cell": text}})
					return map[string]any{"text": string(b)}
				},
			} {
				var end inspect.End
				for i, text := range texts {
					b, _ := json.Marshal(shape(text))
					v, err := rawjson.Parse(b, rawjson.Limits{Bytes: len(b) + 1})
					if err != nil {
						t.Fatal(err)
					}
					alone := e.Stream().Inspect(v).Tier
					s := e.Stream()
					s.After(end)
					pairs++
					if seen := s.Inspect(v); seen.Tier > alone {
						flagged++
						t.Logf("%s: after %d: %v, alone %v: %s", form, i, seen.Tier, alone, rulesIn(seen))
					}
					end = s.End()
				}
			}
		}
		if flagged*200 > pairs {
			t.Errorf("%s: %d of %d ordinary results are flagged only because of the one before", dir, flagged, pairs)
		}
	}
}

func rulesIn(seen inspect.Seen) (rules []string) {
	for _, p := range seen.Parts {
		for _, f := range p.Findings {
			rules = append(rules, f.Rule)
		}
	}
	return rules
}

// ordinary are the benign results of a set in which nothing is found.
func ordinary(t *testing.T, e *inspect.Engine, path string) (texts []string) {
	t.Helper()
	err := eval.Lines(open(t, path), func(line []byte) error {
		var row struct {
			Label, Content string
			ContentB64     string `json:"content_b64"`
		}
		if err := json.Unmarshal(line, &row); err != nil || row.Label != "benign" {
			return err
		}
		text := []byte(row.Content)
		if row.ContentB64 != "" {
			var err error
			if text, err = base64.StdEncoding.DecodeString(row.ContentB64); err != nil {
				return err
			}
		}
		if e.Text(inspect.Result, text).Tier == inspect.Clean {
			texts = append(texts, string(text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}
