package redact

import (
	"bytes"
	"mime"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/tributaryhq/tributary/internal/foreign"
)

// redactParts redacts the parts of a multipart body, which may be cut. Of a file only its size is kept.
func redactParts(body []byte, boundary string, declared []path, found *findings) []byte {
	if boundary == "" {
		return []byte("[UNREADABLE " + strconv.Itoa(len(body)) + " bytes]")
	}
	delimiter := []byte("--" + boundary)
	var shown bytes.Buffer
	for first := true; len(body) > 0; first = false {
		end := bytes.Index(body, delimiter)
		if end < 0 {
			end = len(body)
		}
		if first {
			shown.Write(body[:end])
		} else {
			shown.Write(redactPart(body[:end], declared, found))
		}
		body = body[end:]
		if len(body) > 0 {
			shown.Write(delimiter)
			body = body[len(delimiter):]
		}
	}
	return shown.Bytes()
}

// redactPart takes a part from behind its delimiter to before the next.
func redactPart(part []byte, declared []path, found *findings) []byte {
	gap := []byte("\r\n\r\n")
	if lines := []byte("\n\n"); !bytes.Contains(part, gap) && bytes.Contains(part, lines) {
		gap = lines
	}
	head, content, whole := bytes.Cut(part, gap)
	if !whole {
		return part
	}
	header := func(name string) string {
		for line := range strings.Lines(string(head)) {
			if key, value, ok := strings.Cut(line, ":"); ok && textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(key)) == name {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}
	_, parameters, _ := mime.ParseMediaType(header("Content-Disposition"))
	name := parameters["name"]
	content, ending := bytes.CutSuffix(content, []byte("\r\n"))
	switch {
	case parameters["filename"] != "":
		content = []byte("[" + strconv.Itoa(len(content)) + " bytes]")
	case foreign.SecretName(name), declares(declared, fieldPath(name)):
		found.add(string(content))
		content = []byte(Redacted)
	case strings.Contains(header("Content-Type"), "json"), looksLikeJSON(content):
		content = redactJSON(content, declared, found)
	default:
		content = []byte(foreign.Redact(string(content)))
	}
	result := bytes.Join([][]byte{head, content}, gap)
	if ending {
		result = append(result, "\r\n"...)
	}
	return result
}
