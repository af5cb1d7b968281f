// Package wire is what services exchange with one another on NATS: the subjects of work, the messages as they travel,
// and the streams, consumers and buckets that keep them, which are applied at the start.
//
// It is the only place that builds or parses a subject of work. What applications read and write is in pkg/events. The
// schemas of both are in pkg/events/v1, so that one check guards them against breaking changes.
package wire
