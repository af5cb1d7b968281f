// Package events is every message on the wire: what it is called, where it goes, what it holds.
//
// It is the only place that builds or parses a subject. Streams, consumers and buckets are values beside the subjects, applied at
// start-up. Commands and events are public, and their schemas (v1) are guarded against breaking changes; work messages are private.
package events
