package apps

import "testing"

func TestBudgetNames(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]Budget{
		"com.example.reader/verify_receipt:Production": App{BundleID: "com.example.reader"}.Budget(Endpoint{Environment: "Production"}),
		"com.example.reader/signed:Sandbox:history/8 to 16 KiB": {
			BundleID: "com.example.reader", Source: "signed", Endpoint: Endpoint{"Sandbox", "history"}, Size: "8 to 16 KiB",
		},
		"/verify_receipt:Production": AllApps(SourceVerifyReceipt, "Production"),
	} {
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := ParseBudget(want); got != b {
			t.Errorf("%q is read as %+v, want %+v", want, got, b)
		}
	}
}
