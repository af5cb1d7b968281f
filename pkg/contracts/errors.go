package contracts

import (
	"errors"
	"fmt"
	"time"
)

// What the deferrals that [Integration.HTTP] returns by itself are caused by; see [errors.Is].
var (
	// ErrBudgetExhausted: no request may be sent now, by our own count or because the upstream said so.
	ErrBudgetExhausted = errors.New("the request budget is used up")
	// ErrCircuitOpen: the upstream has failed so often that it is left alone for a while, or an operator has it so.
	ErrCircuitOpen = errors.New("the circuit is open")
	// ErrNoToken: no access token that can be used is to be had now.
	ErrNoToken = errors.New("no token that can be used is to be had now")
)

// DeferralError asks to be tried again at a later time without spending a try. [RetryAfter] makes one; limits, open
// circuits and token waits inside [Integration.HTTP] return it by themselves.
type DeferralError struct {
	// Delay is how long to wait from now on.
	Delay time.Duration
	// Cause says what is being waited for; it may be nil.
	Cause error
}

func (e *DeferralError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("retry after %s", rounded(e.Delay))
	}
	return fmt.Sprintf("retry after %s: %v", rounded(e.Delay), e.Cause)
}

// rounded is a duration for people: as exact as they care for.
func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

func (e *DeferralError) Unwrap() error { return e.Cause }

// PermanentError says that trying again can't help. [Permanent] makes one.
type PermanentError struct{ Cause error }

func (e *PermanentError) Error() string {
	if e.Cause == nil {
		return "permanent failure"
	}
	return e.Cause.Error()
}

func (e *PermanentError) Unwrap() error { return e.Cause }

// SkipError says that an item needs no work. [Skip] makes one.
type SkipError struct{ Reason string }

func (e *SkipError) Error() string { return "skipped: " + e.Reason }

// RetryAfter is a deferral: what returned it is tried again after d, and no try is spent. err says why; it may be nil.
//
// The wait is at least a second, and longer with each deferral that follows on another of the same work, up to a
// minute. It is at most an hour; work that needs longer asks again then. A negative d counts as zero.
func RetryAfter(d time.Duration, err error) error {
	return &DeferralError{Delay: max(d, 0), Cause: err}
}

// Permanent marks err as final: an item is dead at once, an enumeration ends. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{Cause: err}
}

// Skip completes an item without work: it counts as completed, its checkpoint included, and is shown as skipped with
// the reason.
func Skip(reason string) error { return &SkipError{Reason: reason} }

// AsDeferral reports whether err is, or wraps, a deferral.
func AsDeferral(err error) (*DeferralError, bool) {
	var target *DeferralError
	ok := errors.As(err, &target)
	return target, ok
}

// IsPermanent reports whether err is, or wraps, a [PermanentError].
func IsPermanent(err error) bool {
	var target *PermanentError
	return errors.As(err, &target)
}

// AsSkip reports whether err is, or wraps, a [SkipError].
func AsSkip(err error) (*SkipError, bool) {
	var target *SkipError
	ok := errors.As(err, &target)
	return target, ok
}
