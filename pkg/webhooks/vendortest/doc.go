// Package vendortest compares package webhooks with the vendors' own libraries. It is a module of its own, so that these are nobody else's
// dependencies.
package vendortest
