package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// OperationsKept is how long the business log remembers.
const OperationsKept = 365 * 24 * time.Hour

// Operation is something that was done for an integration: a row of the business log.
type Operation struct {
	Integration uuid.UUID
	// Operation is what was done, such as "sync" or "webhook".
	Operation string
	// Outbound is set when it was for the upstream to be changed; it is for us otherwise.
	Outbound bool
	// Status is "succeeded", "partial", "failed" or "cancelled".
	Status string
	// Subject is the id of what has the whole story: the run, the delivery.
	Subject string
	// ExternalID is the upstream's id of what it is about; it may be empty.
	ExternalID string
	// Summary is a line for people. Neither it nor Error or Details may hold secrets.
	Summary foreign.Text
	Error   foreign.Text
	// Details is a JSON object, or nil.
	Details        json.RawMessage
	Started, Ended time.Time
}

// LogOperations writes to the business log, in the transaction that ends the operations.
func (tx *Tx) LogOperations(ctx context.Context, operations ...Operation) error {
	if len(operations) == 0 {
		return nil
	}
	var p dbsqlc.OperationInsertManyParams
	for _, o := range operations {
		direction := "inbound"
		if o.Outbound {
			direction = "outbound"
		}
		if len(o.Details) == 0 {
			o.Details = json.RawMessage("{}")
		}
		p.Ids = append(p.Ids, NewID())
		p.IntegrationIds = append(p.IntegrationIds, o.Integration)
		p.Operations = append(p.Operations, o.Operation)
		p.Directions = append(p.Directions, direction)
		p.Statuses = append(p.Statuses, o.Status)
		p.Subjects = append(p.Subjects, o.Subject)
		p.ExternalIds = append(p.ExternalIds, o.ExternalID)
		p.Summaries = append(p.Summaries, o.Summary)
		p.Details = append(p.Details, o.Details)
		p.Errors = append(p.Errors, o.Error)
		p.StartedAts = append(p.StartedAts, o.Started)
		p.EndedAts = append(p.EndedAts, o.Ended)
	}
	if err := tx.OperationInsertMany(ctx, p); err != nil {
		return fmt.Errorf("write to the business log: %w", err)
	}
	return nil
}
