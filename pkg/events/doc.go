// Package events is what applications exchange with Tributary on NATS: events that they hear, and commands that they
// send.
//
// It builds and parses their subjects, names their headers, and reads commands. Their schemas, in v1, are guarded
// against breaking changes. The messages between services are in internal/wire; their schemas are in v1, too.
package events
