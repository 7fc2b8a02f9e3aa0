package confine

// Kernel is what a machine offers, for tests that stand on another one.
type Kernel = kernel

// NewKernel makes one.
func NewKernel(abi int, filter, root bool) Kernel {
	return kernel{abi: abi, filter: filter, root: root}
}

// ReportOn says what would hold of p on k.
func (p *Profile) ReportOn(k Kernel) Report { return p.report(k) }
