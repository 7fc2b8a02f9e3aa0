package inspect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/inspect"
)

// A value deep in a long text is found where it stands, like one in a short text.
func TestValuesInLongTextAreFound(t *testing.T) {
	e := engine(t)
	for _, value := range []string{"anna.keller@mail.lyon.fr", "4539 1488 0343 6467", "+49 30 901820 11", "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"} {
		for _, pad := range []int{0, 1, 3, 40} {
			text := strings.Repeat(prose, pad) + "The contact is " + value + " as before. " + strings.Repeat(prose, pad)
			var got []string
			for _, d := range e.Values([]byte(text)) {
				got = append(got, text[d.Start:d.End])
			}
			if diff := cmp.Diff([]string{value}, got); diff != "" {
				t.Errorf("%d paragraphs round it: %s", pad, diff)
			}
		}
	}
}

func TestPlainTextHasNoValues(t *testing.T) {
	if got := engine(t).Values([]byte(strings.Repeat(prose, 50))); got != nil {
		t.Errorf("found %v", got)
	}
}

// The cost of looking for values where there are none.
func BenchmarkValues(b *testing.B) {
	e := engine(b)
	for _, size := range []int{2 << 10, 1 << 20} {
		text := []byte(strings.Repeat(prose, size/len(prose)+1)[:size])
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				e.Values(text)
			}
		})
	}
}

var _ = inspect.Secret
