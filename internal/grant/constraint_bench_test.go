package grant_test

import (
	"testing"

	"rutile/internal/grant"
)

func BenchmarkMatch(b *testing.B) {
	args := value(b, `{"owner":"acme","repo":"acme/control-plane","amount":1250.50,"path":"/srv/docs/a/b.txt","url":"https://api.example.com/v1/x",`+
		`"labels":["bug","area/config"],"query":"SELECT a, count(*) FROM t WHERE b = 'x' GROUP BY a","version":"v12.3","ip":"10.1.2.3","draft":false}`)
	for _, bench := range []struct{ name, src string }{
		{"eq", `{"at":"/owner","eq":"acme"}`}, {"in", `{"at":"/owner","in":["x","y","acme"]}`}, {"prefix", `{"at":"/repo","prefix":"acme/"}`}, {"glob", `{"at":"/repo","glob":"acme/*-plane"}`},
		{"range", `{"at":"/amount","range":[0,5000]}`}, {"maxLen", `{"at":"/repo","maxLen":100}`}, {"subset", `{"at":"/labels","subset":["bug","area/config"]}`},
		{"regex", `{"at":"/version","regex":"v[0-9]+\\.[0-9]+"}`}, {"cidr", `{"at":"/ip","cidr":"10.0.0.0/8"}`}, {"hostIn", `{"at":"/url","hostIn":["*.example.com"]}`},
		{"sqlClass", `{"at":"/query","sqlClass":"read"}`}, {"pathUnder", `{"at":"/path","pathUnder":"/srv/docs"}`},
		{"jsonSchema", `{"at":"/labels","jsonSchema":{"type":"array","items":{"type":"string"}}}`}, {"argsDigest", `{"argsDigest":"` + grant.ArgsDigest(args) + `"}`},
	} {
		cs := parse(b, "["+bench.src+"]")
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := cs.Match(args); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
