package receipt

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/iap"
)

var ignorePrivate = cmpopts.IgnoreUnexported(Info{})

func TestReadAppReceipt(t *testing.T) {
	t.Parallel()
	want := func(kind iap.ReceiptKind, env iap.Environment, receiptType string) Info {
		return Info{
			Kind: kind, Environment: env, ReceiptType: receiptType,
			BundleID: "com.example.app", ApplicationVersion: "42", OriginalApplicationVersion: "1.0",
			CreationDate: created, OriginalPurchaseDate: created.AddDate(-1, 0, 0), InApp: 2,
		}
	}
	sandbox := appReceipt("ProductionSandbox", 2)
	payload := setOf(append(appAttributes("Xcode"), inApp(1, created), inApp(2, created))...)
	xcode := xcodePKCS7(payload)
	tests := map[string]struct {
		data []byte
		kept []byte
		want Info
	}{
		"production":        {appReceipt("Production", 2), nil, want(iap.KindAppReceipt, iap.Production, "Production")},
		"volume purchase":   {appReceipt("ProductionVPP", 2), nil, want(iap.KindAppReceipt, iap.Production, "ProductionVPP")},
		"sandbox":           {sandbox, nil, want(iap.KindAppReceipt, iap.Sandbox, "ProductionSandbox")},
		"VPP sandbox":       {appReceipt("ProductionVPPSandbox", 2), nil, want(iap.KindAppReceipt, iap.Sandbox, "ProductionVPPSandbox")},
		"unknown type":      {appReceipt("Moon", 2), nil, want(iap.KindAppReceipt, "", "Moon")},
		"xcode":             {xcode, nil, want(iap.KindXcode, "", "Xcode")},
		"xcode, pieces":     {xcodePKCS7(payload[:7], payload[7:90], payload[90:]), nil, want(iap.KindXcode, "", "Xcode")},
		"local testing":     {appReceipt("LocalTesting", 2), nil, want(iap.KindXcode, "", "LocalTesting")},
		"bytes after DER":   {append(slices.Clone(sandbox), "\x00\x00 junk"...), sandbox, want(iap.KindAppReceipt, iap.Sandbox, "ProductionSandbox")},
		"bytes after BER":   {append(slices.Clone(xcode), "\r\n"...), xcode, want(iap.KindXcode, "", "Xcode")},
		"wrapped twice":     {pkcs7(octetString(payload)), nil, want(iap.KindXcode, "", "Xcode")},
		"attributes in BER": {xcodePKCS7(slices.Concat([]byte{0x31, 0x80}, payload[4:], []byte{0, 0})), nil, want(iap.KindXcode, "", "Xcode")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.want.Data = test.data
			if test.kept != nil {
				test.want.Data = test.kept
			}
			before := slices.Clone(test.data)
			got, err := Read(test.data)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(test.data, before) {
				t.Error("the input was changed")
			}
			if diff := cmp.Diff(test.want, got, ignorePrivate); diff != "" {
				t.Errorf("Read (-want +got):\n%s", diff)
			}
		})
	}
}

// octetString is the encoded value of an attribute without its frame.
func octetString(content []byte) []byte {
	e, _, _ := next(attr(0, content))
	return e.body[6:] // after the INTEGERs of kind and version, three bytes each
}

func TestReadKeepsWhatItCannotRead(t *testing.T) {
	t.Parallel()
	data := pkcs7(setOf(
		textAttr(typeBundleID, strings.Repeat("x", maxText+1)),
		textAttr(typeCreationDate, "the day before yesterday"),
		attr(typeApplicationVersion, nil),
		attr(typeOriginalApplicationVersion, []byte{tagUTF8String, 1, 0xff}),
		attr(typeInApp, []byte("not a record")),
	))
	got, err := Read(data)
	if err != nil {
		t.Fatal(err)
	}
	want := Info{Kind: iap.KindAppReceipt, InApp: 1, Data: data}
	if diff := cmp.Diff(want, got, ignorePrivate); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
}

func TestReadTransactionReceipt(t *testing.T) {
	t.Parallel()
	data := transactionReceipt("bid", "com.example.app", "bvrs", "7", "quantity", "1", "product-id", "month",
		"transaction-id", "11", "original-transaction-id", "10", "web-order-line-item-id", "12",
		"purchase-date-ms", "1000", "original-purchase-date-ms", "500", "expires-date", "2000",
		"expires-date-formatted", "1970-01-01 00:00:02 Etc/GMT", "is-trial-period", "true", "is-in-intro-offer-period", "false")
	want := Info{
		Kind: iap.KindTransactionReceipt, Environment: iap.Sandbox, BundleID: "com.example.app",
		ApplicationVersion: "7", InApp: 1, Data: data,
	}
	got, err := Read([]byte(" " + string(data) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, ignorePrivate); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
	wantTransactions := []iap.Transaction{{
		TransactionID: "11", OriginalTransactionID: "10", ProductID: "month", Quantity: 1,
		PurchaseDate: time.UnixMilli(1000).UTC(), OriginalPurchaseDate: time.UnixMilli(500).UTC(),
		ExpiresDate: time.UnixMilli(2000).UTC(), IsTrialPeriod: true,
	}}
	if diff := cmp.Diff(wantTransactions, transactions(t, got)); diff != "" {
		t.Errorf("Transactions (-want +got):\n%s", diff)
	}
}

func transactions(t *testing.T, info Info) []iap.Transaction {
	t.Helper()
	var all []iap.Transaction
	for tx, err := range info.Transactions() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tx)
	}
	return all
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	renewed := created.AddDate(0, 1, 0)
	oneOff := attr(typeInApp, setOf(
		textAttr(typeTransactionID, "3"), textAttr(typeOriginalTransactionID, "3"), textAttr(typeProductID, "gold"),
		intAttr(typeQuantity, 5), dateAttr(typePurchaseDate, created),
		dateAttr(typeExpiresDate, time.Time{}), dateAttr(typeCancellationDate, renewed),
	))
	info, err := Read(pkcs7(setOf(inApp(2, renewed), textAttr(typeReceiptType, "Production"), inApp(1, created), oneOff)))
	if err != nil {
		t.Fatal(err)
	}
	month := func(id string, start time.Time) iap.Transaction {
		return iap.Transaction{
			TransactionID: id, OriginalTransactionID: "1000", ProductID: "com.example.app.month",
			Quantity: 1, PurchaseDate: start, OriginalPurchaseDate: created, ExpiresDate: start.AddDate(0, 1, 0), IsTrialPeriod: true,
		}
	}
	want := []iap.Transaction{
		month("2", renewed),
		month("1", created),
		{TransactionID: "3", OriginalTransactionID: "3", ProductID: "gold", Quantity: 5, PurchaseDate: created, CancellationDate: renewed},
	}
	if diff := cmp.Diff(want, transactions(t, info)); diff != "" {
		t.Errorf("Transactions (-want +got):\n%s", diff)
	}
}

func TestTransactionsEndAtMalformed(t *testing.T) {
	t.Parallel()
	bad := map[string][]byte{
		"no set":         attr(typeInApp, []byte("?")),
		"date":           attr(typeInApp, setOf(stringAttr(typeExpiresDate, 0x16, "soon"))),
		"number as text": attr(typeInApp, setOf(textAttr(typeQuantity, "1"))),
		"long number":    attr(typeInApp, setOf(attr(typeQuantity, []byte{tagInteger, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9}))),
		"text as number": attr(typeInApp, setOf(intAttr(typeTransactionID, 5))),
	}
	for name, record := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, err := Read(pkcs7(setOf(inApp(1, created), record, inApp(2, created))))
			if err != nil {
				t.Fatal(err)
			}
			var read int
			var last error
			for _, err := range info.Transactions() {
				if last = err; err == nil {
					read++
				}
			}
			if read != 1 || !errors.Is(last, ErrMalformed) {
				t.Errorf("%d records, then %v; want 1, then %v", read, last, ErrMalformed)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	whole := appReceipt("Production", 1)
	xcode := xcodePKCS7(setOf(appAttributes("Xcode")...))
	nested := slices.Concat([]byte{0x30, 0x80}, []byte(signedData), bytes.Repeat([]byte{0xa0, 0x80}, 100_000))
	tests := map[string]struct {
		data []byte
		want error
		says string
	}{
		"nothing":                {nil, ErrEmpty, ""},
		"spaces":                 {[]byte(" \n"), ErrEmpty, ""},
		"text":                   {[]byte("hello, world"), ErrNotAReceipt, "neither"},
		"binary":                 {[]byte{0xff, 0xd8, 0xff, 0xe0}, ErrNotAReceipt, "neither"},
		"other DER":              {setOf(), ErrNotAReceipt, "neither"},
		"a certificate's start":  {[]byte{0x30, 0x82, 3, 0xbb, 0x30, 0x82, 2, 0xa3}, ErrNotAReceipt, "neither"},
		"JSON":                   {[]byte(`{"a":1}`), ErrNotAReceipt, "neither"},
		"one byte":               {whole[:1], ErrTruncated, ""},
		"half an identifier":     {whole[:9], ErrTruncated, ""},
		"half":                   {whole[:len(whole)/2], ErrTruncated, ""},
		"all but one byte":       {whole[:len(whole)-1], ErrTruncated, ""},
		"half of Xcode's":        {xcode[:len(xcode)/2], ErrTruncated, ""},
		"no attributes":          {pkcs7(nil), ErrMalformed, ""},
		"payload is no set":      {pkcs7([]byte("hello")), ErrMalformed, ""},
		"attribute is cut":       {pkcs7([]byte{tagSet, 3, tagSequence, 9, 2}), ErrMalformed, "beyond the end"},
		"attribute is no triple": {pkcs7(setOf([]byte{tagSequence, 3, 2, 1, 0})), ErrMalformed, ""},
		"attribute type is long": {pkcs7(setOf([]byte{tagSequence, 11, 2, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9})), ErrMalformed, "impossible length"},
		"indefinite primitive":   {pkcs7([]byte{tagOctetString, 0x80, 0, 0}), ErrMalformed, "impossible length"},
		"length beyond 2 GB":     {[]byte("\x30\x84\xff\xff\xff\xff" + signedData), ErrMalformed, "impossible length"},
		"endless nesting":        {nested, ErrMalformed, "too deep"},
		"octets in octets":       {xcodePKCS7(deepOctets(100)), ErrMalformed, "too deep"},
		"list without its end":   {[]byte(`{"signature" = "AA"; "purchase-info" = "e30`), ErrTruncated, ""},
		"list without a sign":    {[]byte(`{"signature" = "AA" "purchase-info"}`), ErrMalformed, ""},
		"list without its info":  {[]byte(`{"signature" = "AA";}`), ErrMalformed, purchaseInfo},
		"huge list":              {[]byte(`{"signature" = "` + strings.Repeat("A", maxPropertyList)), ErrMalformed, "too large"},
		"deep list":              {[]byte(`{"signature" = ` + strings.Repeat("(", maxPropertyList-99)), ErrMalformed, ""},
		"info is no list":        {[]byte(plist(purchaseInfo, "aGVsbG8=")), ErrMalformed, purchaseInfo},
		"bad date":               {transactionReceipt("expires-date", "soon"), ErrMalformed, "date"},
		"bad quantity":           {transactionReceipt("quantity", "many"), ErrMalformed, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Read(test.data)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %q does not say %q", err, test.says)
			}
		})
	}
}

// deepOctets nests OCTET STRINGs of indefinite length.
func deepOctets(n int) []byte {
	return slices.Concat(bytes.Repeat([]byte{0x24, 0x80}, n), bytes.Repeat([]byte{0, 0}, n))
}

// TestReadCopiesNothing pins that the cost of Read does not grow with a copy
// per attribute: 5 MB of records cost the same few allocations as one.
func TestReadCopiesNothing(t *testing.T) {
	record := inApp(1, created)
	data := pkcs7(setOf(slices.Concat(appAttributes("Production"), slices.Repeat([][]byte{record}, 5_000_000/len(record)))...))
	allocations := testing.AllocsPerRun(3, func() {
		if info, err := Read(data); err != nil || info.InApp < 10_000 {
			t.Errorf("%d records, error %v", info.InApp, err)
		}
	})
	if allocations > 20 {
		t.Errorf("Read of %d bytes allocates %.0f times, want 20 at most", len(data), allocations)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(appReceipt("Production", 2))
	f.Add(append(appReceipt("ProductionSandbox", 0), 1, 2, 3))
	f.Add(xcodePKCS7(setOf(appAttributes("Xcode")...)))
	f.Add(xcodePKCS7([]byte{tagSet, 2}, []byte{tagSequence, 0}))
	f.Add(transactionReceipt("bid", "com.example.app", "expires-date", "2000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := slices.Clone(data)
		info, err := Read(data)
		if !bytes.Equal(data, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			for _, named := range []error{ErrEmpty, ErrNotAReceipt, ErrTruncated, ErrMalformed} {
				if errors.Is(err, named) {
					return
				}
			}
			t.Fatalf("unnamed error %v", err)
		}
		again, err := Read(info.Data)
		if err != nil {
			t.Fatalf("Data cannot be read again: %v", err)
		}
		if diff := cmp.Diff(info, again, ignorePrivate); diff != "" {
			t.Errorf("second reading (-first +second):\n%s", diff)
		}
		records := 0
		for _, err := range info.Transactions() {
			if records++; err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("unnamed error %v", err)
			}
		}
		if records > info.InApp {
			t.Errorf("%d records, InApp says %d", records, info.InApp)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	data := appReceipt("Production", 20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(data); err != nil {
			b.Fatal(err)
		}
	}
}
