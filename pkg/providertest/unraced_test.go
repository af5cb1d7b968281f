//go:build !race

package providertest_test

// raced tells that the tests run under the race detector.
const raced = false
