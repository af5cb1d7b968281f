package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// A webhook never overwrites a newer record, whatever the order in which they come.
func TestWebhookNeverOverwritesANewerRecord(t *testing.T) {
	w := newSteadyWorld(t)
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

// An item-worker dies after it has stored records, before and after the commit. Each record is told of all the same.
func TestRecordsAreToldOf(t *testing.T) {
	for _, point := range []string{"item-worker: records stored", "item-worker: records committed"} {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t)
			w.fill(120)
			processes := w.startAll("TRIBUTARY_CRASH_AT=" + point)
			crashed := make(chan struct{})
			go w.takeOver(processes, "item-worker", crashed)
			id := w.create("one", "table")
			w.wantRun(w.awaitClosed(id, 1), "succeeded", 120, 0)
			<-crashed
			w.await("the events of all records", func() bool {
				told := map[string]bool{}
				for _, body := range w.history(events.RecordsChanged) {
					m := &eventsv1.RecordsChanged{}
					if err := protojson.Unmarshal(body, m); err != nil {
						t.Fatal(err)
					}
					for _, record := range m.GetRecords() {
						told[record.GetExternalId()] = true
					}
				}
				return len(told) == 120
			})
		})
	}
}
