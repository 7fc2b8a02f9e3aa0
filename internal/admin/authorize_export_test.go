package admin

// OpOf says which operation a change of an object of a kind is.
var OpOf = opOf
