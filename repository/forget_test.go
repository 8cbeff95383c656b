package repository_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// held is the outcome of a claim on a receipt that shows all this.
func held(c claim.Claim, run runs.Run, subscriptions, purchases []string) claim.Outcome {
	o := success(c, run, noon)
	// Each later customer sees it later, so that each moves it.
	asOf := noon.Add(time.Duration(c.ReceiptID) * time.Second)
	o.Conclusion = &iap.Conclusion{AsOf: asOf}
	for _, id := range subscriptions {
		o.Conclusion.Subscriptions = append(o.Conclusion.Subscriptions, iap.Subscription{
			SubscriptionKey: iap.SubscriptionKey{BundleID: app, Environment: iap.Production, OriginalTransactionID: id},
			Status:          iap.StatusActive, ProductID: "monthly", TransactionID: id, ExpiresDate: noon.Add(time.Hour),
			AsOf: asOf, ToldAt: toldAt(asOf), Tells: everything,
		})
	}
	for _, id := range purchases {
		o.Conclusion.Purchases = append(o.Conclusion.Purchases, iap.Purchase{
			BundleID: app, Environment: iap.Production, TransactionID: id, OriginalTransactionID: id, ProductID: "lifetime",
			AsOf: asOf,
		})
	}
	return o
}

// customers adds a receipt for each of n customers, whose ids count from 1.
func (f fixture) customers(bundleID string, n int) {
	f.t.Helper()
	for i := range n {
		_, err := f.AddReceipts(f.t.Context(), []iap.Receipt{{
			BundleID: bundleID, CustomerRef: fmt.Sprintf("customer-%d", i), Kind: iap.KindAppReceipt,
			Data: fmt.Appendf(nil, "receipt %s %d", bundleID, i),
		}}, noon)
		f.must(err)
	}
}

// family has three customers: the first two share subscription 10, and the
// second showed purchase 30 after the first.
func family(f fixture) {
	f.customers(app, 3)
	run := f.run()
	for _, c := range f.claim(run, 10) {
		shown := map[int64][2][]string{1: {{"10", "11"}, {"30"}}, 2: {{"10", "12"}, {"30", "31"}}, 3: {{"13"}, nil}}[c.ReceiptID]
		f.save(held(c, run, shown[0], shown[1]))
	}
}

func (f fixture) remains(ids ...int64) (subscriptions, purchases []string) {
	f.t.Helper()
	subs, err := f.SubscriptionsOf(f.t.Context(), ids, "", "")
	f.must(err)
	for _, s := range subs {
		subscriptions = append(subscriptions, s.OriginalTransactionID)
	}
	bought, err := f.PurchasesOf(f.t.Context(), ids, "", "", 10)
	f.must(err)
	for _, p := range bought {
		purchases = append(purchases, p.TransactionID)
	}
	return subscriptions, purchases
}

func TestForget(t *testing.T) {
	f := open(t)
	family(f)
	got, err := f.Forget(t.Context(), "customer-1", "", policies, noon)
	f.must(err)
	want := repository.Forgotten{
		Receipts: 1, Bytes: int64(len("receipt " + app + " 1")), Links: 2,
		Subscriptions: 1, Purchases: 1, Events: 2, Kept: 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("forgotten (-want +got):\n%s", diff)
	}
	subscriptions, purchases := f.remains(1, 2, 3)
	if diff := cmp.Diff([]string{"10", "11", "13"}, subscriptions); diff != "" {
		t.Errorf("subscriptions that stay (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"30"}, purchases); diff != "" {
		t.Errorf("purchases that stay, with the first customer (-want +got):\n%s", diff)
	}
	again, err := f.Forget(t.Context(), "customer-1", "", policies, noon)
	f.must(err)
	if again != (repository.Forgotten{}) {
		t.Errorf("a second time: got %+v, want nothing", again)
	}
}

// TestForgetWhileHeld forgets a customer whose receipt is with a worker.
func TestForgetWhileHeld(t *testing.T) {
	f := open(t)
	f.receipts(app, 1)
	run := f.run()
	c := f.claim(run, 1)[0]
	_, err := f.Forget(t.Context(), "customer-0", app, policies, noon)
	f.must(err)
	if saved := f.save(held(c, run, []string{"10"}, []string{"30"})); saved[0] {
		t.Error("the late result was stored")
	}
	found, err := f.SubscriptionsOf(t.Context(), nil, app, "10")
	f.must(err)
	if len(found) != 0 {
		t.Errorf("the late result left %d subscriptions", len(found))
	}
	if totals := f.totals(run); totals.Done != 0 {
		t.Errorf("the late result was counted: %d done", totals.Done)
	}
}

func TestForgetOneApp(t *testing.T) {
	f := open(t)
	f.addApp("com.example.other", 1)
	f.receipts(app, 1)
	f.receipts("com.example.other", 1)
	got, err := f.Forget(t.Context(), "customer-0", app, policies, noon)
	f.must(err)
	if got.Receipts != 1 {
		t.Errorf("receipts: got %d, want 1", got.Receipts)
	}
	if _, err := f.StoredReceipt(t.Context(), 2); err != nil {
		t.Errorf("the receipt of the other app: %v", err)
	}
}

// Three receipts show a purchase; the first and the last customers are forgotten.
func TestForgetKeepsWhatAnotherShows(t *testing.T) {
	f := openReceipts(t)
	for i, who := range []string{"x", "y", "z"} {
		_, err := f.AddReceipts(t.Context(), []iap.Receipt{{BundleID: app, CustomerRef: who, Kind: iap.KindAppReceipt, Data: []byte{byte(i)}}}, noon)
		f.must(err)
	}
	replies := map[int64][]any{1: {lifetime}, 2: {lifetime}, 3: {lifetime}}
	for i := range int64(3) {
		f.check(time.Duration(i)*time.Hour, replies, i+1)
	}
	for i, who := range []string{"x", "z"} {
		_, err := f.Forget(t.Context(), who, "", func(string) iap.Policy { return policy }, noon.Add(time.Duration(4+i)*time.Hour))
		f.must(err)
	}
	var left int
	if err := f.raw.QueryRow(`SELECT count(*) FROM purchases`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 1 {
		t.Errorf("%d purchases left, customer y still shows one; its receipt: %+v", left, f.state(2))
	}
}

// The reply of the second receipt is older than that of the first, and saved later.
func TestForgetKeepsPurchasesOfAnOlderReply(t *testing.T) {
	f := openReceipts(t)
	for i, who := range []string{"x", "y"} {
		_, err := f.AddReceipts(t.Context(), []iap.Receipt{{BundleID: app, CustomerRef: who, Kind: iap.KindAppReceipt, Data: []byte{byte(i)}}}, noon)
		f.must(err)
	}
	f.check(time.Minute, map[int64][]any{1: {lifetime}}, 1)
	claims := f.claimed(2*time.Minute, true, 2)
	f.save(outcome(claims[0], 0, lifetime))
	_, err := f.Forget(t.Context(), "x", "", func(string) iap.Policy { return policy }, noon.Add(time.Hour))
	f.must(err)
	var left int
	if err := f.raw.QueryRow(`SELECT count(*) FROM purchases`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 1 {
		t.Errorf("%d purchases left, customer y shows one", left)
	}
}
