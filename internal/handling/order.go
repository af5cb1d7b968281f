package handling

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// mostLeftBehind is for how many records of a batch a provider's code may not return. Then the records that it was not
// asked for have failed this try too.
const mostLeftBehind = 3

// order asks the provider which version of each record is newer than another. It returns the records that may be
// stored, and the others with their errors: a record whose checkpoint can't be ordered fails alone.
func (w *Work) order(ctx context.Context, records []record) ([]record, []Handled) {
	orderer, ok := w.Provider.(contracts.CheckpointOrderer)
	if !ok {
		return records, nil
	}
	ordered := make([]record, 0, len(records))
	var failed []Handled
	fail := func(r record, err error) {
		err = fmt.Errorf("order the checkpoint of %s %s: %w", r.item.GetEventType(), r.id, err)
		failed = append(failed, Handled{Item: r.item, Err: err})
	}
	rest, cause := records, error(nil)
	for behind := 0; len(rest) > 0 && behind < mostLeftBehind && ctx.Err() == nil; behind++ {
		o := &ordering{records: rest, keys: make([]string, len(rest)), errs: make([]error, len(rest))}
		_, cause = Ask(ctx, w.Handlers, "the order of checkpoints", func() (struct{}, error) {
			o.run(orderer)
			return struct{}{}, nil
		})
		o.left.Store(true)
		asked := o.asked.Load()
		for i, r := range rest[:asked] {
			if o.errs[i] != nil {
				fail(r, contracts.Permanent(o.errs[i]))
				continue
			}
			// A text column has no place for U+0000; the next character keeps the order.
			r.key = strings.ReplaceAll(o.keys[i], "\x00", "\x01")
			ordered = append(ordered, r)
		}
		if rest = rest[asked:]; len(rest) > 0 && ctx.Err() == nil {
			fail(rest[0], cause)
			rest = rest[1:]
		}
	}
	if ctx.Err() != nil {
		cause = PutOff(ErrStopping) // which is no fault of the provider's
	}
	for _, r := range rest {
		fail(r, cause)
	}
	return ordered, failed
}

// ordering is what a provider says of records, one after the other. What it has said of the first of them, as many as
// were asked for, may be read while it is still at work on the next.
type ordering struct {
	records []record
	keys    []string
	errs    []error
	asked   atomic.Int32
	// left says that nobody waits any more.
	left atomic.Bool
}

func (o *ordering) run(orderer contracts.CheckpointOrderer) {
	for i, r := range o.records {
		if checkpoint := r.item.GetCheckpoint(); len(checkpoint) > 0 {
			o.errs[i] = panics.Try("the order of checkpoints", func() (err error) {
				o.keys[i], err = orderer.CheckpointKey(checkpoint)
				return err
			})
		}
		if o.left.Load() {
			break
		}
		o.asked.Add(1)
	}
}

// newest keeps the newest version of each record, for one statement can't touch a row twice.
func newest(records []record) []record {
	rows := make([]record, 0, len(records))
	at := make(map[[2]string]int, len(records))
	for _, row := range records {
		name := [2]string{row.item.GetEventType(), row.id}
		if previous, found := at[name]; !found {
			at[name] = len(rows)
			rows = append(rows, row)
		} else if rows[previous].key <= row.key || row.key == "" {
			rows[previous] = row
		}
	}
	return rows
}

// rowID is the id of a record: one without an id of its own is known by its payload.
func rowID(externalID string, payload []byte) string {
	if externalID != "" {
		return externalID
	}
	sum := sha256.Sum256(payload)
	return "sha256:" + hex.EncodeToString(sum[:])
}
