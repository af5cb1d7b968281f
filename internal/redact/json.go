package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// path is a place in a JSON value: keys and indices from the top, * for every one.
type path []string

func paths(fields []string) []path {
	all := make([]path, 0, len(fields))
	for _, field := range fields {
		if field != "" {
			all = append(all, strings.Split(field, "."))
		}
	}
	return all
}

// declares reports whether a place is declared, or inside of one that is.
func declares(declared []path, place path) bool {
	return slices.ContainsFunc(declared, func(p path) bool {
		if len(place) < len(p) {
			return false
		}
		for i, element := range p {
			if element != "*" && element != place[i] {
				return false
			}
		}
		return true
	})
}

// secretKey reports whether a key of a JSON object is secret wherever it is. The list is short and exact, unlike that for other names: what is taken
// from an answer is gone, and keys such as "key" or "next_page_token" mean many things.
func secretKey(key string) bool {
	switch key {
	case "token", "secret", "access_token", "refresh_token", "id_token", "accessToken", "refreshToken", "idToken", "client_secret", "clientSecret", "password",
		"api_key", "apiKey", "private_key", "privateKey":
		return true
	}
	return false
}

// maySecretKey is a quick look whether a body can have any of those keys.
func maySecretKey(body []byte) bool {
	for _, part := range []string{"oken\"", "ecret\"", "password\"", "_key\"", "Key\""} {
		if bytes.Contains(body, []byte(part)) {
			return true
		}
	}
	return false
}

// mayDeclare is a quick look whether a body can have a declared place: the last key of its path would be in it, if not spelled with an escape.
func mayDeclare(body []byte, declared []path) bool {
	if len(declared) > 0 && bytes.IndexByte(body, '\\') >= 0 {
		return true
	}
	return slices.ContainsFunc(declared, func(p path) bool {
		for _, element := range slices.Backward(p) {
			// The others stand for an index, or any key.
			if element != "*" && strings.Trim(element, "0123456789") != "" {
				return bytes.Contains(body, []byte(element))
			}
		}
		return true
	})
}

// redactJSON replaces secret values in a JSON body, which may be cut, and leaves all other bytes as they are. What follows a mistake in the JSON
// can't be judged and is left out.
func redactJSON(body []byte, declared []path, found *findings) []byte {
	if !mayDeclare(body, declared) && !maySecretKey(body) {
		return body
	}
	w := jsonWalk{body: body, declared: declared, found: found, decoder: json.NewDecoder(bytes.NewReader(body))}
	w.decoder.UseNumber()
	for w.step() {
	}
	if w.shown == nil {
		return body
	}
	return append(w.shown, body[w.kept:]...)
}

// jsonWalk goes through a body token by token, and knows the place of each.
type jsonWalk struct {
	body     []byte
	declared []path
	found    *findings
	decoder  *json.Decoder
	place    path
	levels   []jsonLevel
	// shown has the body up to kept, without its secrets; nil as long as there were none.
	shown []byte
	kept  int
}

// jsonLevel is an object or an array that the walk is in.
type jsonLevel struct {
	object bool
	// key says that a key comes next.
	key   bool
	index int
}

// step takes one token, or a whole value where it is secret, and reports whether there may be more.
func (w *jsonWalk) step() bool {
	start := w.next()
	level := w.level()
	secret := false
	if level != nil && !(level.object && level.key) {
		if !level.object {
			w.place[len(w.place)-1] = strconv.Itoa(level.index)
		}
		secret = declares(w.declared, w.place)
	}
	token, err := w.decoder.Token()
	if err != nil {
		w.broken(start, secret || w.named(), err)
		return false
	}
	delimiter, _ := token.(json.Delim)
	if delimiter == ']' || delimiter == '}' {
		w.leave()
		return true
	}
	if level != nil && level.object && level.key {
		w.place[len(w.place)-1], _ = token.(string)
		level.key = false
		return true
	}
	text, isText := token.(string)
	if secret || isText && text != "" && w.named() {
		if delimiter != 0 && !w.skip() {
			w.cutAt(start, len(w.body))
			return false
		}
		w.find(token)
		w.cutAt(start, int(w.decoder.InputOffset()))
		delimiter = 0
	}
	if delimiter != 0 {
		w.levels = append(w.levels, jsonLevel{object: delimiter == '{', key: delimiter == '{'})
		w.place = append(w.place, "")
		return true
	}
	w.passed()
	return true
}

// next is where the next token begins.
func (w *jsonWalk) next() int {
	at := int(w.decoder.InputOffset())
	for at < len(w.body) && strings.IndexByte(" \t\r\n,:", w.body[at]) >= 0 {
		at++
	}
	return at
}

func (w *jsonWalk) level() *jsonLevel {
	if len(w.levels) == 0 {
		return nil
	}
	return &w.levels[len(w.levels)-1]
}

// named reports whether the value that comes next has a key that is always secret.
func (w *jsonWalk) named() bool {
	level := w.level()
	return level != nil && level.object && !level.key && secretKey(w.place[len(w.place)-1])
}

// leave ends an object or an array.
func (w *jsonWalk) leave() {
	w.levels, w.place = w.levels[:len(w.levels)-1], w.place[:len(w.place)-1]
	w.passed()
}

// passed notes that a value has ended.
func (w *jsonWalk) passed() {
	if level := w.level(); level != nil {
		level.index++
		level.key = level.object
	}
}

// skip reads to the end of the object or the array that has just begun.
func (w *jsonWalk) skip() bool {
	for depth := 1; depth > 0; {
		token, err := w.decoder.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		default:
			w.find(token)
		}
	}
	return true
}

// find notes a secret.
func (w *jsonWalk) find(token json.Token) {
	switch value := token.(type) {
	case string:
		w.found.add(value)
	case json.Number:
		w.found.add(value.String())
	}
}

func (w *jsonWalk) cutAt(start, end int) {
	w.shown = append(append(w.shown, w.body[w.kept:start]...), `"`+Redacted+`"`...)
	w.kept = end
}

// broken ends the walk at a token that can't be read: because the body ends there, or because it is not JSON.
func (w *jsonWalk) broken(start int, secret bool, err error) {
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case start >= len(w.body), ended && !secret:
	case ended:
		w.cutAt(start, len(w.body))
	default:
		w.shown = append(append(w.shown, w.body[w.kept:start]...), "[UNREADABLE "+strconv.Itoa(len(w.body)-start)+" bytes]"...)
		w.kept = len(w.body)
	}
}
