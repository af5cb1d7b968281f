package github

import "strings"

// link is one entry of a Link header (RFC 8288): an address and its parameters, of which the first of each name counts.
type link struct {
	target string
	params map[string]string
}

// has reports whether the link is of a relation, such as "next". A link may have several.
func (l link) has(relation string) bool {
	for rel := range strings.FieldsSeq(l.params["rel"]) {
		if strings.EqualFold(rel, relation) {
			return true
		}
	}
	return false
}

// parseLinks reads a Link header. Commas and semicolons within an address or a quoted text separate nothing. What is not a link is passed over.
func parseLinks(header string) []link {
	var links []link
	for rest := header; rest != ""; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		target, after, ok := strings.Cut(after, ">")
		if !ok {
			break
		}
		l := link{target: strings.TrimSpace(target), params: map[string]string{}}
		rest = l.readParams(after)
		links = append(links, l)
	}
	return links
}

// readParams reads parameters up to the comma that ends the link, and returns what follows.
func (l link) readParams(text string) (rest string) {
	for {
		end := strings.IndexAny(text, ";,")
		if end < 0 {
			return ""
		}
		separator := text[end]
		if text = text[end+1:]; separator == ',' {
			return text
		}
		name, value, after := readParam(text)
		if _, ok := l.params[name]; !ok && name != "" {
			l.params[name] = value
		}
		text = after
	}
}

// readParam reads one parameter, and returns what follows it.
func readParam(text string) (name, value, rest string) {
	end := strings.IndexAny(text, "=;,")
	if end < 0 {
		return strings.ToLower(strings.TrimSpace(text)), "", ""
	}
	name = strings.ToLower(strings.TrimSpace(text[:end]))
	if text[end] != '=' {
		return name, "", text[end:]
	}
	text = strings.TrimLeft(text[end+1:], " \t")
	if !strings.HasPrefix(text, `"`) {
		end = strings.IndexAny(text, ";,")
		if end < 0 {
			end = len(text)
		}
		return name, strings.TrimSpace(text[:end]), text[end:]
	}
	var quoted strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return name, quoted.String(), text[i+1:]
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		quoted.WriteByte(text[i])
	}
	return name, quoted.String(), ""
}
