package checkpoint

import "github.com/nats-io/nats.go/jetstream"

// What the black-box tests look into.
var (
	MergeInto = merge
	ParseKey  = parseKey
)

// WithBucket is the store over a changed bucket.
func WithBucket(s *Store, change func(jetstream.KeyValue) jetstream.KeyValue) *Store {
	return &Store{bus: s.bus, bucket: change(s.bucket)}
}
