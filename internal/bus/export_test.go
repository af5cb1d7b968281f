package bus

// BucketStream is the stream that a bucket is.
var BucketStream = bucketStream

// Transient reports whether trying again may help.
var Transient = transient

// Surveyed is how many surveys have ended.
func (b *Bus) Surveyed() int64 { return b.surveyed.Load() }

// Look has the next survey begin at once.
func (b *Bus) Look() { b.miss() }

// Miss has the next survey begin at once.
func (b *Bus) Miss() { b.miss() }
