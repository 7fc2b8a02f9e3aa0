package sink

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"rutile/internal/access"
)

// attemptTime bounds one attempt, from dialling to the end of the answer.
const attemptTime = 30 * time.Second

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 64 << 10

// httpReceiver posts batches.
type httpReceiver struct {
	sink Sink
	cfg  *Config
}

func (h *httpReceiver) close() {}

func (h *httpReceiver) take(ctx context.Context, b batch) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.sink.URL, bytes.NewReader(b.body))
	if err != nil {
		return access.Errorf(access.CodeInvalid, "the address cannot be used")
	}
	r.Header.Set("Content-Type", b.mime)
	r.Header.Set("User-Agent", "rutile/"+h.cfg.Version)
	send := func([]byte) error { return h.send(ctx, r) }
	if h.sink.Secret == "" {
		return send(nil)
	}
	err = h.cfg.Secrets.Use(ctx, h.sink.Secret, origin(r.URL), func(secret []byte) error {
		r.Header.Set(h.sink.Header, string(bytes.ReplaceAll([]byte(h.sink.Value), []byte("{secret}"), secret)))
		return send(nil) // the header stays: a transport may read it after it gave up
	})
	if err != nil && access.CodeOf(err) != access.CodeUnavailable {
		return fmt.Errorf("with credential %q: %w", h.sink.Secret, err)
	}
	return err
}

func (h *httpReceiver) send(ctx context.Context, r *http.Request) error {
	answer, err := h.cfg.Transport.RoundTrip(r)
	switch {
	case err != nil && ctx.Err() != nil:
		return access.Errorf(access.CodeUnavailable, "no answer within %v", attemptTime)
	case err != nil:
		return access.Errorf(access.CodeUnavailable, "the address cannot be reached, or is none that may be (see egress.allow in the configuration)")
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	_ = answer.Body.Close()
	switch code := answer.StatusCode; {
	case code/100 == 2 && err != nil:
		return access.Errorf(access.CodeUnavailable, "the answer broke off")
	case code/100 == 2:
		return h.partial(body)
	case code/100 == 3:
		return access.Errorf(access.CodeUnavailable, "it answered with a redirect (%d), which is not followed", code)
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity, code == http.StatusUnsupportedMediaType:
		return fmt.Errorf("%w with status %d", errRefused, code)
	default:
		return access.Errorf(access.CodeUnavailable, "it answered with status %d", code)
	}
}

// partial reports what an OTLP receiver says it did not take (OTLP 1, "Partial
// Success"): a warning alone is not a refusal.
func (h *httpReceiver) partial(body []byte) error {
	if h.sink.Form != FormOTLP {
		return nil
	}
	var answer collector.ExportLogsServiceResponse
	if err := proto.Unmarshal(body, &answer); err == nil { // some answer with JSON or with nothing
		if n := answer.GetPartialSuccess().GetRejectedLogRecords(); n > 0 {
			return fmt.Errorf("%w: %d log records were rejected", errRefused, n)
		}
	}
	return nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
