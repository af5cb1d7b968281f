package contracts_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestCheckpointsKeepTheirBytes(t *testing.T) {
	tests := []struct {
		name  string
		value any
		want  string
	}{
		{"nothing", nil, ""},
		{"no bytes", contracts.Checkpoint{}, ""},
		{"a string", "1", `"1"`},
		{"an integer beyond 2^53", int64(9007199254740993), `9007199254740993`},
		{
			"a time", time.Date(2024, 3, 1, 10, 0, 0, 5, time.FixedZone("", 3600)),
			`"2024-03-01T10:00:00.000000005+01:00"`,
		},
		{"raw JSON", json.RawMessage(` 1.0 `), ` 1.0 `},
		{"a checkpoint", contracts.Checkpoint(`1e0`), `1e0`},
		{"a cursor", contracts.Cursor(`{"b":1,"a":12345678901234567890}`), `{"b":1,"a":12345678901234567890}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkpoint, err := contracts.NewCheckpoint(test.value)
			if err != nil || string(checkpoint) != test.want || (checkpoint == nil) != (test.want == "") {
				t.Errorf("NewCheckpoint = %q, %v; want %q", checkpoint, err, test.want)
			}
			cursor, err := contracts.NewCursor(test.value)
			if err != nil || string(cursor) != test.want || (cursor == nil) != (test.want == "") {
				t.Errorf("NewCursor = %q, %v; want %q", cursor, err, test.want)
			}
		})
	}
}

func TestNewCheckpointCopies(t *testing.T) {
	buffer := json.RawMessage(`"aaa"`)
	checkpoint, err := contracts.NewCheckpoint(buffer)
	if err != nil {
		t.Fatal(err)
	}
	copy(buffer, `"bbb"`)
	if string(checkpoint) != `"aaa"` {
		t.Errorf("the checkpoint changed with its buffer: %s", checkpoint)
	}
}

func TestNewCheckpointRefuses(t *testing.T) {
	fits := strings.Repeat("a", contracts.MaxCheckpointBytes-len(`""`))
	if _, err := contracts.NewCheckpoint(fits); err != nil {
		t.Errorf("a checkpoint of exactly the limit: %v", err)
	}
	if _, err := contracts.NewCheckpoint(fits + "a"); !errors.Is(err, contracts.ErrCheckpointTooLarge) {
		t.Errorf("a checkpoint beyond the limit: got %v", err)
	}
	if _, err := contracts.NewCursor(fits + "a"); err != nil {
		t.Errorf("a cursor has no limit: %v", err)
	}
	for name, value := range map[string]any{
		"a function": func() {}, "broken JSON": json.RawMessage(`{"a":`),
		"two values": contracts.Checkpoint(`1 2`),
	} {
		if got, err := contracts.NewCheckpoint(value); err == nil || got != nil {
			t.Errorf("%s: got %q, %v; want an error", name, got, err)
		}
	}
}

func TestCursorTime(t *testing.T) {
	got, err := contracts.Cursor(`"2024-03-01T10:00:00+01:00"`).Time()
	if want := time.Date(2024, 3, 1, 9, 0, 0, 0, time.UTC); err != nil || !got.Equal(want) {
		t.Errorf("Time = %s, %v; want %s", got, err, want)
	}
	for _, cursor := range []string{"", "null", `12`, `"yesterday"`, `{}`} {
		if got, err := contracts.Cursor(cursor).Time(); err == nil {
			t.Errorf("Time of %q = %s; want an error", cursor, got)
		}
	}
}

func TestCursorsWithinJSONAreJSON(t *testing.T) {
	type run struct {
		Cursor     contracts.Cursor     `json:"cursor"`
		Checkpoint contracts.Checkpoint `json:"checkpoint"`
		None       contracts.Cursor     `json:"none"`
	}
	want := run{Cursor: contracts.Cursor(`{"page":9007199254740993}`), Checkpoint: contracts.Checkpoint(`1.0`)}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"cursor":{"page":9007199254740993},"checkpoint":1.0,"none":null}`, string(raw)); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
	var got run
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	var page struct{ Page int64 }
	if err := got.Cursor.Decode(&page); err != nil || page.Page != 9007199254740993 {
		t.Errorf("Decode = %d, %v", page.Page, err)
	}
}
