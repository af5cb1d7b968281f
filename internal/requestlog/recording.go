package requestlog

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"
	"unicode/utf8"
)

// recordedBytes is how much of a body is kept: what fits into a text column that other databases have, as the original
// does.
const recordedBytes = 65_530

// recording keeps the beginning of a body while it is read. A transport may go on reading a request's body after the
// answer has come, so it has a lock.
type recording struct {
	log *Log
	// unwanted says that only the size is of interest.
	unwanted bool
	// done is called once, at the end of the body.
	done func()

	mu   sync.Mutex
	kept []byte
	size int64
	// dropped says that there was no memory for it.
	dropped bool
	ended   bool
	// broken is why the body could not be read to its end.
	broken error
	// full says that more than what is kept has come. Of a body that turns out then to be no text, digest is that of
	// the whole.
	full   bool
	digest hash.Hash
}

// recordedBody is a body whose bytes are recorded as they are read.
type recordedBody struct {
	recording *recording
	body      io.ReadCloser
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.recording.add(p[:n])
	if err != nil {
		b.recording.fail(err)
		b.recording.end()
	}
	return n, err
}

func (b *recordedBody) Close() error {
	err := b.body.Close()
	b.recording.end()
	return err
}

// wrap records the body of a request, anew whenever the transport starts it over.
func (r *recording) wrap(req *http.Request) {
	if req.Body == nil || req.Body == http.NoBody {
		return
	}
	req.Body = &recordedBody{recording: r, body: req.Body}
	if again := req.GetBody; again != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			if err != nil {
				return nil, err
			}
			r.restart()
			return &recordedBody{recording: r, body: body}, nil
		}
	}
}

func (r *recording) add(p []byte) {
	if len(p) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.size += int64(len(p))
	if r.digest != nil {
		_, _ = r.digest.Write(p)
	}
	if r.unwanted || r.dropped || r.full {
		return
	}
	room := min(recordedBytes-len(r.kept), len(p))
	if !r.log.hold(room) {
		r.drop()
		return
	}
	r.kept = append(r.kept, p[:room]...)
	if r.full = room < len(p); r.full && !isText(r.kept, true) {
		r.digest = sha256.New()
		_, _ = r.digest.Write(r.kept)
		_, _ = r.digest.Write(p[room:])
	}
}

// drop gives the memory back that the body has. The caller has the lock.
func (r *recording) drop() {
	r.log.release(len(r.kept))
	r.kept, r.dropped = nil, true
}

func (r *recording) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.release(len(r.kept))
	r.kept, r.size, r.dropped, r.ended, r.full, r.digest, r.broken = nil, 0, false, false, false, nil, nil
}

// fail notes that a body broke off, as it does when the connection is lost.
func (r *recording) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended && !errors.Is(err, io.EOF) {
		r.broken = err
	}
}

func (r *recording) end() {
	r.mu.Lock()
	first := !r.ended
	r.ended = true
	r.mu.Unlock()
	if first && r.done != nil {
		r.done()
	}
}

// isText reports whether bytes are text that Postgres takes. Of a text that was cut, the last character may be
// incomplete.
func isText(p []byte, cut bool) bool {
	if utf8.Valid(p) {
		return bytes.IndexByte(p, 0) < 0
	}
	for i := 0; i < len(p); {
		if p[i] < utf8.RuneSelf {
			if p[i] == 0 {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(p[i:])
		if r == utf8.RuneError && size == 1 {
			return cut && !utf8.FullRune(p[i:])
		}
		i += size
	}
	return true
}
