package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rutile/internal/audit"
	"rutile/internal/store"
)

// A machine that fails may lose pages of index transactions that nobody waited
// for, in any order. What is left is a whole database whose rows are those its
// watermark speaks of, so that the log completes it; and what another
// transaction waited for, it has.
func TestIndexAfterPowerLoss(t *testing.T) {
	const batches, size = 12, 40
	dir := t.TempDir()
	s := open(t, store.Config{Dir: dir})
	wal := filepath.Join(dir, "rutile.db-wal")
	var durable int // bytes of the log of writes that a transaction waited for
	for i := range batches {
		rows := rowsUpTo((uint64(i) + 1) * size)[i*size:]
		for k := range rows {
			rows[k].Policies, rows[k].Text = []string{fmt.Sprint("p", i)}, fmt.Sprint("word", i)
		}
		putRows(t, s, rows, uint64(i+1)*size)
		if i == batches/2 {
			if err := s.PutHead(t.Context(), origin, audit.Head{Size: 7}); err != nil {
				t.Fatal(err)
			}
			durable = len(must[[]byte](t)(os.ReadFile(wal)))
		}
	}
	database, written := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "rutile.db"))), must[[]byte](t)(os.ReadFile(wal))
	if len(written) == durable {
		t.Fatal("nothing was written after the head")
	}
	const frame = 24 + 4096
	r := rand.New(rand.NewPCG(1, 2))
	for range 25 {
		left := slices.Clone(written)
		for off := durable; off < len(left); off += frame {
			if r.IntN(4) == 0 {
				clear(left[off:min(off+frame, len(left))])
			}
		}
		left = left[:durable+r.IntN(len(left)-durable+1)]
		after := t.TempDir()
		for name, b := range map[string][]byte{"rutile.db": database, "rutile.db-wal": left} {
			if err := os.WriteFile(filepath.Join(after, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		checkIndex(t, store.Config{Dir: after}, (batches/2+1)*size)
	}
}

// checkIndex opens a store and compares its rows with its watermark.
func checkIndex(t *testing.T, cfg store.Config, least uint64) {
	t.Helper()
	s := must[*store.Store](t)(store.Open(t.Context(), cfg))
	defer s.Close()
	var sound string
	if err := s.Writer().QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&sound); err != nil || sound != "ok" {
		t.Errorf("the database is damaged: %s %v", sound, err)
	}
	if h := must[audit.Head](t)(s.LatestHead(t.Context(), origin)); h.Size != 7 {
		t.Errorf("the head that was waited for is lost: %+v", h)
	}
	mark := must[uint64](t)(s.Watermark(t.Context(), origin))
	if mark < least || mark%40 != 0 {
		t.Errorf("the watermark is %d, of at least %d", mark, least)
	}
	if got := len(search(t, s, audit.Query{Limit: 1000})); uint64(got) != mark {
		t.Errorf("%d rows, and a watermark of %d", got, mark)
	}
	last := mark/40 - 1
	if got := len(search(t, s, audit.Query{Policy: fmt.Sprint("p", last), Text: fmt.Sprint("word", last)})); got != 40 {
		t.Errorf("%d rows of the last batch are found by their policy and text", got)
	}
}

// A database that fails while the gateway runs may come back without the last index
// transactions. Nothing is put after the gap: the rows are missing no longer than
// until they are asked for again from where the watermark stands.
func TestIndexLostUnderTheGateway(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		rows := rowsUpTo(6)
		for i := range rows {
			rows[i].Policies, rows[i].Text = []string{fmt.Sprint("p", i)}, fmt.Sprint("word", i)
		}
		putRows(t, s, rows[:2], 2)
		putRows(t, s, rows[2:4], 4)
		for _, q := range []string{`DELETE FROM evidence WHERE idx >= 2`, `DELETE FROM evidence_rules WHERE policy IN ('p2', 'p3')`,
			`DELETE FROM evidence_texts WHERE words IN ('word2', 'word3')`, `UPDATE evidence_marks SET size = 2`} {
			if _, err := s.Writer().ExecContext(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.PutRows(t.Context(), origin, rows[4:], 6); !errors.Is(err, audit.ErrRowsLost) {
			t.Errorf("rows were put after a gap: %v", err)
		}
		if mark := must[uint64](t)(s.Watermark(t.Context(), origin)); mark != 2 {
			t.Fatalf("the watermark is %d, want 2", mark)
		}
		putRows(t, s, rows[2:], 6)
		for i := range rows {
			if got := search(t, s, audit.Query{Policy: fmt.Sprint("p", i), Text: fmt.Sprint("word", i)}); len(got) != 1 {
				t.Errorf("row %d is found %d times by its policy and text", i, len(got))
			}
		}
	})
}
