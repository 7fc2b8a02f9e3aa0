package credential

// Header returns the one header a sealed credential gives.
func (l *Lease) Header() (name, value string, err error) {
	err = l.Headers(func(n, v string) { name, value = n, v })
	return name, value, err
}

// Env returns the one variable a sealed credential gives; ok is false if none.
func (l *Lease) Env() (name, value string, ok bool) {
	err := l.Variables(func(n, v string) { name, value, ok = n, v, true })
	return name, value, ok && err == nil
}
