package process

// Ends is what standard streams are connected to, by child and parent.
type Ends map[[2]int]bool

func (e Ends) joined(child, parent int) (yes, known bool) { return e[[2]int{child, parent}], true }

// Join sets what the streams of a table's processes are connected to.
func (t *Table) Join(e Ends) { t.ends = e }
