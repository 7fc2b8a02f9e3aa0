package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// head is what a checkpoint says.
type head struct {
	origin string
	size   uint64
	root   tlog.Hash
}

// text is the C2SP tlog-checkpoint body.
func (h head) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", h.origin, h.size, base64.StdEncoding.EncodeToString(h.root[:]))
}

// parseCheckpointText reads a checkpoint body without extension lines.
func parseCheckpointText(text string) (head, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] == "" {
		return head{}, errors.New("the checkpoint has not the form of one")
	}
	size, err := strconv.ParseUint(lines[1], 10, 62)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return head{}, errors.New("the checkpoint's size is not a number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return head{}, errors.New("the checkpoint's root is not a hash")
	}
	return head{origin: lines[0], size: size, root: tlog.Hash(root)}, nil
}

// openCheckpoint verifies a signed checkpoint: one of the verifiers must have
// signed it under the name that is its origin.
func openCheckpoint(signed []byte, verifiers ...note.Verifier) (head, error) {
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return head{}, fmt.Errorf("the checkpoint's signature: %w", err)
	}
	h, err := parseCheckpointText(n.Text)
	if err != nil {
		return head{}, err
	}
	for _, s := range n.Sigs {
		if s.Name == h.origin {
			return h, nil
		}
	}
	return head{}, fmt.Errorf("the checkpoint of %q is not signed by its log", h.origin)
}

func signCheckpoint(h head, signer note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: h.text()}, signer)
}
