package daemon

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Setting is one value of the configuration and where it is from.
type Setting struct {
	Key, Value string
	Origin     string // "default", "FILE:LINE", or "command line or environment"
}

// Origins of a value that stands in no file.
const (
	originDefault = "default"
	originGiven   = "command line or environment"
)

// Settings are all values of the configuration with their origins, in the order of its
// documentation. Values that are left out are empty. It holds no secret: the
// configuration names files of secrets, and what an address says of its user is left
// out.
func (c *Config) Settings() []Setting {
	var out []Setting
	leaves(reflect.ValueOf(c).Elem(), "", func(key, value string) {
		s := Setting{Key: key, Value: value, Origin: originGiven}
		switch line := c.lines[key]; {
		case line > 0 && c.said[key] == value:
			s.Origin = fmt.Sprintf("%s:%d", c.file, line)
		case value == "" || key == "data" && isDefaultData(value):
			s.Origin = originDefault
		}
		s.Value = bare(value)
		out = append(out, s)
	})
	return out
}

func isDefaultData(value string) bool {
	d, err := DefaultData()
	return err == nil && d == value
}

// values are the texts of all values, by key.
func (c *Config) values() map[string]string {
	out := map[string]string{}
	leaves(reflect.ValueOf(c).Elem(), "", func(key, value string) { out[key] = value })
	return out
}

// leaves calls f for every value below v, "" for one that is left out.
func leaves(v reflect.Value, key string, f func(key, value string)) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("yaml")
			if name == "" || name == "-" {
				continue
			}
			leaves(v.Field(i), strings.TrimPrefix(key+"."+name, "."), f)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			leaves(v.Index(i), fmt.Sprintf("%s[%d]", key, i), f)
		}
		if v.Len() == 0 {
			f(key, "")
		}
	case v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0:
		f(key, "")
	case v.Kind() == reflect.Slice:
		var list []string
		for i := range v.Len() {
			list = append(list, fmt.Sprint(v.Index(i).Interface()))
		}
		f(key, strings.Join(list, " "))
	case v.Type() == reflect.TypeFor[time.Duration]():
		f(key, time.Duration(v.Int()).String())
	default:
		f(key, fmt.Sprint(v.Interface()))
	}
}

// bare is a value without what an address says of its user and in its query.
func bare(value string) string {
	if !strings.Contains(value, "://") {
		return value
	}
	words := strings.Fields(value)
	for i, w := range words {
		if u, err := url.Parse(w); err == nil && u.Host != "" {
			u.User, u.RawQuery, u.Fragment = nil, "", ""
			words[i] = u.String()
		} else {
			words[i] = "(an address)"
		}
	}
	return strings.Join(words, " ")
}
