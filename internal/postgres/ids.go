package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// sendIDs has a connection send ids as the 16 bytes that they are. By itself pgx would ask for their text, and read that again.
func sendIDs(_ context.Context, conn *pgx.Conn) error {
	types := conn.TypeMap()
	types.TryWrapEncodePlanFuncs = append([]pgtype.TryWrapEncodePlanFunc{wrapID}, types.TryWrapEncodePlanFuncs...)
	return nil
}

func wrapID(value any) (plan pgtype.WrappedEncodePlanNextSetter, next any, ok bool) {
	switch value := value.(type) {
	case uuid.UUID:
		return &idPlan{}, sentID(value), true
	case []uuid.UUID:
		return &idPlan{}, sentIDs(value), true
	}
	return nil, nil, false
}

// sentID is an id as pgx knows it.
type sentID uuid.UUID

// UUIDValue is what pgx asks for.
func (id sentID) UUIDValue() (pgtype.UUID, error) { return pgtype.UUID{Bytes: id, Valid: true}, nil }

func sentIDs(ids []uuid.UUID) pgtype.FlatArray[sentID] {
	if ids == nil {
		return nil
	}
	sent := make(pgtype.FlatArray[sentID], len(ids))
	for i, id := range ids {
		sent[i] = sentID(id)
	}
	return sent
}

// idPlan encodes what wrapID made of a value.
type idPlan struct{ next pgtype.EncodePlan }

func (p *idPlan) SetNext(next pgtype.EncodePlan) { p.next = next }

func (p *idPlan) Encode(value any, buf []byte) ([]byte, error) {
	_, next, _ := wrapID(value)
	return p.next.Encode(next, buf)
}
