package providertest

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// overlap checks a provider whose syncs enumerate everything again though nothing changed. One that starts somewhat before its cursor may do so where the
// records are near to each other, but not from a cursor that is far ahead of all of them.
func (k *kit) overlap(t *testing.T, provider contracts.IncrementalSync, cursor contracts.Cursor, all int) {
	if far, ok := farAhead(cursor); ok {
		session := &Session{From: far}
		if err := k.run(t, provider.SyncIncremental, session, k.upstream()); err != nil || len(session.Items()) < all {
			return
		}
		cursor = far
	}
	t.Errorf("nothing changed, but an incremental sync enumerates all %d items again, from the cursor %s: does it ask the upstream for what changed since, in the upstream's unit?",
		all, cursor)
}

// farAhead is a cursor that is far ahead of one that is a time or a number.
func farAhead(cursor contracts.Cursor) (contracts.Cursor, bool) {
	const years = 10
	var value any
	if at, err := cursor.Time(); err == nil {
		value = at.AddDate(years, 0, 0).Format(time.RFC3339)
	} else if number, err := strconv.ParseInt(string(cursor), 10, 64); err == nil && number > 0 && number*2 > number {
		value = number * 2
	} else {
		return nil, false
	}
	raw, err := json.Marshal(value)
	return contracts.Cursor(raw), err == nil
}
