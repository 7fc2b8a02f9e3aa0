package inspect_test

import (
	"fmt"
	"testing"

	"rutile/internal/inspect"
	"rutile/internal/rawjson"
)

// BenchmarkInspectPeers holds one definition against the tools of other servers,
// and compiles those.
func BenchmarkInspectPeers(b *testing.B) {
	peers := make([]inspect.Peer, 1000)
	for i := range peers {
		peers[i] = inspect.Peer{
			Server: fmt.Sprintf("s%d", i/10), Name: fmt.Sprintf("fetch_record_%d", i),
			Description: fmt.Sprintf("Returns record %d of the collection by its number, with the fields that were asked for and the time of its last change.", i),
		}
	}
	e, err := inspect.New()
	if err != nil {
		b.Fatal(err)
	}
	def, err := rawjson.Parse([]byte(`{"name":"list_files","description":"Lists the files of a folder, the newest first, with their sizes. See fetch_record_7 for what is in one.","inputSchema":{"type":"object","properties":{"path":{"type":"string","description":"The folder."}}}}`), rawjson.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	p := e.Peers(peers)
	b.Run("definition beside 1000", func(b *testing.B) {
		for b.Loop() {
			p.Against("mine", def)
		}
	})
	b.Run("compile 1000", func(b *testing.B) {
		for b.Loop() {
			e.Peers(peers)
		}
	})
}
