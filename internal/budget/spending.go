package budget

import (
	"math"
	"math/bits"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// sameReset is how far apart two answers may put one and the same reset, which they tell in whole seconds and some
// while later.
const sameReset = 2 * time.Second

// spending is what all processes together have taken of a budget: the value of its cell. Windows start at multiples of
// their length since 1970, by the broker's clock. Units count as spent when they are leased, used or not, so that what
// is really sent never exceeds what is counted.
type spending struct {
	// Start is that of the window.
	Start time.Time `json:"start"`
	// Used are the units leased in it, Previous those of the window before, which sliding budgets weigh in.
	Used     int64 `json:"used"`
	Previous int64 `json:"previous,omitempty"`
	// Left is what the upstream still allows until LeftUntil, by its own count.
	Left      int64     `json:"left,omitempty"`
	LeftUntil time.Time `json:"left_until,omitzero"`
}

// windowAt is the start of the window that a moment is in.
func windowAt(at time.Time, length time.Duration) time.Time {
	since := at.UnixNano() % int64(length)
	return at.Add(-time.Duration(since))
}

// at is the spending in the window that starts at start. What is already in a later window stays as it is.
func (s spending) at(start time.Time, length time.Duration) spending {
	switch {
	case !s.Start.Before(start):
	case s.Start.Add(length).Equal(start):
		s.Start, s.Previous, s.Used = start, s.Used, 0
	default:
		s.Start, s.Previous, s.Used = start, 0, 0
	}
	return s
}

// free is how many units can be leased at a moment of the window. For a sliding budget the original's estimate, what is
// used plus the previous window's weighed by how much of it the last window's length still covers, rounded up, stays
// within the limit with all of them.
func (s spending) free(limit contracts.RateLimit, at time.Time) int64 {
	free := int64(limit.Limit) - s.Used
	if limit.IsSliding {
		free -= weighed(s.Previous, limit.Window-at.Sub(s.Start), limit.Window)
	}
	if at.Before(s.LeftUntil) {
		free = min(free, s.Left)
	}
	return max(free, 0)
}

// take leases units, which must be free; a negative number gives them back.
func (s spending) take(units int64) spending {
	s.Used += units
	if !s.LeftUntil.IsZero() {
		s.Left = max(s.Left-units, 0)
	}
	return s
}

// narrow takes the upstream's word for what is left until a moment, if that is less than we thought. What was said of
// an earlier count of the upstream's is forgotten.
func (s spending) narrow(left int64, until, now time.Time) spending {
	apart := until.Sub(s.LeftUntil).Abs()
	if !now.Before(s.LeftUntil) || apart > sameReset || left < s.Left {
		s.Left, s.LeftUntil = max(left, 0), until
	}
	return s
}

// again is the first moment at which units are free, if nobody takes any before. at is a moment of the window.
func (s spending) again(limit contracts.RateLimit, units int64, at time.Time) time.Time {
	end := s.Start.Add(limit.Window)
	again := end
	if limit.IsSliding {
		again = s.decayed(limit, units, end)
	}
	if free := int64(limit.Limit) - s.Used; !limit.IsSliding && free >= units {
		again = at
	}
	if at.Before(s.LeftUntil) && s.Left < units && again.Before(s.LeftUntil) {
		again = s.LeftUntil
	}
	return again
}

// decayed is when the weight of the past lets units go: in this window, or in the next, where this one is the past.
func (s spending) decayed(limit contracts.RateLimit, units int64, end time.Time) time.Time {
	room := int64(limit.Limit) - units
	if s.Used <= room {
		if in := decay(s.Previous, room-s.Used, limit.Window); in < limit.Window {
			return s.Start.Add(in)
		}
	}
	return end.Add(decay(s.Used, max(room, 0), limit.Window))
}

// weighed is count × part / whole, rounded up.
func weighed(count int64, part, whole time.Duration) int64 {
	if count <= 0 || part <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(count), uint64(min(part, whole)))
	quotient, rest := bits.Div64(high, low, uint64(whole))
	if rest > 0 {
		quotient++
	}
	return int64(min(quotient, math.MaxInt64))
}

// decay is after how much of a window the previous one's count weighs no more than most.
func decay(count, most int64, window time.Duration) time.Duration {
	if count <= most {
		return 0
	}
	high, low := bits.Mul64(uint64(most), uint64(window))
	covered, _ := bits.Div64(high, low, uint64(count))
	return window - time.Duration(covered)
}
