package appstore_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"revalidator/internal/appstore"
)

// member is one key and value of an object whose keys can be reordered.
type member struct {
	key   string
	value any // string, int, object, []object
}

type object []member

// encode writes an object with its members and the elements of its lists in
// an order that is drawn.
func encode(t *rapid.T, b *strings.Builder, value any) {
	switch value := value.(type) {
	case object:
		b.WriteByte('{')
		for i, m := range rapid.Permutation(value).Draw(t, "members") {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Quote(m.key) + ":")
			encode(t, b, m.value)
		}
		b.WriteByte('}')
	case []object:
		b.WriteByte('[')
		for i, o := range rapid.Permutation(value).Draw(t, "elements") {
			if i > 0 {
				b.WriteByte(',')
			}
			encode(t, b, o)
		}
		b.WriteByte(']')
	default:
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
}

func drawRecord(t *rapid.T, id int) object {
	o := object{{"transaction_id", strconv.Itoa(id)}, {"original_transaction_id", "1"}}
	for _, key := range []string{"expires_date_ms", "expires_date", "cancellation_date_ms", "product_id", "is_upgraded"} {
		if rapid.Bool().Draw(t, key) {
			o = append(o, member{key, strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "value"))})
		}
	}
	return o
}

// drawRecords draws records with ids of their own, as Apple's lists have them.
func drawRecords(t *rapid.T, name string) []object {
	var list []object
	for id := range rapid.IntRange(0, 4).Draw(t, name) {
		list = append(list, drawRecord(t, id+1))
	}
	return list
}

func drawReply(t *rapid.T) object {
	receipt := object{{"bundle_id", "com.example.app"}, {"request_date_ms", "1767225600000"}}
	if rapid.Bool().Draw(t, "iOS 6") {
		receipt = append(drawRecord(t, 1), member{"bid", "com.example.app"})
	} else {
		receipt = append(receipt, member{"in_app", drawRecords(t, "in_app")})
	}
	return object{
		{"status", 0}, {"environment", "Sandbox"}, {"receipt", receipt},
		{"latest_receipt_info", drawRecords(t, "latest_receipt_info")},
		{"auto_renew_status", 1}, {"expiration_intent", "1"},
	}
}

func TestDecodeReplyInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		reply := drawReply(t)
		var decoded [2]appstore.Reply
		for i := range decoded {
			var b strings.Builder
			encode(t, &b, reply)
			var err error
			if decoded[i], err = appstore.DecodeReply(strings.NewReader(b.String()), appstore.Limits{}); err != nil {
				t.Fatalf("decode %s: %v", b.String(), err)
			}
		}
		if diff := cmp.Diff(factsOf(decoded[0].Facts), factsOf(decoded[1].Facts)); diff != "" {
			t.Errorf("facts in two orders (-first +second):\n%s", diff)
		}
		if diff := cmp.Diff(decoded[0].Unknown, decoded[1].Unknown); diff != "" {
			t.Errorf("unknown in two orders (-first +second):\n%s", diff)
		}
	})
}
