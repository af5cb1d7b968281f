package upstream

import (
	"math/rand/v2"
	"sort"
	"time"
)

// rule makes the first records from their numbers. An issue's position is its place in the order of updates: a permutation of the numbers, so
// that neither order needs a table.
type rule struct {
	issues, comments   int
	commentEvery       int
	pulls, nulls       int
	tie                int
	step               time.Duration
	seed               uint64
	factor, back, plus uint64
	first              time.Time
}

func newRule(opts Options) rule {
	r := rule{
		issues: opts.Issues, commentEvery: opts.CommentEvery, pulls: opts.PullRequestEvery, nulls: opts.NullPullRequestEvery,
		tie: opts.Tie, step: opts.Step, seed: opts.Seed,
	}
	if r.issues == 0 {
		return r
	}
	if r.commentEvery > 0 {
		r.comments = (r.issues + r.commentEvery - 1) / r.commentEvery
	}
	n := uint64(r.issues)
	random := rand.New(rand.NewPCG(r.seed, n))
	for r.factor = 1 + random.Uint64N(n); gcd(r.factor, n) != 1; r.factor = 1 + random.Uint64N(n) {
	}
	r.factor %= n
	r.back = inverse(r.factor, n)
	r.plus = random.Uint64N(n)
	last := (r.issues - 1) / r.tie
	r.first = newest().Add(-gap - time.Duration(max(last-1, 0))*r.step)
	return r
}

// numberAt is the number of the issue at a position.
func (r rule) numberAt(position int) int {
	n := uint64(r.issues)
	return 1 + int((r.factor*uint64(position)+r.plus)%n)
}

// positionOf is the position of an issue.
func (r rule) positionOf(number int) int {
	n := uint64(r.issues)
	return int(r.back * ((uint64(number-1) + n - r.plus) % n) % n)
}

func (r rule) has(number int) bool { return 1 <= number && number <= r.issues }

// timeAt is when the issue at a position was updated. It never falls.
func (r rule) timeAt(position int) time.Time {
	group, last := position/r.tie, (r.issues-1)/r.tie
	if group == last {
		return newest()
	}
	return r.first.Add(time.Duration(group) * r.step)
}

// since is the first position that was updated at t or later.
func (r rule) since(t time.Time) int {
	return sort.Search(r.issues, func(p int) bool { return !r.timeAt(p).Before(t) })
}

func (r rule) isPull(number int) bool { return r.pulls > 0 && number%r.pulls == 0 }

// commentOf is the index of the comment that the issue at a position has.
func (r rule) commentOf(position int) (int, bool) {
	if r.commentEvery <= 0 || position%r.commentEvery != 0 {
		return 0, false
	}
	return position / r.commentEvery, true
}

// created is when an issue was opened: in the order of the numbers, before all updates.
func (r rule) created(number int) time.Time {
	return r.first.Add(-24 * time.Hour).Add(-time.Duration(r.issues-number) * time.Minute)
}

// closed reports whether the rule closed an issue.
func (r rule) closed(number int) bool { return mix(r.seed, uint64(number))%5 < 2 }

// random is the source of all that is arbitrary about one record.
func (r rule) random(kind string, number int) *rand.Rand {
	return rand.New(rand.NewPCG(r.seed^uint64(len(kind))<<32, uint64(number)))
}

// mix scrambles a number, the same way for the same seed.
func mix(seed, n uint64) uint64 {
	n += seed + 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// inverse is the x with a·x ≡ 1 (mod n); a and n have no common factor.
func inverse(a, n uint64) uint64 {
	if n == 1 {
		return 0
	}
	t, next := int64(0), int64(1)
	r, rest := int64(n), int64(a)
	for rest != 0 {
		q := r / rest
		t, next = next, t-q*next
		r, rest = rest, r-q*rest
	}
	if t < 0 {
		t += int64(n)
	}
	return uint64(t)
}
