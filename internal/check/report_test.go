package check

import (
	"testing"

	"revalidator/internal/iap"
	"revalidator/internal/receipt"
)

// TestWarnsOfAStoredEnvironment that is not the one of receipt_type.
func TestWarnsOfAStoredEnvironment(t *testing.T) {
	t.Parallel()
	for environment, want := range map[iap.Environment]int{iap.Sandbox: 1, iap.Production: 0, "": 0} {
		s := Subject{Info: receipt.Info{Kind: iap.KindAppReceipt, ReceiptType: "ProductionVPP", Environment: environment}}
		if got := newReceipt(s, 1<<20).Warnings; len(got) != want {
			t.Errorf("%q: got %q, want %d warnings", environment, got, want)
		}
	}
}
