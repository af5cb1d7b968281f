package deferral

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		asked time.Duration
		n     int
		wait  time.Duration
		cut   bool
	}{
		{0, 0, time.Second, false},
		{-time.Hour, 0, time.Second, false},
		{0, 1, 2 * time.Second, false},
		{0, 5, 32 * time.Second, false},
		{0, 6, time.Minute, false},
		{0, math.MaxInt32, time.Minute, false},
		{0, -1, time.Second, false},
		{10 * time.Second, 2, 10 * time.Second, false},
		{10 * time.Second, 4, 16 * time.Second, false},
		{time.Hour, 0, time.Hour, false},
		{time.Hour + 1, 0, time.Hour, true},
		{1 << 62, 3, time.Hour, true},
		{math.MinInt64, 3, 8 * time.Second, false},
	} {
		if wait, cut := Default().Of(test.asked, test.n); wait != test.wait || cut != test.cut {
			t.Errorf("%s after %d others is %s (%v), want %s (%v)", test.asked, test.n, wait, cut, test.wait, test.cut)
		}
	}
}

// Work that never asks for a wait is repeated some hundred times within the window of six hours, and not thousands of times.
func TestBoundsKeepRepetitionsFew(t *testing.T) {
	t.Parallel()
	repetitions := 0
	for waited := time.Duration(0); waited < 6*time.Hour; repetitions++ {
		wait, _ := Default().Of(0, repetitions)
		waited += wait
	}
	if repetitions > 400 {
		t.Errorf("%d repetitions in six hours", repetitions)
	}
}

func TestCauseOf(t *testing.T) {
	t.Parallel()
	for want, errs := range map[Cause][]error{
		None:     {nil, errors.New("broken"), contracts.ErrCircuitOpen},
		Circuit:  {contracts.RetryAfter(0, fmt.Errorf("%w: down", contracts.ErrCircuitOpen))},
		Budget:   {fmt.Errorf("list: %w", contracts.RetryAfter(0, contracts.ErrBudgetExhausted))},
		Token:    {contracts.RetryAfter(0, contracts.ErrNoToken)},
		Handler:  {contracts.RetryAfter(0, fmt.Errorf("%w for shop.Order", ErrNoHandler))},
		Patience: {contracts.RetryAfter(0, nil), contracts.RetryAfter(0, errors.New("later"))},
	} {
		for _, err := range errs {
			if got := CauseOf(err); got != want {
				t.Errorf("%v waits for %q, want %q", err, got, want)
			}
		}
	}
}
