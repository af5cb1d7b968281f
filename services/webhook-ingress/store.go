package webhookingress

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// store hands the delivery to each integration that it is for, and answers once the broker has all. If it can't store one, the sender sends all again, and those that are stored count
// as copies.
func (g *Ingress) store(ctx context.Context, handler contracts.WebhookHandler, matching []*directory.Entry, req *contracts.WebhookRequest) answer {
	provider := matching[0].Provider()
	if g.backlog.refuses(provider) {
		return g.later("no room at this moment", "full")
	}
	is, err := g.idOf(ctx, handler, provider, req)
	if err != nil {
		return g.noAnswer(provider, err)
	}
	ctx, cancel := context.WithTimeout(ctx, g.Settings.StoreTimeout)
	defer cancel()
	duplicates := 0
	for _, entry := range matching {
		m, err := g.message(entry, req, is)
		if err != nil {
			entry.Log().Error("webhook could not be packed", "error", err)
			return answer{code: http.StatusInternalServerError, status: "this webhook can't be stored", label: "failed"}
		}
		duplicate, err := g.Bus.Offer(ctx, m)
		switch {
		case errors.Is(err, bus.ErrTooLarge):
			entry.Log().Error("webhook is larger than NATS accepts; raise its max_payload", "bytes", len(m.Body))
			return answer{code: http.StatusRequestEntityTooLarge, status: "a webhook can't be as large as this", label: "too-large"}
		case errors.Is(err, bus.ErrFull):
			entry.Log().Error("webhook refused: the stream is full of webhooks that are not in Postgres yet")
			return g.later("no room at this moment", "full")
		case err != nil:
			entry.Log().Warn("webhook refused: the broker did not store it", "error", err)
			return g.later("it could not be stored", "not-stored")
		}
		if duplicate {
			duplicates++
		}
		g.Crash("webhook-ingress: webhook stored")
	}
	if duplicates == len(matching) {
		return answer{code: http.StatusOK, status: "duplicate", label: "duplicate"}
	}
	return answer{code: http.StatusOK, status: "queued", label: "queued"}
}

// message is the delivery on its way to one integration. Its id lets the broker drop a copy for as long as it remembers; after that a unique key in Postgres does.
func (g *Ingress) message(entry *directory.Entry, req *contracts.WebhookRequest, is named) (wire.Message, error) {
	row, err := g.newID()
	if err != nil {
		return wire.Message{}, err
	}
	received := &eventsv1.WebhookReceived{Id: row.String(), IntegrationId: entry.ID(), Provider: entry.Provider(), DeliveryId: is.id}
	if !is.isUpstreams {
		received.Copy = req.ReceivedAt.UnixMicro()
	}
	if err := g.Deliveries.Pack(received, req); err != nil {
		return wire.Message{}, err
	}
	return wire.NewWork(wire.WebhooksSubject(entry.Provider(), entry.ID()), entry.ID()+"/"+is.id, received)
}

// newID makes an id that sorts by the time that all ingresses have in common. The package uuid would go by this machine's clock, and deliveries
// with an ordering key are handled in the order of their ids.
func (g *Ingress) newID() (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return id, err
	}
	// Whole milliseconds are corrected, so that ids within one keep their order.
	var at [8]byte
	copy(at[2:], id[:6])
	correction := time.Until(g.Now()).Round(time.Millisecond).Milliseconds()
	binary.BigEndian.PutUint64(at[:], binary.BigEndian.Uint64(at[:])+uint64(correction))
	copy(id[:6], at[2:])
	return id, nil
}
