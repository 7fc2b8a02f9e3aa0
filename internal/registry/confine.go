package registry

// Process says who shares a server's process.
type Process string

// The scopes of a process. The zero value is ProcessPrincipal.
const (
	ProcessPrincipal Process = "principal" // one for each agent and subject
	ProcessSession   Process = "session"   // one for each session of theirs
	ProcessServer    Process = "server"    // one for everybody; only without a credential
)

// Confine is what a person grants a process besides what every program needs,
// and what is demanded. What is named here must hold, or the process does not
// start, unless BestEffort is set. Where the process has none of it the default
// profile holds as far as the kernel can.
type Confine struct {
	Off        bool     `json:"off,omitempty"` // not confined at all
	BestEffort bool     `json:"bestEffort,omitempty"`
	Read       []string `json:"read,omitempty"`  // absolute paths, and all beneath
	Exec       []string `json:"exec,omitempty"`  // read and execute
	Write      []string `json:"write,omitempty"` // read and write
	Network    *Network `json:"network,omitempty"`
	Sockets    bool     `json:"sockets,omitempty"` // unix sockets may be used
	Limits     *Limits  `json:"limits,omitempty"`
}

// Network says which TCP ports a process may connect to and listen on.
type Network struct {
	Connect Ports `json:"connect"`
	Listen  Ports `json:"listen"`
}

// Ports is a set of ports. The zero value is empty.
type Ports struct {
	Any  bool  `json:"any,omitempty"`
	List []int `json:"list,omitempty"`
}

// Limits bound a process. 0 is the default, Unlimited is none.
type Limits struct {
	Processes int   `json:"processes,omitempty"`
	Files     int   `json:"files,omitempty"`
	Memory    int64 `json:"memory,omitempty"`   // bytes
	FileSize  int64 `json:"fileSize,omitempty"` // bytes
}

// Unlimited is the limit that is none.
const Unlimited = -1
