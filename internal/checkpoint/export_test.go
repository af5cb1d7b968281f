package checkpoint

import "github.com/tributaryhq/tributary/internal/cells"

// What the black-box tests look into.
var (
	MergeInto = merge
	ParseKey  = parseKey
)

// WithCells is the store over changed cells.
func WithCells(s *Store, change func(cells.Cells) cells.Cells) *Store {
	return &Store{bus: s.bus, bucket: s.bucket, cells: change(s.cells)}
}
