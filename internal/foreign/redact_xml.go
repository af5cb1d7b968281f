package foreign

import "strings"

// redactElements redacts the content of elements of XML whose names are secret, also where the XML is escaped. What an
// element that is not closed begins is left out to the end of the text, which may have been cut.
func redactElements(text string) string {
	for _, spelled := range []struct{ open, close string }{{"<", ">"}, {"&lt;", "&gt;"}, {`\u003c`, `\u003e`}} {
		if strings.Contains(text, spelled.open+"/") || strings.Contains(text, spelled.open+"?xml") || strings.Contains(text, "xmlns") {
			text = redactSpelled(text, spelled.open, spelled.close)
		}
	}
	return text
}

// redactSpelled is redactElements for one spelling of the brackets.
func redactSpelled(text, opening, closing string) string {
	var shown strings.Builder
	kept, at := 0, 0
	for {
		next := strings.Index(text[at:], opening)
		if next < 0 {
			break
		}
		at += next + len(opening)
		name := elementName(text[at:])
		if !isSecretElement(name) {
			continue
		}
		head := strings.Index(text[at:], closing)
		if head < 0 {
			break
		}
		start := at + head + len(closing)
		if strings.HasSuffix(text[at:at+head], "/") {
			at = start
			continue
		}
		end := len(text)
		if i := strings.Index(text[start:], opening+"/"+name+closing); i >= 0 {
			end = start + i
		}
		if start < end && text[start:end] != Redacted {
			shown.WriteString(text[kept:start])
			shown.WriteString(Redacted)
			kept = end
		}
		at = end
	}
	if kept == 0 {
		return text
	}
	shown.WriteString(text[kept:])
	return shown.String()
}

// elementName is the name that a tag begins with, its prefix included.
func elementName(tag string) string {
	end := 0
	for end < min(len(tag), longestName) && (isAlphanumeric(tag[end]) || strings.IndexByte("-_.:", tag[end]) >= 0) {
		end++
	}
	return tag[:end]
}

// isSecretElement leaves out names that mean many things: the code of an error, the key of an object.
func isSecretElement(name string) bool {
	local := name[strings.LastIndexByte(name, ':')+1:]
	return local != "" && !strings.EqualFold(local, "code") && !strings.EqualFold(local, "key") && SecretName(local)
}
