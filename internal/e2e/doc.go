// Package e2e tests the whole system: real service processes against a real NATS and a real Postgres, killed at named points, with an
// upstream and handlers that the test controls. It holds tests only.
package e2e
