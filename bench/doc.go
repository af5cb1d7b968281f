// Command bench measures Tributary whole, from a due integration to the moved cursor, and beside it, in the same run on the same servers:
// the broker alone with one message for each item, River with one job for each item, and Postgres alone with batched upserts. Absolute
// figures say much about the machine; the ratios at the end of the table are the result.
//
// It starts an embedded nats-server and a PostgreSQL of its own, and prints Markdown:
//
//	go -C bench run . -rounds 3 -sizes 10k,100k,1m
package main
