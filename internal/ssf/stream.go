package ssf

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"rutile/internal/access"
	"rutile/internal/signal"
	"rutile/internal/sink"
)

// Where receivers see to their streams (SSF 1.0, sections 7 and 8).
const (
	MetadataPath = "/.well-known/ssf-configuration"
	streamsPath  = "/ssf/streams"
	statusPath   = "/ssf/status"
	addPath      = "/ssf/subjects/add"
	removePath   = "/ssf/subjects/remove"
	verifyPath   = "/ssf/verify"
	pollPath     = "/ssf/poll/"
)

// The methods of delivery.
const (
	methodPush = "urn:ietf:rfc:8935"
	methodPoll = "urn:ietf:rfc:8936"
)

// Bounds of what receivers ask.
const (
	maxAsk  = 256 << 10 // bytes
	maxWord = 512       // bytes of a description, a reason or a state
)

// Transmitter serves what receivers of our signals see to. Each shows the bearer token that
// is declared for it, and sees only its own stream: there is one for each declared receiver,
// which has the id of its sink.
type Transmitter struct {
	issuer  string
	jwks    string
	streams *sink.Streams
	note    func(ctx context.Context, id, what string)
	log     *slog.Logger
}

// NewTransmitter returns a Transmitter. note keeps that a receiver changed its stream.
func NewTransmitter(issuer, jwks string, streams *sink.Streams, note func(ctx context.Context, id, what string), log *slog.Logger) *Transmitter {
	return &Transmitter{issuer: issuer, jwks: jwks, streams: streams, note: note, log: log}
}

// Register adds the endpoints to a mux.
func (t *Transmitter) Register(handle func(pattern string, h http.Handler)) {
	handle("GET "+MetadataPath, http.HandlerFunc(t.metadata))
	for pattern, serve := range map[string]func(*ask) (any, error){
		"POST " + streamsPath: t.create, "GET " + streamsPath: t.read, "PATCH " + streamsPath: t.update, "PUT " + streamsPath: t.update, "DELETE " + streamsPath: t.remove,
		"GET " + statusPath: t.status, "POST " + statusPath: t.setStatus, "POST " + addPath: t.addSubject, "POST " + removePath: t.removeSubject,
		"POST " + verifyPath: t.verify, "POST " + pollPath + "{stream}": t.poll,
	} {
		handle(pattern, t.serve(serve))
	}
}

func (t *Transmitter) metadata(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"spec_version": "1_0", "issuer": t.issuer, "jwks_uri": t.jwks, "delivery_methods_supported": []string{methodPush, methodPoll},
		"configuration_endpoint": t.issuer + streamsPath, "status_endpoint": t.issuer + statusPath, "add_subject_endpoint": t.issuer + addPath, "remove_subject_endpoint": t.issuer + removePath,
		"verification_endpoint": t.issuer + verifyPath, "authorization_schemes": []map[string]string{{"spec_urn": "urn:ietf:rfc:6750"}}, "default_subjects": "ALL",
	})
}

// ask is a request of a receiver.
type ask struct {
	*http.Request
	sink sink.Sink
	body []byte
	code int // of an answer that is no error
}

// serve lets a receiver in by its token, and answers in JSON. Nobody is turned away for the
// tokens that others showed: these cannot be guessed, and cost less to compare than any
// other request here (decision 0146).
func (t *Transmitter) serve(do func(*ask) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := t.streams.Of(r.Context(), bearer(r.Header))
		a := &ask{Request: r, sink: to, code: http.StatusOK}
		if err == nil {
			err = a.read(w)
		}
		var out any
		if err == nil {
			out, err = do(a)
		}
		if err != nil {
			t.fail(w, r, to.ID, err)
			return
		}
		reply(w, a.code, out)
	})
}

// bearer is the only bearer token of a request, "" if it has not one.
func bearer(h http.Header) string {
	list := h.Values("Authorization")
	if len(list) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(list[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

func (a *ask) read(w http.ResponseWriter) (err error) {
	if a.Method == http.MethodGet || a.Method == http.MethodDelete {
		return nil
	}
	if typ, _, err := mime.ParseMediaType(a.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		return access.Errorf(access.CodeInvalid, "the request is not of the type application/json")
	}
	if a.body, err = io.ReadAll(http.MaxBytesReader(w, a.Body, maxAsk)); err != nil {
		return access.Errorf(access.CodeInvalid, "the body cannot be read, or has more than %d bytes", maxAsk)
	}
	return nil
}

// into decodes the body. Members that are not known are left out, as SSF 1.0 says.
func (a *ask) into(v any) error {
	d := json.NewDecoder(bytes.NewReader(a.body))
	if err := d.Decode(v); err != nil || d.More() {
		return access.Errorf(access.CodeInvalid, "the body cannot be read as JSON of this request")
	}
	return nil
}

// own says that a stream is not the receiver's, or that none is named.
func (a *ask) own(id string) error {
	if id == "" {
		return access.Errorf(access.CodeInvalid, "stream_id is missing")
	}
	if id != a.sink.ID {
		return access.Errorf(access.CodeNotFound, "there is no such stream of yours")
	}
	return nil
}

// fail answers with an error. Only our own words of it leave.
func (t *Transmitter) fail(w http.ResponseWriter, r *http.Request, id string, err error) {
	code := http.StatusInternalServerError
	switch access.CodeOf(err) {
	case access.CodeUnauthenticated:
		code = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="rutile"`)
	case access.CodeInvalid:
		code = http.StatusBadRequest
	case access.CodeDenied:
		code = http.StatusForbidden
	case access.CodeNotFound:
		code = http.StatusNotFound
	case access.CodeConflict:
		code = http.StatusConflict
		if r.URL.Path == verifyPath || strings.HasPrefix(r.URL.Path, pollPath) {
			code = http.StatusTooManyRequests
			w.Header().Set("Retry-After", "10")
		}
	case access.CodeUnavailable, access.CodeTimeout, access.CodeEvidence:
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	why := "it cannot be answered now"
	if code < http.StatusInternalServerError {
		why = access.Reasons(err)
	} else if r.Context().Err() == nil {
		t.log.Error("a receiver of signals cannot be answered", "sink", id, "error", access.Reasons(err))
	}
	reply(w, code, problem(why))
}

// problem is why something is not done, as RFC 8935 and RFC 8936 say it.
func problem(why string) map[string]string {
	return map[string]string{"err": "invalid_request", "description": why}
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if v == nil {
		w.WriteHeader(code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // who asks may have gone
}

// setup is what a receiver may say of its stream (SSF 1.0, section 8.1.1).
type setup struct {
	ID        string    `json:"stream_id"`
	Requested *[]string `json:"events_requested"`
	Text      *string   `json:"description"`
	Delivery  *struct {
		Method string          `json:"method"`
		URL    string          `json:"endpoint_url"`
		Header json.RawMessage `json:"authorization_header"`
	} `json:"delivery"`
}

// put writes what is set up into a stream. Where events go is declared by whoever runs this
// gateway: a receiver may name it and not change it.
func (t *Transmitter) put(a *ask, in *setup, st *signal.Stream, whole bool) error {
	if err := t.ours(a, st); err != nil {
		return err
	}
	if d := in.Delivery; d != nil {
		want, at := methodPush, a.sink.URL
		if at == sink.PollURL {
			want, at = methodPoll, t.issuer+pollPath+a.sink.ID
		}
		switch {
		case d.Method != want:
			return access.Errorf(access.CodeInvalid, "this stream is delivered by %s, as it is declared", want)
		case d.URL != "" && d.URL != at:
			return access.Errorf(access.CodeInvalid, "events of this stream go where it is declared, and not elsewhere: leave out endpoint_url, or have it declared anew")
		case d.Header != nil && string(d.Header) != "null":
			return access.Errorf(access.CodeInvalid, "what is sent as authorization_header is sealed by whoever runs this gateway: leave it out")
		}
	}
	if in.Text != nil {
		if !plain(*in.Text) {
			return access.Errorf(access.CodeInvalid, "description is not printable, or has more than %d bytes", maxWord)
		}
		st.Text = *in.Text
	} else if whole {
		st.Text = ""
	}
	if in.Requested == nil {
		if whole {
			st.Requested = nil
		}
		return nil
	}
	if len(*in.Requested) > 100 {
		return access.Errorf(access.CodeInvalid, "events_requested has more than 100")
	}
	st.Requested = []string{}
	for _, name := range sink.Told() { // others are left out: they are not supported
		if slices.Contains(*in.Requested, sink.EventType(name)) {
			st.Requested = append(st.Requested, name)
		}
	}
	return nil
}

// ours says which member of a request is not as it stands, of those that the receiver may
// repeat and not change (SSF 1.0, section 8.1.1.3).
func (t *Transmitter) ours(a *ask, st *signal.Stream) error {
	var asked, stands map[string]any
	raw, err := json.Marshal(t.shown(&a.sink, st))
	if err == nil {
		err = json.Unmarshal(raw, &stands)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, &asked); err != nil {
		return access.Errorf(access.CodeInvalid, "the body is no JSON object")
	}
	for _, name := range []string{"iss", "aud", "events_supported", "events_delivered", "min_verification_interval"} {
		if v, ok := asked[name]; ok && !reflect.DeepEqual(v, stands[name]) {
			return access.Errorf(access.CodeInvalid, "%s cannot be changed: leave it out, or repeat it as it is", name)
		}
	}
	return nil
}

// plain reports whether a word of a receiver can be kept and shown to people.
func plain(s string) bool {
	return len(s) <= maxWord && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// shown is a stream as its receiver reads it.
func (t *Transmitter) shown(d *sink.Sink, st *signal.Stream) map[string]any {
	types := func(keep func(string) bool) []string {
		out := []string{}
		for _, name := range d.Events {
			if keep(name) {
				out = append(out, sink.EventType(name))
			}
		}
		return out
	}
	wanted := func(name string) bool { return st.Requested == nil || slices.Contains(st.Requested, name) }
	delivery := map[string]string{"method": methodPush, "endpoint_url": d.URL}
	if d.URL == sink.PollURL {
		delivery = map[string]string{"method": methodPoll, "endpoint_url": t.issuer + pollPath + d.ID}
	}
	out := map[string]any{
		"stream_id": d.ID, "iss": t.issuer, "aud": d.Audience, "delivery": delivery, "min_verification_interval": int(sink.VerifyEvery.Seconds()),
		"events_supported": types(func(string) bool { return true }), "events_requested": types(wanted), "events_delivered": types(wanted),
	}
	if st.Text != "" {
		out["description"] = st.Text
	}
	return out
}

// create sets up the stream of a receiver. It is there by its declaration; once it was
// created it is there, and is not created again until it is deleted.
func (t *Transmitter) create(a *ask) (any, error) {
	var in setup
	if err := a.into(&in); err != nil {
		return nil, err
	}
	if in.Delivery == nil && a.sink.URL != sink.PollURL { // left out it is poll (SSF 1.0, section 8.1.1.1)
		return nil, access.Errorf(access.CodeInvalid, "this stream is delivered by %s, as it is declared: name it as delivery", methodPush)
	}
	st, err := t.streams.Change(a.Context(), &a.sink, func(st *signal.Stream) error {
		if st.Made && !st.Gone {
			return access.Errorf(access.CodeConflict, "you have a stream already: read it, or change it")
		}
		*st = signal.Stream{Made: true, Verified: st.Verified}
		return t.put(a, &in, st, true)
	})
	if err != nil {
		return nil, err
	}
	t.note(a.Context(), a.sink.ID, "created")
	a.code = http.StatusCreated
	return t.shown(&a.sink, &st), nil
}

func (t *Transmitter) read(a *ask) (any, error) {
	id := a.URL.Query().Get("stream_id")
	st, err := t.streams.Read(a.Context(), &a.sink)
	if err == nil && id != "" {
		err = a.own(id)
	}
	switch {
	case err != nil:
		return nil, err
	case st.Gone && id == "":
		return []any{}, nil
	case st.Gone:
		return nil, errGone
	case id == "":
		return []any{t.shown(&a.sink, &st)}, nil
	}
	return t.shown(&a.sink, &st), nil
}

var errGone = access.Errorf(access.CodeNotFound, "the stream was deleted: create it") //nolint:gochecknoglobals // a sentinel

// change changes the stream that a request names, unless it was deleted.
func (t *Transmitter) change(a *ask, id, what string, change func(*signal.Stream) error) (signal.Stream, error) {
	if err := a.own(id); err != nil {
		return signal.Stream{}, err
	}
	st, err := t.streams.Change(a.Context(), &a.sink, func(st *signal.Stream) error {
		if st.Gone {
			return errGone
		}
		return change(st)
	})
	if err == nil {
		t.note(a.Context(), a.sink.ID, what)
	}
	return st, err
}

func (t *Transmitter) update(a *ask) (any, error) {
	var in setup
	if err := a.into(&in); err != nil {
		return nil, err
	}
	st, err := t.change(a, in.ID, "changed", func(st *signal.Stream) error { return t.put(a, &in, st, a.Method == http.MethodPut) })
	if err != nil {
		return nil, err
	}
	return t.shown(&a.sink, &st), nil
}

func (t *Transmitter) remove(a *ask) (any, error) {
	a.code = http.StatusNoContent
	_, err := t.change(a, a.URL.Query().Get("stream_id"), "deleted", func(st *signal.Stream) error {
		*st = signal.Stream{Gone: true, Verified: st.Verified}
		return nil
	})
	return nil, err
}

// statusOf is how a stream stands as its receiver reads it.
func statusOf(d *sink.Sink, st *signal.Stream) map[string]string {
	out := map[string]string{"stream_id": d.ID, "status": st.State()}
	if st.Reason != "" {
		out["reason"] = st.Reason
	}
	return out
}

func (t *Transmitter) status(a *ask) (any, error) {
	if err := a.own(a.URL.Query().Get("stream_id")); err != nil {
		return nil, err
	}
	st, err := t.streams.Read(a.Context(), &a.sink)
	if err == nil && st.Gone {
		err = errGone
	}
	if err != nil {
		return nil, err
	}
	return statusOf(&a.sink, &st), nil
}

func (t *Transmitter) setStatus(a *ask) (any, error) {
	var in struct {
		ID     string `json:"stream_id"`
		Status string `json:"status"`
		Reason string `json:"reason"`
	}
	if err := a.into(&in); err != nil {
		return nil, err
	}
	if !slices.Contains(signal.Statuses(), in.Status) || !plain(in.Reason) {
		return nil, access.Errorf(access.CodeInvalid, "status is one of %s, and reason is printable and has at most %d bytes", strings.Join(signal.Statuses(), ", "), maxWord)
	}
	st, err := t.change(a, in.ID, in.Status, func(st *signal.Stream) error {
		st.Status, st.Reason = in.Status, in.Reason
		return nil
	})
	if err != nil {
		return nil, err
	}
	return statusOf(&a.sink, &st), nil
}

// subject reads whom a receiver names.
func (a *ask) subject() (id string, about signal.Subject, err error) {
	var in struct {
		ID      string          `json:"stream_id"`
		Subject json.RawMessage `json:"subject"`
	}
	if err = a.into(&in); err != nil {
		return "", about, err
	}
	if about, err = signal.ReadSubject(in.Subject); err != nil {
		return "", about, access.Errorf(access.CodeInvalid, "%s", err)
	}
	return in.ID, about, nil
}

func (t *Transmitter) addSubject(a *ask) (any, error) {
	id, about, err := a.subject()
	if err != nil {
		return nil, err
	}
	_, err = t.change(a, id, "put a subject back", func(st *signal.Stream) error {
		st.Without = slices.DeleteFunc(st.Without, func(s signal.Subject) bool { return s.Same(&about) })
		return nil
	})
	return nil, err
}

func (t *Transmitter) removeSubject(a *ask) (any, error) {
	id, about, err := a.subject()
	if err != nil {
		return nil, err
	}
	a.code = http.StatusNoContent
	_, err = t.change(a, id, "took a subject out", func(st *signal.Stream) error {
		if !slices.ContainsFunc(st.Without, func(s signal.Subject) bool { return s.Same(&about) }) {
			st.Without = append(st.Without, about)
		}
		return nil
	})
	return nil, err
}

func (t *Transmitter) verify(a *ask) (any, error) {
	var in struct {
		ID    string `json:"stream_id"`
		State string `json:"state"`
	}
	if err := a.into(&in); err != nil {
		return nil, err
	}
	if err := a.own(in.ID); err != nil {
		return nil, err
	}
	if len(in.State) > maxWord {
		return nil, access.Errorf(access.CodeInvalid, "state has more than %d bytes", maxWord)
	}
	a.code = http.StatusNoContent
	return nil, t.streams.Verify(a.Context(), &a.sink, in.State)
}

// poll hands out what waits (RFC 8936).
func (t *Transmitter) poll(a *ask) (any, error) {
	if a.sink.URL != sink.PollURL || a.PathValue("stream") != a.sink.ID {
		return nil, access.Errorf(access.CodeNotFound, "there is no such stream of yours to fetch from")
	}
	var in struct {
		Max  *int     `json:"maxEvents"`
		Now  bool     `json:"returnImmediately"`
		Acks []string `json:"ack"`
		Errs map[string]struct {
			Err string `json:"err"`
		} `json:"setErrs"`
	}
	if err := a.into(&in); err != nil {
		return nil, err
	}
	if len(in.Errs) > 0 {
		t.note(a.Context(), a.sink.ID, "would not take an event")
	}
	f := sink.Fetch{Max: in.Max, Now: in.Now, Acks: in.Acks, Errs: map[string]string{}}
	for id, e := range in.Errs {
		f.Errs[id] = e.Err
	}
	sets, more, err := t.streams.Fetch(a.Context(), &a.sink, f)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"sets": sets}
	if more {
		out["moreAvailable"] = true
	}
	return out, nil
}
