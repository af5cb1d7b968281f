package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// MetadataFlags give an integration's metadata.
type MetadataFlags struct {
	Metadata     []string `sep:"none" placeholder:"KEY=VALUE" help:"A field of the metadata. A value that is JSON is taken as such, anything else as text; quote a number that is text: 'id=\"7\"'. A dot goes into an object: owner.email=…"`
	MetadataFile string   `placeholder:"FILE" help:"The metadata as a JSON object."`
}

// CredentialFlags give an integration's credentials.
type CredentialFlags struct {
	Credential      []string `sep:"none" placeholder:"KEY=VALUE" help:"A field of the credentials, as text: KEY=@FILE or KEY=- (standard input); or KEY=VALUE for one that is no secret, such as a user's name."`
	CredentialsFile string   `placeholder:"FILE" help:"The credentials as a JSON object; - is the standard input."`
}

// object is the metadata, nil when nothing is given.
func (f MetadataFlags) object() (json.RawMessage, error) {
	fields, err := readObject("--metadata-file", f.MetadataFile, nil)
	if err != nil {
		return nil, err
	}
	for _, flag := range f.Metadata {
		key, value, err := cut("metadata", flag)
		if err != nil {
			return nil, err
		}
		if fields, err = put("metadata", fields, key, jsonOrText(value)); err != nil {
			return nil, err
		}
	}
	return encodeFields(fields)
}

// object is the credentials, nil when nothing is given.
func (f CredentialFlags) object(in io.Reader) (json.RawMessage, error) {
	fields, err := f.fields(in)
	if err != nil {
		return nil, err
	}
	return encodeFields(fields)
}

func (f CredentialFlags) fields(in io.Reader) (map[string]any, error) {
	fields, err := readObject("--credentials-file", f.CredentialsFile, in)
	if err != nil {
		return nil, err
	}
	fromInput := f.CredentialsFile == "-"
	for _, flag := range f.Credential {
		key, value, err := cut("credential", flag)
		if err != nil {
			return nil, err
		}
		switch {
		case value == "-" && fromInput:
			return nil, usagef("the standard input can be read for one credential only")
		case value == "-":
			fromInput = true
			if value, err = readText(in, "the standard input"); err != nil {
				return nil, err
			}
		case strings.HasPrefix(value, "@"):
			if value, err = readFile("--credential "+key, value[1:]); err != nil {
				return nil, err
			}
		case isSecret(key):
			return nil, usagef("--credential: %[1]s would be there for all to see who call ps; write %[1]s=@FILE, or %[1]s=- for the standard input", key)
		}
		if fields, err = put("credential", fields, key, value); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// isSecret reports whether a field's name says that it is a secret, by the words that the original masks.
func isSecret(key string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc([]string{"secret", "token", "key", "password"}, func(word string) bool { return strings.Contains(key, word) })
}

// cut takes KEY=VALUE apart. Its error doesn't show the flag, which may be a secret without a key.
func cut(flag, text string) (key, value string, err error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return "", "", usagef("--%s takes KEY=VALUE", flag)
	}
	return key, value, nil
}

// put sets a field, inside of objects where the key has dots.
func put(flag string, fields map[string]any, key string, value any) (map[string]any, error) {
	if fields == nil {
		fields = map[string]any{}
	}
	first, rest, nested := strings.Cut(key, ".")
	if first == "" || nested && rest == "" {
		return nil, usagef("--%s: a part of the key %q is empty", flag, key)
	}
	existing, taken := fields[first]
	if !nested {
		if taken {
			return nil, usagef("--%s: %q is given twice", flag, key)
		}
		fields[first] = value
		return fields, nil
	}
	inner, isObject := existing.(map[string]any)
	if taken && !isObject {
		return nil, usagef("--%s: %q is given twice", flag, first)
	}
	inner, err := put(flag, inner, rest, value)
	if err != nil {
		return nil, err
	}
	fields[first] = inner
	return fields, nil
}

// jsonOrText takes a value as JSON if it is that, and else as text.
func jsonOrText(value string) any {
	decoded, err := decodeJSON([]byte(value))
	if err != nil {
		return value
	}
	return decoded
}

// readObject reads a JSON object from a file, from in for "-". No file is no object.
func readObject(flag, path string, in io.Reader) (map[string]any, error) {
	if path == "" {
		return nil, nil
	}
	var text string
	var err error
	if path == "-" && in != nil {
		text, err = readText(in, "the standard input")
	} else {
		text, err = readFile(flag, path)
	}
	if err != nil {
		return nil, err
	}
	decoded, err := decodeJSON([]byte(text))
	object, ok := decoded.(map[string]any)
	if err != nil || !ok {
		return nil, usagef("%s: %s does not hold a JSON object", flag, path)
	}
	return object, nil
}

func decodeJSON(raw []byte) (any, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("not JSON")
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err := decoder.Decode(&value)
	return value, err
}

func encodeFields(fields map[string]any) (json.RawMessage, error) {
	if fields == nil {
		return nil, nil
	}
	return json.Marshal(fields)
}

// readFile reads the file that a flag names.
func readFile(flag, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", usagef("%s: %v", flag, err)
	}
	defer func() { _ = file.Close() }()
	return readText(file, path)
}

// readText drops the line end that editors and echo add.
func readText(in io.Reader, from string) (string, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", from, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}
