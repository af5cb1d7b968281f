package providertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// strangers checks that a stored cursor which the provider can't read, such as one of an earlier version of it, is not taken for "nothing has changed".
func (k *kit) strangers(t *testing.T, provider contracts.IncrementalSync) {
	full := k.full(t, provider)
	cursor := string(reduce(t, provider, full.Checkpoints()))
	if cursor == "" {
		return // sync has said so
	}
	strange := contracts.Cursor(`["a cursor of another version"]`)
	if strings.HasPrefix(cursor, "[") {
		strange = contracts.Cursor("true")
	}
	session := &Session{From: strange}
	err := k.run(t, provider.SyncIncremental, session, k.upstream())
	if found, all := len(session.Items()), len(full.Items()); err == nil && found < all {
		t.Errorf("from the stored cursor %s, which is none of the provider's (those look like %s), SyncIncremental finds %d of %d items and returns nil: the others are lost. "+
			"Return contracts.Permanent, or enumerate everything", strange, cursor, found, all)
	}
}

// between checks cursors that are older than the newest record, as after a run that found little: all that has changed since comes. A cursor that is read as
// another number, as a float32 would, passes over some. Only a reducer that is associative says which records those are.
func (k *kit) between(t *testing.T, provider contracts.IncrementalSync) {
	if _, ok := provider.(contracts.AssociativeReducer); !ok {
		return
	}
	items := k.full(t, provider).Items()
	if len(items) == 0 {
		return // sync has said so
	}
	for _, at := range distinct(0, len(items)/2, len(items)*3/4) {
		if items[at].Checkpoint == "" {
			continue
		}
		cursor := reduce(t, provider, []contracts.Checkpoint{contracts.Checkpoint(items[at].Checkpoint)})
		found := k.since(t, provider, cursor).Items()
		for _, item := range items {
			later, err := contracts.Advances(provider, cursor, contracts.Cursor(item.Checkpoint))
			if err == nil && later && !slices.Contains(found, item) {
				t.Errorf("an incremental sync from the cursor %s does not find %s %q, whose checkpoint %s is later: is the cursor read as it was written?",
					cursor, item.Event, item.ExternalID, item.Checkpoint)
				return
			}
		}
	}
}
