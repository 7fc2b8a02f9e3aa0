package identify

import (
	"math"
	"strings"

	"rutile/internal/discovery"
)

// weights of the base metrics of CVSS 3.1, section 7.4.
var weights = map[string]map[string]float64{
	"AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
	"AC": {"L": 0.77, "H": 0.44},
	"PR": {"N": 0.85, "L": 0.62, "H": 0.27},
	"UI": {"N": 0.85, "R": 0.62},
	"S":  {"U": 0, "C": 1},
	"C":  {"N": 0, "L": 0.22, "H": 0.56},
	"I":  {"N": 0, "L": 0.22, "H": 0.56},
	"A":  {"N": 0, "L": 0.22, "H": 0.56},
}

// baseScore is the base score of a vector of CVSS 3.0 or 3.1, 0 to 10, and false
// for what is none (CVSS 3.1, section 7.1).
func baseScore(vector string) (float64, bool) {
	rest, ok := strings.CutPrefix(vector, "CVSS:3.1/")
	if !ok {
		rest, ok = strings.CutPrefix(vector, "CVSS:3.0/")
	}
	if !ok || len(vector) > 512 {
		return 0, false
	}
	m := map[string]string{}
	for part := range strings.SplitSeq(rest, "/") {
		name, value, _ := strings.Cut(part, ":")
		if _, twice := m[name]; twice {
			return 0, false
		}
		m[name] = value
	}
	w := map[string]float64{}
	for name, values := range weights {
		if w[name], ok = values[m[name]]; !ok {
			return 0, false
		}
	}
	changed := m["S"] == "C"
	if changed { // privileges weigh more where the scope changes
		w["PR"] = map[string]float64{"N": 0.85, "L": 0.68, "H": 0.5}[m["PR"]]
	}
	iss := 1 - (1-w["C"])*(1-w["I"])*(1-w["A"])
	impact := 6.42 * iss
	if changed {
		impact = 7.52*(iss-0.029) - 3.25*math.Pow(iss-0.02, 15)
	}
	if impact <= 0 {
		return 0, true
	}
	sum := impact + 8.22*w["AV"]*w["AC"]*w["PR"]*w["UI"]
	if changed {
		sum *= 1.08
	}
	return roundUp(min(sum, 10)), true
}

// roundUp is the smallest number of one decimal that is not below x (appendix A).
func roundUp(x float64) float64 {
	n := int(math.Round(x * 100_000))
	if n%10_000 == 0 {
		return float64(n) / 100_000
	}
	return (math.Floor(float64(n)/10_000) + 1) / 10
}

// rated is the word for a score (section 5).
func rated(score float64) discovery.Severity {
	switch {
	case score >= 9:
		return discovery.Critical
	case score >= 7:
		return discovery.High
	case score >= 4:
		return discovery.Medium
	case score > 0:
		return discovery.Low
	}
	return discovery.Info
}
