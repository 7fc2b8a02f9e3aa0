package mcpproxy

import (
	"rutile/internal/gate"
	"rutile/internal/rawjson"
)

// discover answers server/discover: our versions, what the upstream offers and
// the gateway carries, private to this principal.
func (c *call) discover() {
	c.observed(func(d *gate.Dispatch) error {
		ctx, done := c.context()
		defer done()
		t, err := c.in.p.target(d.Server)
		if err != nil {
			return err
		}
		l, pr, release, err := t.acquire(ctx, c.req.Who.Principal(), c.kinds(), d)
		if err != nil {
			return err
		}
		release(false)
		c.in.p.introduce(ctx, t, pr)
		result := []byte(`{"resultType":"complete","supportedVersions":[`)
		for i, v := range served() {
			if i > 0 {
				result = append(result, ',')
			}
			result = rawjson.AppendString(result, v)
		}
		result = append(append(result, `],"capabilities":`...), c.in.p.carried(d.Server.ID, pr, true, unheard(l))...)
		if told := c.in.p.toldBy(ctx, d, pr.instructions); told != nil {
			result = append(append(result, `,"instructions":`...), told...)
		}
		result = append(result, `,"ttlMs":0,"cacheScope":"private"`...)
		if pr.info != nil {
			result = append(append(append(result, `,"_meta":{"`+metaServerInfo+`":`...), pr.info...), '}')
		}
		_ = c.ans.final(200, appendResult(nil, c.ans.id, d.Scrub(append(result, '}')))) // the client may have gone
		return nil
	})
}

// nothingHeard are the promises to tell of changes that need a stream.
var nothingHeard = []string{"listChanged", "subscribe"}

// unheard names the promises of a server to tell of changes that do not reach a
// modern client.
func unheard(l link) []string {
	if f := fanOf(l); f != nil && f.t.shared() {
		return nothingHeard[1:] // its process is everybody's, and says not for whom it speaks
	}
	return nil
}

// carried is the upstream's capabilities as the gateway carries them to a
// client of the given era, without the members unheard: what would not work is
// not advertised, and neither is what nobody approved.
func (p *Proxy) carried(server string, pr *peer, modern bool, unheard []string) []byte {
	drop := []string{"tasks"}
	if modern != pr.modern {
		drop = append(drop, "experimental", "extensions")
		if !modern {
			drop = append(drop, "logging")
		}
	} else if !modern {
		drop = append(drop, "extensions")
	}
	out := []byte{'{'}
	for k, v := range p.declared(server, pr).Members() {
		key, _ := k.Str()
		skip := false
		for _, n := range drop {
			skip = skip || n == key
		}
		if skip {
			continue
		}
		raw := v.Raw()
		if key == "extensions" {
			if raw, _ = p.carriedExtensions(v); raw == nil {
				continue
			}
		}
		if len(unheard) > 0 && v.Kind() == rawjson.Object {
			raw = without(v, unheard)
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, k.Raw()...), ':'), raw...)
	}
	return append(out, '}')
}
