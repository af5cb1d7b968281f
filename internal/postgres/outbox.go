package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// Outgoing is a message to be published once the transaction that writes it has committed. An empty ID means the outbox row's own.
type Outgoing struct {
	Subject string
	ID      string
	Header  map[string]string
	Body    []byte
}

// Publish writes messages to the outbox. A relay publishes each at least once, under its stable id, oldest first. It returns the error of [Tx.Accepts] for a message
// that the broker would refuse, and the caller's transaction ends with it.
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
		if err := tx.Accepts(m); err != nil {
			return fmt.Errorf("write to the outbox: %w", err)
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

// Accepts returns an error for a message that the broker would refuse, such as one that is too large for it.
func (tx *Tx) Accepts(m Outgoing) error {
	if tx.accepts == nil {
		return nil
	}
	return tx.accepts(m)
}

// Decode is the message that a row of the outbox holds. The error is for good.
func Decode(row *dbsqlc.Outbox) (Outgoing, error) {
	m := Outgoing{Subject: row.Subject, ID: row.MsgID, Body: row.Body}
	if err := json.Unmarshal(row.Headers, &m.Header); err != nil {
		return m, fmt.Errorf("decode the headers of outbox row %s: %w", row.ID, err)
	}
	return m, nil
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
