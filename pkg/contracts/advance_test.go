package contracts_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// merging is a reducer whose cursor is a structure, written anew each time: the latest page of every shard.
type merging struct{}

func (merging) ReduceCheckpoints(checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	merged := map[string]int{}
	for _, c := range checkpoints {
		var shards map[string]int
		if err := json.Unmarshal(c, &shards); err != nil {
			return nil, err
		}
		for shard, page := range shards {
			merged[shard] = max(merged[shard], page)
		}
	}
	return contracts.NewCursor(merged)
}

type byRule struct{ contracts.MaxNumber }

// CursorAdvances lets the cursor go down only.
func (byRule) CursorAdvances(current, candidate contracts.Cursor) bool {
	return string(candidate) < string(current)
}

type failing struct{}

var errReducer = errors.New("reducer failed")

func (failing) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) {
	return nil, errReducer
}

type silent struct{}

func (silent) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) { return nil, nil }

func TestAdvances(t *testing.T) {
	tests := []struct {
		name               string
		provider           any
		current, candidate string
		want               bool
	}{
		{"first cursor", contracts.MaxNumber{}, "", `1`, true},
		{"first cursor over null", contracts.MaxNumber{}, "null", `1`, true},
		{"no candidate", contracts.MaxNumber{}, `1`, "", false},
		{"null candidate", contracts.MaxNumber{}, `1`, " null", false},
		{"neither", contracts.MaxNumber{}, "", "", false},
		{"forward", contracts.MaxNumber{}, `9`, `10`, true},
		{"backward", contracts.MaxNumber{}, `10`, `9`, false},
		{"same", contracts.MaxNumber{}, `10`, `10`, false},
		{"same number, other spelling", contracts.MaxNumber{}, `10`, `1.0e1`, false},
		{"beyond 2^53", contracts.MaxNumber{}, `9007199254740992`, `9007199254740993`, true},
		{
			"later instant, smaller text",
			contracts.MaxTime{},
			`"2024-03-01T10:00:00+02:00"`, `"2024-03-01T09:00:00Z"`,
			true,
		},
		{
			"earlier instant, greater text",
			contracts.MaxTime{},
			`"2024-03-01T09:00:00Z"`, `"2024-03-01T10:00:00+02:00"`,
			false,
		},
		{"structure forward, other key order", merging{}, `{"a":1,"b":2}`, `{"b": 3, "a": 1}`, true},
		{"structure the same, other key order", merging{}, `{"a":1,"b":2}`, `{"b":2,"a":1}`, false},
		{"structure forward in one place and backward in another", merging{}, `{"a":1,"b":2}`, `{"a":2,"b":1}`, false},
		{"number and string differ", anything{}, `1`, `"1"`, true},
		{"own rule, backward", byRule{}, `2`, `1`, true},
		{"own rule, forward", byRule{}, `1`, `2`, false},
		{"own rule is not asked about the first", byRule{}, "", `2`, true},
		{"the reducer returns nothing", silent{}, `1`, `2`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := contracts.Advances(test.provider, contracts.Cursor(test.current),
				contracts.Cursor(test.candidate))
			if err != nil || got != test.want {
				t.Errorf("Advances(%s, %s) = %v, %v; want %v", test.current, test.candidate, got, err, test.want)
			}
		})
	}
}

func TestAdvancesReportsErrors(t *testing.T) {
	if _, err := contracts.Advances(failing{}, contracts.Cursor(`1`), contracts.Cursor(`2`)); !errors.Is(err,
		errReducer) {
		t.Errorf("error of the reducer: got %v", err)
	}
	for name, test := range map[string]struct {
		provider           any
		current, candidate string
	}{
		"no reducer":              {struct{}{}, `1`, `2`},
		"current is not JSON":     {anything{}, `{`, `2`},
		"candidate is not JSON":   {anything{}, `1`, `2 3`},
		"a cursor of wrong kind":  {contracts.MaxTime{}, `1`, `2`},
		"a cursor of mixed kinds": {contracts.MaxNumber{}, `"a"`, `2`},
	} {
		if advances, err := contracts.Advances(test.provider, contracts.Cursor(test.current),
			contracts.Cursor(test.candidate)); err == nil || advances {
			t.Errorf("%s: got %v, %v; want an error", name, advances, err)
		}
	}
}
