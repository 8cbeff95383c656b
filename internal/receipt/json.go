package receipt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// openJSON takes the receipt out of a JSON object, such as the body of a request
// to verifyReceipt, or out of an array of one. Other JSON is named for what it is.
func openJSON(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	var value json.RawMessage
	err := decoder.Decode(&value)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: %s, without its end", ErrNotAReceipt, cutJSON(text))
	case err != nil:
		return nil, fmt.Errorf("%w: that begins like JSON and is none", ErrNotAReceipt)
	case len(bytes.TrimSpace(text[decoder.InputOffset():])) > 0:
		return nil, fmt.Errorf("%w: that is more than one JSON value, as the lines of a file for 'revalidator import': hand in one receipt", ErrNotAReceipt)
	case value[0] == '[':
		return openArray(value)
	}
	return openObject(value)
}

func openArray(text []byte) ([]byte, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(text, &elements); err != nil {
		return nil, fmt.Errorf("%w: that begins like JSON and is none", ErrNotAReceipt)
	}
	switch len(elements) {
	case 0:
		return nil, ErrEmpty
	case 1:
		return elements[0], nil
	}
	return nil, fmt.Errorf("%w: that is a JSON array of %d elements: hand in one receipt", ErrNotAReceipt, len(elements))
}

func openObject(text []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("%w: that begins like JSON and is none", ErrNotAReceipt)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if len(name) > maxName || !isReceiptName(name) {
			continue
		}
		switch value := fields[name]; {
		case value[0] == '"', value[0] == '[':
			return value, nil
		case value[0] == '{' && fields["status"] == nil: // else it is what Apple read in the receipt
			return value, nil
		}
	}
	if string(fields["type"]) == `"Buffer"` {
		return nodeBuffer(fields["data"])
	}
	return nil, fmt.Errorf("%w: %s", ErrNotAReceipt, objectMistakenFor(fields))
}

// nodeBuffer reads the numbers that Node.js writes of bytes.
func nodeBuffer(data json.RawMessage) ([]byte, error) {
	var numbers []octet
	if err := json.Unmarshal(data, &numbers); err != nil {
		return nil, fmt.Errorf("%w: a JSON object of a Buffer that cannot be read", ErrNotAReceipt)
	}
	buffer := make([]byte, len(numbers))
	for i, n := range numbers {
		buffer[i] = byte(n)
	}
	return buffer, nil
}

// octet is a byte as a number: a []byte would be read from base64.
type octet uint8
