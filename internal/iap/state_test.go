package iap_test

import (
	"slices"
	"testing"

	"revalidator/internal/iap"
)

func TestQuarantined(t *testing.T) {
	t.Parallel()
	for _, s := range append(iap.ReceiptStates(), "") {
		if got, want := s.Quarantined(), slices.Contains(iap.QuarantineStates(), s); got != want {
			t.Errorf("%q: got %t, want %t", s, got, want)
		}
	}
}
