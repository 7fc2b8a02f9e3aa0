package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/inspect"
	"rutile/internal/judge"
)

// Words of inspection.judge.about.
const (
	aboutDefinitions = "definitions"
	aboutReview      = "review"
	aboutResults     = "results"
)

// modelName is a version of a model.
var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$`)

func (j *JudgeConfig) check(note func(key, format string, args ...any)) {
	const at = "inspection.judge"
	if j.URL == "" {
		if j.Model != "" || j.Credential != "" || len(j.About) > 0 || j.Threshold != 0 || j.Lower || j.Timeout != 0 {
			note(at, "has no url: a judge is off without one")
		}
		return
	}
	u, err := url.Parse(j.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		note(at+".url", "must be an https:// address without a user")
	case u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "0")):
		note(at+".url", "what it is asked would travel in clear: write https")
	}
	if !modelName.MatchString(j.Model) {
		note(at+".model", "must name the version of the model: its answers count for that one only")
	}
	for _, word := range j.About {
		if !slices.Contains([]string{aboutDefinitions, aboutReview, aboutResults}, word) {
			note(at+".about", "%q is not definitions, review or results", word)
		}
	}
	if t := j.Threshold; t != 0 && (t < 50 || t > 100) {
		note(at+".threshold", "must be between 50 and 100 percent, not %d", t)
	}
	if t := j.Timeout; t != 0 && (t < time.Second || t > 2*time.Minute) {
		note(at+".timeout", "must be between 1s and 2m, not %s", t)
	}
}

func (j *JudgeConfig) withDefaults() {
	if j.URL == "" {
		return
	}
	if len(j.About) == 0 {
		j.About = []string{aboutDefinitions, aboutReview}
	}
	if j.Threshold == 0 {
		j.Threshold = 80
	}
	if j.Timeout == 0 {
		j.Timeout = 20 * time.Second
	}
}

// confidence is the threshold as a part of 1.
func (j *JudgeConfig) confidence() float64 { return float64(j.Threshold) / 100 }

// consultJudge has definitions and results judged by the outside judge of the
// configuration, if there is one.
func (d *Daemon) consultJudge(ctx context.Context, engine *inspect.Engine) error {
	c := d.Config.Inspection.Judge
	if c.URL == "" {
		return nil
	}
	transport, err := d.egress().Transport()
	if err != nil {
		return err
	}
	d.judge, err = judge.New(ctx, judge.Config{
		URL: c.URL, Model: c.Model, Credential: c.Credential, Timeout: c.Timeout, Transport: transport, Secrets: hookSecrets{d.vault}, Store: d.store,
		Foreign: func(text string) bool { return engine.Text(inspect.Definition, []byte(text)).Tier > inspect.Clean },
		Record:  d.recordVerdict, Counts: d.verdictCounts, Log: d.log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	d.closing("outside judge", func(context.Context) error { d.judge.Close(); return nil })
	if slices.Contains(c.About, aboutDefinitions) {
		d.Admin.Consult(&admin.Consulted{Judge: d.judge, Threshold: c.confidence(), Lower: c.Lower})
	}
	if all := slices.Contains(c.About, aboutResults); all || slices.Contains(c.About, aboutReview) {
		d.gate.Consult(&gate.Consulted{Judge: d.judge, Threshold: c.confidence(), Lower: c.Lower, All: all})
	}
	return nil
}

// checkJudge says how the outside judge fares.
func (d *Daemon) checkJudge() api.Check {
	s := d.judge.Status()
	how := fmt.Sprintf("%d judged, %d waiting, %d given up, %d not asked about since the start", s.Judged, s.Waiting, s.Failed, s.Dropped)
	if s.Why != "" {
		return api.Check{Name: "outside judge", Level: api.LevelWarning, Reason: s.Why + "; " + how, Mend: "see inspection.judge in the configuration; nothing waits for it"}
	}
	return good("outside judge", "%s", how)
}

// recordVerdict keeps a verdict as evidence.
func (d *Daemon) recordVerdict(ctx context.Context, v judge.Verdict) error {
	detail, err := json.Marshal(v)
	if err != nil {
		return access.Errorf(access.CodeInternal, "a verdict cannot be written")
	}
	_, err = d.Evidence.Admin(ctx, audit.Admin{ID: access.NewID(access.PrefixChange), Actor: "judge:" + v.Model, Verb: "judge", Kind: "Tool", Object: v.Server + "/" + v.Name, After: v.Label, Detail: detail})
	return err
}

// verdictCounts has the server listed anew where a verdict on a definition of it
// changes what it calls for.
func (d *Daemon) verdictCounts(ctx context.Context, v judge.Verdict) {
	c := d.Config.Inspection.Judge
	if v.Kind == judge.Definition && (v.Raises(c.confidence()) != "" || c.Lower && v.Lowers(c.confidence())) {
		_ = d.Proxy.Learn(ctx, v.Server) // logged there; it counts with the next listing
	}
}

// offerEvery is how often definitions without a verdict are offered again.
const offerEvery = 10 * time.Minute

// followJudge raises what the judge says, and offers what has no verdict yet.
func (d *Daemon) followJudge(ctx context.Context) {
	if d.judge == nil {
		return
	}
	tick := time.NewTicker(conductEvery)
	defer tick.Stop()
	failing := false
	var offered time.Time
	var said int64 = -1
	for {
		if time.Since(offered) > offerEvery {
			d.Admin.OfferAll()
			offered, said = time.Now(), -1 // and what is old by now is let go
		}
		if n := d.judge.Status().Judged; n != said {
			err := d.Findings.Judged(ctx, d.node(), d.judge.All(), d.Config.Inspection.Judge.confidence())
			switch {
			case err == nil:
				said = n
			case !failing && ctx.Err() == nil && access.CodeOf(err) != access.CodeConflict:
				d.log.Error("what the outside judge says cannot be kept; it is tried again", "error", access.Reasons(err))
			}
			failing = err != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
