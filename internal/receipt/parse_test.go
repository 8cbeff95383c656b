package receipt

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/iap"
)

// simulated is a receipt of the simulator, of iOS 7 and of iOS 6, whose base64
// has a + and is padded, so that what transports do to it does damage.
func simulated(t testing.TB, style applesim.Style) []byte {
	t.Helper()
	start := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	story := applesim.Story{BundleID: "com.example.reader", Bought: start.AddDate(0, -3, 0), Period: applesim.Monthly, Style: style}
	sim, err := applesim.New(applesim.Config{Seed: 1, Stories: slices.Repeat([]applesim.Story{story}, 20), Start: start})
	if err != nil {
		t.Fatal(err)
	}
	for customer := range 20 {
		r, err := sim.Receipt(customer)
		if err != nil {
			t.Fatal(err)
		}
		text := base64.StdEncoding.EncodeToString(r.Data)
		if strings.HasSuffix(text, "=") && (style == applesim.StyleTransaction || strings.Contains(text, "+")) {
			return r.Data
		}
	}
	t.Fatal("no receipt of the simulator has a + and padding")
	return nil
}

// broken breaks a text into lines.
func broken(text, end string) string {
	var lines []string
	for line := range slices.Chunk([]byte(text), 64) {
		lines = append(lines, string(line))
	}
	return strings.Join(lines, end)
}

func utf16Of(text string, bigEndian bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		if bigEndian {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// damages are what transports do to the base64 of a receipt.
func damages(data []byte) map[string]string {
	std := base64.StdEncoding.EncodeToString(data)
	digits := hex.EncodeToString(data)
	numbers := make([]int, len(data))
	for i, c := range data {
		numbers[i] = int(c)
	}
	escaped := strings.ReplaceAll(strings.ReplaceAll(broken(std, "\r\n"), "\r\n", `\r\n`), "/", `\/`)
	form := url.Values{"receipt-data": {std}, "password": {"0123456789abcdef0123456789abcdef"}}.Encode()
	return map[string]string{
		"untouched":                   std,
		"bytes":                       string(data),
		"bytes and a newline":         string(data) + "\n",
		"newline":                     std + "\n",
		"lines":                       broken(std, "\r\n"),
		"lines turned into spaces":    broken(std, " "),
		"no padding":                  strings.TrimRight(std, "="),
		"too much padding":            std + "==",
		"URL alphabet":                base64.RawURLEncoding.EncodeToString(data),
		"plus turned into spaces":     strings.ReplaceAll(std, "+", " "),
		"spaces and lines":            strings.ReplaceAll(broken(std, "\n"), "+", " "),
		"spaces, encoded":             strings.ReplaceAll(std, "+", "%20"),
		"spaces in JSON":              asJSON(map[string]string{"receipt-data": strings.ReplaceAll(std, "+", " ")}),
		"spaces without padding":      strings.TrimRight(strings.ReplaceAll(std, "+", " "), "="),
		"PEM":                         "-----BEGIN PKCS7-----\n" + broken(std, "\n") + "\n-----END PKCS7-----\n",
		"PEM on one line":             "-----BEGIN PKCS7-----" + std + "-----END PKCS7-----",
		"PEM with lines as spaces":    "-----BEGIN PKCS7----- " + broken(std, " ") + " -----END PKCS7-----",
		"PEM after other text":        "subject=\n\n-----BEGIN CMS-----\r\n" + broken(std, "\r\n") + "\r\n-----END CMS-----\r\n",
		"PEM without its end":         "-----BEGIN PKCS7-----\n" + broken(std, "\n"),
		"byte order mark":             byteOrderMark + std,
		"UTF-16 of Windows":           "\xff\xfe" + utf16Of(std+"\r\n", false),
		"UTF-16, big endian":          "\xfe\xff" + utf16Of(std, true),
		"UTF-16 without its mark":     utf16Of(std, false),
		"UTF-16, big, without mark":   utf16Of(std, true),
		"JSON string":                 asJSON(std),
		"single quotes":               "'" + std + "'",
		"JSON body":                   asJSON(map[string]any{"receipt-data": std, "password": "x", "exclude-old-transactions": true}),
		"JSON body, our name":         asJSON(map[string]string{"bundle_id": "com.example.app", "customer_ref": "1", "receipt": std}),
		"JSON body, camel case":       asJSON(map[string]string{"receiptData": std}),
		"JSON body, escaped slashes":  strings.ReplaceAll(asJSON(map[string]string{"receipt-data": std}), "/", `\/`),
		"JSON array of a body":        asJSON([]any{map[string]string{"receipt-data": std}}),
		"JSON array of a text":        asJSON([]string{std}),
		"JSON body with an array":     asJSON(map[string]any{"receipt-data": []string{std}}),
		"JSON body in JSON":           asJSON(asJSON(map[string]string{"receipt-data": std})),
		"JSON body in UTF-16":         "\xff\xfe" + utf16Of(asJSON(map[string]string{"receipt-data": std}), false),
		"JSON of a Buffer":            asJSON(map[string]any{"type": "Buffer", "data": numbers}),
		"form":                        form,
		"form, not encoded":           "receipt-data=" + std,
		"form, field in the middle":   "a=1&receipt_data=" + url.QueryEscape(std) + "&b=2",
		"URL encoding":                url.QueryEscape(std),
		"URL encoding, twice":         url.QueryEscape(url.QueryEscape(std)),
		"escaped line ends":           escaped,
		"escaped, twice":              strings.ReplaceAll(escaped, `\`, `\\`),
		"escaped quotes":              `\"` + escaped + `\"`,
		"Postgres' bytea":             `\x` + digits,
		"Postgres' bytea, upper case": `\x` + strings.ToUpper(digits),
		"Postgres' bytea, COPY":       `\\x` + digits,
		"Postgres' bytea of the text": `\x` + hex.EncodeToString([]byte(std)),
		"hexadecimal":                 "0x" + digits,
		"data URL":                    "data:application/octet-stream;base64," + std,
		"encoded twice":               base64.StdEncoding.EncodeToString([]byte(std)),
		"encoded three times":         base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(std)))),
		"a JSON body in base64":       base64.StdEncoding.EncodeToString([]byte(asJSON(map[string]string{"receipt-data": std}))),
	}
}

// TestParseRestores reads a receipt of the simulator after all that transports do
// to it: the same as the receipt itself, down to the bytes, so that its hash is
// the same.
func TestParseRestores(t *testing.T) {
	t.Parallel()
	for name, style := range map[string]applesim.Style{"app receipt": applesim.StyleApp, "iOS 6": applesim.StyleTransaction} {
		data := simulated(t, style)
		want, err := Read(data)
		if err != nil || !bytes.Equal(want.Data, data) {
			t.Fatalf("%s: the receipt itself: %v", name, err)
		}
		forms := damages(data)
		if style == applesim.StyleTransaction {
			forms["plain text"] = "\r\n" + string(data) + "\r\n"
			forms["plain text in JSON"] = asJSON(string(data))
			forms["plain text in UTF-16"] = utf16Of(string(data), false)
			forms["newline within"] = base64.StdEncoding.EncodeToString(append(slices.Clone(data), '\n'))
		}
		for form, text := range forms {
			t.Run(name+", "+form, func(t *testing.T) {
				t.Parallel()
				before := strings.Clone(text)
				got, err := Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, ignorePrivate); diff != "" {
					t.Errorf("Parse (-want +got):\n%s", diff)
				}
				if text != before {
					t.Error("the text was changed")
				}
			})
		}
	}
}

// TestParseRestoresBareDigits is for an app receipt only: the digits of a text
// could be base64.
func TestParseRestoresBareDigits(t *testing.T) {
	t.Parallel()
	data := simulated(t, applesim.StyleApp)
	got, err := Parse([]byte(hex.EncodeToString(data)))
	if err != nil || !bytes.Equal(got.Data, data) {
		t.Errorf("got %d bytes and %v, want the receipt", len(got.Data), err)
	}
}

// TestParseRestoresAnyPlus takes the + from receipts of every length and ending,
// also where it was the last digit and the space in its place is trimmed.
func TestParseRestoresAnyPlus(t *testing.T) {
	t.Parallel()
	endings := 0
	for i := range 3000 {
		data := pkcs7(setOf(append(appAttributes("Production"), attr(4, []byte(fmt.Sprint(i, "\xfb\xef\xbe>"))))...))
		data[len(data)-1] = byte(i) // whatever the text ends in
		std := base64.StdEncoding.EncodeToString(data)
		if strings.HasSuffix(std, "+") {
			endings++
		}
		for _, text := range []string{
			strings.ReplaceAll(std, "+", " "),
			strings.TrimSpace(strings.ReplaceAll(std, "+", " ")),
		} {
			if got, err := Parse([]byte(text)); strings.Contains(text, " ") && (err != nil || !bytes.Equal(got.Data, data)) {
				t.Fatalf("%q: %v", text, err)
			}
		}
	}
	if endings == 0 {
		t.Error("no text ends in +")
	}
}

// TestParseNames is what cannot be restored: it is called what it is, and never
// cut off where it is not.
func TestParseNames(t *testing.T) {
	t.Parallel()
	data := simulated(t, applesim.StyleApp)
	std := base64.StdEncoding.EncodeToString(data)
	const jws = "eyJhbGciOiJFUzI1NiJ9.eyJ4Ijo.AAAA"
	middle := len(std) / 2 / 4 * 4
	tests := map[string]struct {
		text string
		want error
		says string
	}{
		"nothing":                      {"", ErrEmpty, ""},
		"spaces":                       {" \r\n", ErrEmpty, ""},
		"an empty text":                {`""`, ErrEmpty, ""},
		"an empty array":               {"[]", ErrEmpty, ""},
		"an empty field":               {"receipt-data=", ErrEmpty, ""},
		"a byte order mark alone":      {byteOrderMark, ErrEmpty, ""},
		"no receipt in JSON":           {`{"receipt-data":null}`, ErrNotAReceipt, "receipt-data"},
		"cut off":                      {std[:middle], ErrTruncated, "longer than"},
		"cut off in lines":             {broken(std[:middle], " "), ErrTruncated, "longer than"},
		"cut off, encoded twice":       {base64.StdEncoding.EncodeToString([]byte(std[:middle])), ErrTruncated, "longer than"},
		"cut off in hexadecimal":       {`\x` + hex.EncodeToString(data)[:1001], ErrTruncated, "hexadecimal"},
		"cut off in JSON":              {`{"receipt-data":"` + std[:middle], ErrNotAReceipt, "JSON, without its end"},
		"more lost than plus":          {strings.ReplaceAll(std[:middle], "+", " "), ErrNotBase64, "%2B"},
		"a letter in the middle":       {std[:middle] + "é" + std[middle:], ErrNotBase64, fmt.Sprintf("byte %d is 'é' (U+00E9)", middle)},
		"a letter in hexadecimal":      {`\x3082zz`, ErrNotBase64, "'z'"},
		"a bad escape":                 {std[:middle] + `\q` + std[middle:], ErrNotBase64, `backslash (\)`},
		"a bad URL encoding":           {std + "%3", ErrNotBase64, "percent sign (%)"},
		"a data URL of text":           {"data:text/plain,hello", ErrNotBase64, "data URL"},
		"half a line of PEM":           {"-----BEGIN PKCS7", ErrNotBase64, "PEM"},
		"a certificate":                {"-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----", ErrNotAReceipt, "certificate"},
		"a private key":                {"-----BEGIN EC PRIVATE KEY-----\nMIID\n-----END EC PRIVATE KEY-----", ErrNotAReceipt, "private key"},
		"two receipts":                 {asJSON([]string{std, std}), ErrNotAReceipt, "array of 2 elements"},
		"two after each other":         {std + "\n" + std, ErrNotBase64, "padding"},
		"bytes read as text":           {strings.ToValidUTF8(string(data), "\ufffd"), ErrNotAReceipt, "read as text"},
		"bytes read as Latin-1":        {latin1(data), ErrNotAReceipt, "read as text"},
		"a picture":                    {"\xff\xd8\xff\xe0", ErrNotAReceipt, "neither"},
		"a picture in base64":          {"/9j/4AAQSkZJRgABAQAA", ErrNotAReceipt, "neither"},
		"a word":                       {"hello", ErrTruncated, ""},
		"HTML":                         {"<html>", ErrNotAReceipt, "HTML"},
		"JWS":                          {jws, ErrNotAReceipt, "JWS"},
		"JWS in quotes":                {`"` + jws + `"`, ErrNotAReceipt, "JWS"},
		"JWS in JSON":                  {`{"receipt":"` + jws + `"}`, ErrNotAReceipt, "JWS"},
		"JWS in base64":                {base64.StdEncoding.EncodeToString([]byte(jws)), ErrNotAReceipt, "JWS"},
		"a reply":                      {`{"status":0,"receipt":{"bundle_id":"x"},"latest_receipt":"` + std + `"}`, ErrNotAReceipt, "its latest_receipt"},
		"a reply of an expired one":    {`{"status":21006,"latest_expired_receipt":"x"}`, ErrNotAReceipt, "its latest_expired_receipt"},
		"a reply without a receipt":    {`{"status":21002}`, ErrNotAReceipt, "reply of verifyReceipt"},
		"a notification V2":            {`{"signedPayload":"` + jws + `"}`, ErrNotAReceipt, "Notification V2"},
		"the content of one":           {`{"notificationType":"TEST"}`, ErrNotAReceipt, "Notification V2"},
		"a notification V1":            {`{"notification_type":"CANCEL","unified_receipt":{"latest_receipt":"x"}}`, ErrNotAReceipt, "its unified_receipt.latest_receipt"},
		"an old notification V1":       {`{"notification_type":"CANCEL","latest_receipt":"x"}`, ErrNotAReceipt, "its latest_receipt"},
		"an old one of an expired one": {`{"notification_type":"CANCEL","latest_expired_receipt":"x"}`, ErrNotAReceipt, "its latest_expired_receipt"},
		"a notification V1 without":    {`{"notification_type":"CANCEL"}`, ErrNotAReceipt, "carries no receipt"},
		"half a notification V1":       {`{"notification_type":"CANCEL",`, ErrNotAReceipt, "Notification V1, without its end"},
		"statuses of subscriptions":    {`{"environment":"Sandbox","data":[],"signedTransactions":[]}`, ErrNotAReceipt, "App Store Server API"},
		"a keys file":                  {`{"encryption":{"primaryKeyId":1,"key":[]},"fingerprint_key":"AAAA"}`, ErrNotAReceipt, "encryption keys"},
		"a file to import":             {`{"receipt":"x"}` + "\n" + `{"receipt":"y"}`, ErrNotAReceipt, "revalidator import"},
		"a CSV file to import":         {"bundle_id,customer_ref,receipt\na,b,c\n", ErrNotAReceipt, "revalidator import"},
		"JSON":                         {`{"a":1}`, ErrNotAReceipt, "receipt-data"},
		"no JSON":                      {`{a}`, ErrNotAReceipt, "none"},
		"wrapped without end":          {strings.Repeat("[", 50) + strings.Repeat("]", 50), ErrNotAReceipt, "wrapped"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(test.text))
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %q does not say %q", err, test.says)
			}
			if strings.Contains(err.Error(), std[:20]) || len(err.Error()) > 250 {
				t.Errorf("error %q repeats the receipt", err)
			}
		})
	}
}

// latin1 reads bytes as Latin-1, as a careless program does.
func latin1(data []byte) string {
	var b strings.Builder
	for _, c := range data {
		b.WriteRune(rune(c))
	}
	return b.String()
}

func TestAssumedEnvironment(t *testing.T) {
	t.Parallel()
	info := base64.StdEncoding.EncodeToString([]byte(plist("transaction-id", "11")))
	tests := map[string]struct {
		data    string
		want    iap.Environment
		assumed bool
	}{
		"named":     {plist(purchaseInfo, info, "environment", "Sandbox"), iap.Sandbox, false},
		"not named": {plist(purchaseInfo, info), iap.Production, true},
		"unknown":   {plist(purchaseInfo, info, "environment", "Moon"), "", false},
	}
	for name, test := range tests {
		got, err := Parse([]byte(test.data))
		if err != nil || got.Environment != test.want || got.IsEnvironmentAssumed != test.assumed {
			t.Errorf("%s: got %q, assumed %t, and %v; want %q, %t", name, got.Environment, got.IsEnvironmentAssumed, err, test.want, test.assumed)
		}
	}
}

// FuzzParse holds the reader to its promises on any input: no panic, named errors
// that do not repeat the input, and a result that reads as itself.
func FuzzParse(f *testing.F) {
	// Small ones: what the fuzzer makes of a real receipt takes it long to read.
	for _, data := range [][]byte{pkcs7(setOf(textAttr(typeReceiptType, "Xcode"))), transactionReceipt("bid", "a")} {
		for _, text := range damages(data) {
			f.Add([]byte(text))
		}
	}
	for _, text := range []string{"", "[[[", `{"receipt":{"receipt":"AA"}}`, `\u002`, `\x`, "%", "eyJ.", "-----BEGIN ", "\xff\xfe\x00", "A A"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		info, err := Parse(text)
		if !bytes.Equal(text, before) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("a long error: %v", err)
			}
			for _, named := range []error{ErrEmpty, ErrNotBase64, ErrNotAReceipt, ErrTruncated, ErrMalformed} {
				if errors.Is(err, named) {
					return
				}
			}
			t.Fatalf("unnamed error %v", err)
		}
		for form, again := range map[string][]byte{
			"bytes": info.Data, "base64": []byte(base64.StdEncoding.EncodeToString(info.Data)),
		} {
			got, err := Parse(again)
			if err != nil {
				t.Fatalf("its own %s: %v", form, err)
			}
			if diff := cmp.Diff(info, got, ignorePrivate); diff != "" {
				t.Errorf("its own %s (-first +second):\n%s", form, diff)
			}
		}
	})
}
