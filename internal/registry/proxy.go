package registry

import "net/url"

// CheckProxy returns what is wrong with the address of a forward proxy, "" if
// nothing is. A password has no place in it: manifests and configurations are
// read by many.
func CheckProxy(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return "is not the address of a proxy: write http://host:port"
	case u.User != nil:
		return "must not hold a user name or password: a proxy that asks for one is not supported"
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return "must end after the port"
	}
	return ""
}
