package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// words are the texts of one language. English is what the pages are written in: a
// text is its own key, but for words that mean several things, which have a key that
// says which. One that has no translation is shown as it is.
type words struct {
	lang  string
	texts map[string]string
}

// languages returns the tables the console is built with.
func languages() (map[string]words, error) {
	out := map[string]words{}
	for _, lang := range []string{"en", "ko"} {
		raw, err := files.ReadFile(lang + ".json")
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		w := words{lang: lang}
		if err := json.Unmarshal(raw, &w.texts); err != nil {
			return nil, fmt.Errorf("console: %s.json: %w", lang, err)
		}
		out[lang] = w
	}
	return out, nil
}

// t returns a text with what belongs into it.
func (w words) t(text string, args ...any) string {
	if s, ok := w.texts[text]; ok {
		text = s
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// n returns the text for one or for many.
func (w words) n(count int, one, many string) string {
	if count == 1 {
		return w.t(one)
	}
	return w.t(many, count)
}

const langCookie = "rutile-language"

// wordsOf returns the language somebody chose, or the first their browser asks for
// that there is.
func (c *Console) wordsOf(r *http.Request) words {
	if k, err := r.Cookie(langCookie); err == nil {
		if w, ok := c.langs[k.Value]; ok {
			return w
		}
	}
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		tag, _, _ = strings.Cut(tag, "-")
		if w, ok := c.langs[strings.ToLower(tag)]; ok {
			return w
		}
	}
	return c.langs["en"]
}

// language keeps the choice of a language and goes back to the page it came from.
func (c *Console) language(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r, "lang", "back")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if _, ok := c.langs[f["lang"]]; ok {
		http.SetCookie(w, &http.Cookie{
			Name: langCookie, Value: f["lang"], Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.secure(r),
		})
	}
	to, ok := ownPlace(f["back"])
	if rest, below := strings.CutPrefix(f["back"], Path); !ok && !(below && approvalPlace(rest)) {
		to = Home
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
