package postgres

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// MaxReceiptItems is how many items a batch may have: one for each bit of a receipt.
const MaxReceiptItems = 512

// Receipt says which items of a batch are finished. It is committed together with their effects in Postgres, or after effects elsewhere, and before NATS is told.
// So a database that went back to an earlier state lacks the receipts of all effects that it lacks.
type Receipt struct {
	Run            uuid.UUID
	Attempt, Batch int32
	// Done has one bit for each item by index, the lowest first.
	Done [MaxReceiptItems / 8]byte
}

// Add adds an item by its index, which is below [MaxReceiptItems].
func (r *Receipt) Add(index int32) { r.Done[index/8] |= 1 << (index % 8) }

// Has reports whether an item is in the receipt.
func (r *Receipt) Has(index int32) bool {
	return index < MaxReceiptItems && r.Done[index/8]&(1<<(index%8)) != 0
}

// AddReceipts writes receipts in one statement. Several of a batch add up.
func (s *Store) AddReceipts(ctx context.Context, receipts ...Receipt) error {
	return addReceipts(ctx, s.Queries, receipts)
}

// AddReceipts is [Store.AddReceipts] in the transaction of the effects.
func (tx *Tx) AddReceipts(ctx context.Context, receipts ...Receipt) error {
	return addReceipts(ctx, tx.Queries, receipts)
}

func addReceipts(ctx context.Context, q *dbsqlc.Queries, receipts []Receipt) error {
	var p dbsqlc.ReceiptAddManyParams
	for _, r := range receipts {
		p.RunIds, p.Attempts, p.Batches = append(p.RunIds, r.Run), append(p.Attempts, r.Attempt), append(p.Batches, r.Batch)
		p.Dones = append(p.Dones, hex.EncodeToString(r.Done[:]))
	}
	if err := q.ReceiptAddMany(ctx, p); err != nil {
		return fmt.Errorf("write receipts: %w", err)
	}
	return nil
}

// Receipts reads the receipts of an attempt in the transaction.
func (tx *Tx) Receipts(ctx context.Context, run uuid.UUID, attempt int32) ([]Receipt, error) {
	rows, err := tx.ReceiptList(ctx, run, attempt)
	if err != nil {
		return nil, fmt.Errorf("read receipts of run %s: %w", run, err)
	}
	receipts := make([]Receipt, len(rows))
	for i, row := range rows {
		receipts[i] = Receipt{Run: run, Attempt: attempt, Batch: row.Batch}
		copy(receipts[i].Done[:], row.Done.Bytes)
	}
	return receipts, nil
}
