package witness

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// maxRequest bounds a request: 63 hashes and a checkpoint with some signatures.
const maxRequest = 64 << 10

// maxProof is how many hashes a consistency proof has at most (tlog-witness).
const maxProof = 63

// Handler serves add-checkpoint and <SHA-256 of an origin>/checkpoint.
func (w *Witness) Handler(log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", func(out http.ResponseWriter, r *http.Request) { w.add(out, r, log) })
	mux.HandleFunc("GET /{sum}/checkpoint", func(out http.ResponseWriter, r *http.Request) {
		signed := w.Latest(r.PathValue("sum"))
		if signed == nil {
			http.Error(out, "nothing of this log was cosigned", http.StatusNotFound)
			return
		}
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		out.Header().Set("Cache-Control", "no-cache")
		_, _ = out.Write(signed) // who does not read it asks again
	})
	return mux
}

func (w *Witness) add(out http.ResponseWriter, r *http.Request, log *slog.Logger) {
	body, err := io.ReadAll(http.MaxBytesReader(out, r.Body, maxRequest))
	if err != nil {
		http.Error(out, "the request cannot be read, or is too large", http.StatusBadRequest)
		return
	}
	old, proof, signed, err := parseRequest(body)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	line, err := w.Add(old, proof, signed)
	var no *refusal
	switch {
	case err == nil:
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(out, line) // kept already: the log asks again
	case errors.As(err, &no):
		if no.status == http.StatusUnprocessableEntity || strings.HasPrefix(no.why, "the log signed two") {
			log.Error("a log shows another history than the one that was cosigned", "why", no.why, "request", string(body))
		}
		if no.size != nil {
			out.Header().Set("Content-Type", "text/x.tlog.size")
			out.WriteHeader(no.status)
			fmt.Fprintf(out, "%d\n", *no.size)
			return
		}
		http.Error(out, no.why, no.status)
	default:
		log.Error("a checkpoint cannot be cosigned", "err", err)
		http.Error(out, "the witness cannot keep it", http.StatusInternalServerError)
	}
}

// parseRequest reads the body of add-checkpoint.
func parseRequest(body []byte) (old uint64, proof []tlog.Hash, signed []byte, err error) {
	head, rest, ok := strings.Cut(string(body), "\n\n")
	lines := strings.Split(head, "\n")
	digits, isOld := strings.CutPrefix(lines[0], "old ")
	old, nerr := strconv.ParseUint(digits, 10, 62)
	if !ok || !isOld || nerr != nil || strconv.FormatUint(old, 10) != digits {
		return 0, nil, nil, errors.New("the first line must be: old <size>")
	}
	if len(lines)-1 > maxProof {
		return 0, nil, nil, fmt.Errorf("a proof has at most %d lines", maxProof)
	}
	for _, l := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(l)
		if err != nil || len(h) != tlog.HashSize {
			return 0, nil, nil, errors.New("a line of the proof is not a hash")
		}
		proof = append(proof, tlog.Hash(h))
	}
	return old, proof, []byte(rest), nil
}
