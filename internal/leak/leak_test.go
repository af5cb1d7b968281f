package leak

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestCode has a goroutine that is left, and one that ends late. It runs beside no other test.
func TestCode(t *testing.T) {
	var stderr bytes.Buffer
	end := make(chan struct{})
	go func() { <-end }()
	if code := codeWithin(time.Millisecond, 0, &stderr); code != 1 || !strings.Contains(stderr.String(), "TestCode") {
		t.Errorf("%d, %s", code, stderr.String())
	}
	time.AfterFunc(2*time.Second, func() { close(end) })
	if code := codeWithin(time.Minute, 0, &stderr); code != 0 {
		t.Errorf("%d for a goroutine that has ended", code)
	}
	if code := codeWithin(time.Minute, 7, &stderr); code != 7 {
		t.Errorf("%d of tests that failed", code)
	}
}
