package sink

import (
	"context"

	"rutile/internal/audit"
)

// Encode writes events in a form, with size bytes a batch at most.
func Encode(form string, size int, list []audit.Told) (body []byte, n int, err error) {
	b, err := encoder{"1.2.3", size}.encode(form, list)
	return b.body, b.n, err
}

// WriteFiles writes lines to the file of a sink that is put aside after max bytes.
func WriteFiles(cfg *Config, s Sink, max int64, lines ...string) error {
	f := &fileReceiver{sink: s, cfg: cfg, max: max}
	defer f.close()
	for _, l := range lines {
		if err := f.take(context.Background(), batch{lines: [][]byte{[]byte(l)}, n: 1}); err != nil {
			return err
		}
	}
	return nil
}
