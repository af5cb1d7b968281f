package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// Outgoing is a message to be published once the transaction that writes it has committed. An empty ID means the outbox row's own.
type Outgoing struct {
	Subject string
	ID      string
	Header  map[string]string
	Body    []byte
}

// Publish writes messages to the outbox. A relay publishes each at least once, under its stable id, oldest first.
func (tx *Tx) Publish(ctx context.Context, now time.Time, messages ...Outgoing) error {
	if len(messages) == 0 {
		return nil
	}
	params := dbsqlc.OutboxInsertManyParams{Now: now}
	for _, m := range messages {
		id := NewID()
		if m.ID == "" {
			m.ID = id.String()
		}
		header, err := json.Marshal(m.Header)
		if err != nil {
			return fmt.Errorf("encode headers of %s: %w", m.Subject, err)
		}
		params.Ids = append(params.Ids, id)
		params.Subjects = append(params.Subjects, m.Subject)
		params.MsgIds = append(params.MsgIds, m.ID)
		params.Headers = append(params.Headers, header)
		params.Bodies = append(params.Bodies, m.Body)
	}
	if err := tx.OutboxInsertMany(ctx, params); err != nil {
		return fmt.Errorf("write to the outbox: %w", err)
	}
	return nil
}

// Relay publishes up to most messages of the outbox and deletes them in one transaction, and returns how many there were. Several relays
// share the work; a crash between publication and commit publishes again, under the same ids.
func (s *Store) Relay(ctx context.Context, most int, publish func(context.Context, Outgoing) error) (relayed int, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		rows, err := tx.OutboxClaim(ctx, int32(most))
		if err != nil {
			return fmt.Errorf("claim from the outbox: %w", err)
		}
		ids := make([]uuid.UUID, 0, len(rows))
		for _, row := range rows {
			m := Outgoing{Subject: row.Subject, ID: row.MsgID, Body: row.Body}
			if err := json.Unmarshal(row.Headers, &m.Header); err != nil {
				return fmt.Errorf("decode headers of outbox row %s: %w", row.ID, err)
			}
			if err := publish(ctx, m); err != nil {
				return err
			}
			ids = append(ids, row.ID)
		}
		if relayed = len(ids); relayed == 0 {
			return nil
		}
		return tx.OutboxDelete(ctx, ids)
	})
	return relayed, err
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
