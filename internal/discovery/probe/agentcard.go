package probe

import (
	"bytes"
	"fmt"
	"strings"

	"rutile/internal/discovery"
	"rutile/internal/inspect"
	"rutile/internal/rawjson"
)

// maxSaid is how many findings of a card are spelled out.
const maxSaid = 16

// agentCard reads what an agent publishes of itself, nil if b is no card. A client
// shows name, description and skills to its model as it shows tools, so they are
// inspected as definitions are. whole says that b is all of it: a card that cannot be
// read to its end is one that nobody can call clean.
func agentCard(b []byte, whole bool) *Found {
	f := &Found{Verdict: Agent, Confidence: 0.9, Card: digest(b), Why: []string{"GET " + wellKnownAgent + ": an agent card"}}
	v, err := rawjson.Parse(bytes.TrimSpace(b), rawjson.Limits{Bytes: maxBody})
	switch {
	case whole && err == nil:
		if text(v.Get("name")) == "" || v.Get("skills").Kind() != rawjson.Array && v.Get("supportedInterfaces").Kind() != rawjson.Array && v.Get("protocolVersion").Kind() != rawjson.String {
			return nil
		}
		f.Name, f.Version = text(v.Get("name")), text(v.Get("version"))
		f.inspect(v)
	case !cardLike(b):
		return nil
	case whole:
		f.unread("limit.unreadable: it is no JSON that is read one way only, or is nested too deep")
	default:
		f.unread(fmt.Sprintf("limit.size: it has more than %d KiB", maxBody>>10))
	}
	return f
}

// cardLike reports whether what cannot be read claims to be a card.
func cardLike(b []byte) bool {
	has := func(key string) bool { return bytes.Contains(b, []byte(`"`+key+`"`)) }
	return bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) && has("name") && (has("skills") || has("supportedInterfaces") || has("protocolVersion"))
}

func (f *Found) unread(why string) {
	f.Confidence, f.Card = 0.5, ""
	f.CardTier, f.CardSays = inspect.Block.String(), []string{why}
}

// inspect looks through every string and key of a card.
func (f *Found) inspect(card rawjson.Value) {
	engine, err := inspect.New()
	if err != nil {
		f.unread("limit.broken: it could not be inspected")
		return
	}
	r := engine.Definition(card)
	f.CardTier = r.Tier.String()
	for i := range r.Findings {
		x := &r.Findings[i]
		if x.Tier == inspect.Clean && r.Tier != inspect.Clean && len(r.Findings) > maxSaid {
			continue // notes give way to what counts
		}
		if len(f.CardSays) == maxSaid {
			f.CardSays = append(f.CardSays, fmt.Sprintf("and more, %d in all", len(r.Findings)))
			break
		}
		decoded := ""
		if len(x.Decoded) > 0 {
			decoded = ", hidden as " + strings.Join(x.Decoded, " in ")
		}
		f.CardSays = append(f.CardSays, fmt.Sprintf("%s at %s bytes %d-%d%s: %s", x.Rule, inspect.Shown(x.Pointer), x.Start, x.End, decoded, x.Why))
	}
}

// poisoned is the finding about a card that would mislead a model.
func poisoned(f *Found, key string, at discovery.Place) discovery.Finding {
	severity, why := discovery.Medium, "its agent card has text that a person should read before a model does"
	if f.CardTier == inspect.Block.String() {
		severity, why = discovery.High, "its agent card gives a model orders, hides text from people, or cannot be read to its end"
	}
	x := discovery.NewFinding(discovery.PoisonedCard, severity, key, at, why, "read the card at "+f.URL+" as text, and let no client use the agent until its owner has mended it")
	x.Evidence = f.CardSays
	return x
}
