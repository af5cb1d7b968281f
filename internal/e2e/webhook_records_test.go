package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// A webhook never overwrites a newer record, whatever the order in which they come.
func TestWebhookNeverOverwritesANewerRecord(t *testing.T) {
	w := newWorld(t)
	w.start("scheduler")
	w.start("item-worker")
	in := w.startIngress()
	// Its events have no handler here, so that they go to the table of records.
	id := w.createHooked("quiet")
	for n, seq := range []int64{5, 3, 9, 1, 7, 9, 8} {
		if !w.pushUntilTaken(in.url+"/integrations/quiet/one/webhook", fmt.Sprint(n), entry{ID: "r", Seq: seq}) {
			t.Fatal("not taken")
		}
		w.awaitWebhooks(id, "processed", n+1)
	}
	row, err := w.store.RecordGet(t.Context(), dbsqlc.RecordGetParams{IntegrationID: id, EventType: "quiet.Entry", ExternalID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	var kept entry
	if err := json.Unmarshal(row.Payload, &kept); err != nil || kept.Seq != 9 {
		t.Errorf("the record is %s (%v), want the newest version", row.Payload, err)
	}
	if code, status := w.push(in.url+"/integrations/quiet/one/webhook", "0", entry{ID: "r", Seq: 100}); code != http.StatusOK || status != "duplicate" {
		t.Errorf("another content under a known id: %d %s", code, status)
	}
}
