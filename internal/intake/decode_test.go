package intake

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/iap"
)

func TestRefusedLines(t *testing.T) {
	t.Parallel()
	good := receiptOf("x")
	other := base64.StdEncoding.EncodeToString(receiptDER("com.example.other", "Production", ""))
	tests := map[string]struct {
		line   string
		reason Reason
		says   string
	}{
		"no JSON":               {"hello", ReasonBadLine, "not JSON"},
		"half an object":        {`{"bundle_id":"` + app + `"`, ReasonBadLine, "not JSON"},
		"a number":              {"5", ReasonBadLine, "not a JSON object"},
		"an array":              {"[" + line(app, "c", good) + "]", ReasonBadLine, "jq"},
		"inside an array":       {line(app, "c", good) + ",", ReasonBadLine, "jq"},
		"bundle id is a number": {`{"bundle_id":5,"customer_ref":"c","receipt":""}`, ReasonBadLine, "bundle_id is not a text"},
		"reference is a list":   {`{"bundle_id":"a","customer_ref":["c"],"receipt":""}`, ReasonBadLine, "customer_ref is neither"},
		"not UTF-8":             {"{\"bundle_id\":\"\xff\"}", ReasonBadLine, "UTF-8"},
		"no bundle id":          {line("", "c", good), ReasonMissingField, "bundle_id"},
		"no reference":          {`{"bundle_id":"` + app + `","receipt":"` + good + `"}`, ReasonMissingField, "customer_ref"},
		"no receipt":            {`{"bundle_id":"` + app + `","customer_ref":"c"}`, ReasonMissingField, "receipt"},
		"null receipt":          {`{"bundle_id":"` + app + `","customer_ref":"c","receipt":null}`, ReasonMissingField, "receipt"},
		"empty receipt":         {line(app, "c", " \n"), ReasonMissingField, "empty"},
		"long bundle id":        {line(strings.Repeat("x", maxBundleID+1), "c", good), ReasonBadField, "bundle_id"},
		"long reference":        {line(app, strings.Repeat("x", maxCustomerRef+1), good), ReasonBadField, "customer_ref"},
		"zero byte":             {line(app, "a\x00b", good), ReasonBadField, "zero byte"},
		"swapped columns":       {line(app, strings.Repeat(good, 5), "c"), ReasonBadField, "customer_ref"},
		"unknown app":           {line("com.example.new", "c", good), ReasonUnknownApp, "revalidator apps add com.example.new"},
		"not base64":            {line(app, "c", "!!!!"), ReasonNotBase64, "byte 0"},
		"JWS":                   {line(app, "c", "eyJhbGciOiJFUzI1NiJ9.eyJ0cmFuc2FjdGlvbklkIjoiMSJ9.AAAA"), ReasonNotAReceipt, "signed transaction"},
		"a picture":             {line(app, "c", "/9j/4AAQSkZJRgABAQAA"), ReasonNotAReceipt, "neither"},
		"receipt is an object":  {`{"bundle_id":"` + app + `","customer_ref":"c","receipt":{"status":0}}`, ReasonNotAReceipt, "verifyReceipt"},
		"cut off":               {line(app, "c", good[:40]), ReasonTruncated, "cut off"},
		"malformed":             {line(app, "c", base64.StdEncoding.EncodeToString([]byte("\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"))), ReasonMalformed, "malformed"},
		"another app's receipt": {line(app, "c", other), ReasonWrongApp, "com.example.other"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var store memory
			var rejects strings.Builder
			result := run(t, "\n"+test.line+"\n"+line(app, "good", good)+"\n", NDJSON, config(&store, &rejects))
			wantCounts := Counts{Bytes: result.Bytes, LastLine: 3, Lines: 2, Added: 1, Rejected: 1}
			if diff := cmp.Diff(wantCounts, result.Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			var got rejection
			if err := json.Unmarshal([]byte(rejects.String()), &got); err != nil {
				t.Fatalf("rejects %q: %v", rejects.String(), err)
			}
			if got.Line != 2 || got.Reason != test.reason || !strings.Contains(got.Error, test.says) {
				t.Errorf("rejected %+v, want line 2, reason %s and an error with %q", got, test.reason, test.says)
			}
			if strings.Contains(got.Error, good[:30]) {
				t.Errorf("receipt bytes in the error: %s", got.Error)
			}
		})
	}
}

func TestAcceptedLines(t *testing.T) {
	t.Parallel()
	encode := base64.StdEncoding.EncodeToString
	production := receiptDER(app, "Production", "")
	sandbox := receiptDER(app, "ProductionSandbox", "")
	nameless := receiptDER("", "Production", "")
	xcode := receiptDER(app, "Xcode", "")
	plus := receiptDER(app, "Production", "~~~>>>~~~>>>")
	want := func(kind iap.ReceiptKind, env iap.Environment, data []byte) iap.Receipt {
		return iap.Receipt{BundleID: app, CustomerRef: "c", Kind: kind, Environment: env, Data: data}
	}
	escaped := strings.ReplaceAll(line(app, "c", encode(production)), "/", `\/`)
	tests := map[string]struct {
		line string
		want iap.Receipt
	}{
		"production":          {line(app, "c", encode(production)), want(iap.KindAppReceipt, iap.Production, production)},
		"sandbox":             {line(app, "c", encode(sandbox)), want(iap.KindAppReceipt, iap.Sandbox, sandbox)},
		"xcode":               {line(app, "c", encode(xcode)), want(iap.KindXcode, "", xcode)},
		"names no app":        {line(app, "c", encode(nameless)), want(iap.KindAppReceipt, iap.Production, nameless)},
		"junk after the end":  {line(app, "c", encode(append(production[:len(production):len(production)], 1, 2))), want(iap.KindAppReceipt, iap.Production, production)},
		"escaped slashes":     {escaped, want(iap.KindAppReceipt, iap.Production, production)},
		"receipt_data":        {strings.Replace(escaped, `"receipt"`, `"receipt_data"`, 1), want(iap.KindAppReceipt, iap.Production, production)},
		"receipt-data":        {strings.Replace(escaped, `"receipt"`, `"receipt-data"`, 1), want(iap.KindAppReceipt, iap.Production, production)},
		"null beside another": {`{"receipt":null,"receipt_data":"` + encode(production) + `","bundle_id":"` + app + `","customer_ref":"c"}`, want(iap.KindAppReceipt, iap.Production, production)},
		"plus as spaces":      {line(app, "c", strings.ReplaceAll(encode(plus), "+", " ")), want(iap.KindAppReceipt, iap.Production, plus)},
		"a request's body":    {line(app, "c", `{"receipt-data":"`+encode(production)+`"}`), want(iap.KindAppReceipt, iap.Production, production)},
		"a body in the line":  {`{"bundle_id":"` + app + `","customer_ref":"c","receipt":{"receipt-data":"` + encode(production) + `"}}`, want(iap.KindAppReceipt, iap.Production, production)},
		"Postgres' bytea":     {line(app, "c", `\x`+hex.EncodeToString(production)), want(iap.KindAppReceipt, iap.Production, production)},
		"bytea in CSV":        {"bundle_id,customer_ref,receipt\n" + app + `,c,\x` + hex.EncodeToString(production), want(iap.KindAppReceipt, iap.Production, production)},
		"a form's field":      {line(app, "c", "receipt-data="+url.QueryEscape(encode(production))), want(iap.KindAppReceipt, iap.Production, production)},
		"empty reference":     {line(app, "", encode(production)), iap.Receipt{BundleID: app, Kind: iap.KindAppReceipt, Environment: iap.Production, Data: production}},
		"numeric reference": {
			strings.Replace(line(app, "c", encode(production)), `"customer_ref":"c"`, `"customer_ref":12345678901234567890, "plan":{"a":1}`, 1),
			iap.Receipt{BundleID: app, CustomerRef: "12345678901234567890", Kind: iap.KindAppReceipt, Environment: iap.Production, Data: production},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var store memory
			var rejects strings.Builder
			result := run(t, test.line, "", config(&store, &rejects))
			if rejects.Len() > 0 {
				t.Fatalf("rejected: %s", rejects.String())
			}
			if diff := cmp.Diff([]iap.Receipt{test.want}, store.rows); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			wantResult := Result{
				Counts: Counts{Bytes: int64(len(test.line)), LastLine: int64(strings.Count(test.line, "\n")) + 1, Lines: 1, Added: 1},
				ByKind: map[iap.ReceiptKind]int64{test.want.Kind: 1},
			}
			if diff := cmp.Diff(wantResult, result, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}
