package mcpproxy

// What names an offer is tested for every string there is, not only for those a
// server may list.
var (
	Joined    = joined
	Parted    = parted
	JoinedURI = joinedURI
	PartedURI = partedURI
)
