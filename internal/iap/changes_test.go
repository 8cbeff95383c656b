package iap_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
)

// state is a subscription whose period ends at an offset from now.
func state(status iap.Status, transaction string, end time.Duration, change ...func(*iap.Subscription)) iap.Subscription {
	s := iap.Subscription{
		Status: status, TransactionID: transaction, ProductID: "monthly", AutoRenewStatus: new(true),
		PurchaseDate: now.Add(end - 30*day), ExpiresDate: now.Add(end),
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func renewsOff(s *iap.Subscription) { s.AutoRenewStatus = new(false) }

func TestChanges(t *testing.T) {
	t.Parallel()
	active := state(iap.StatusActive, "1", day)
	expired := state(iap.StatusExpired, "1", -10*day)
	retry := state(iap.StatusBillingRetry, "1", -10*day)
	revoked := state(iap.StatusRevoked, "1", day)
	tests := []struct {
		name   string
		before *iap.Subscription
		after  iap.Subscription
		want   []iap.EventType
	}{
		{"first seen", nil, active, []iap.EventType{iap.EventStarted}},
		{"first seen when it is over", nil, expired, []iap.EventType{iap.EventStarted}},
		{"nothing", &active, active, nil},
		{"renewed", &active, state(iap.StatusActive, "2", 31*day), []iap.EventType{iap.EventRenewed}},
		{"renewed and then expired", &active, state(iap.StatusExpired, "2", 2*day), []iap.EventType{iap.EventRenewed, iap.EventExpired}},
		{"renewed late", new(state(iap.StatusExpired, "1", -day)), state(iap.StatusActive, "2", 29*day+time.Hour), []iap.EventType{iap.EventRenewed}},
		{"extended", &active, state(iap.StatusActive, "1", 20*day), []iap.EventType{iap.EventExtended}},
		{"expired", &active, state(iap.StatusExpired, "1", day), []iap.EventType{iap.EventExpired}},
		{"grace period", &active, state(iap.StatusGracePeriod, "1", day), []iap.EventType{iap.EventEnteredGracePeriod}},
		{"billing retry", &active, state(iap.StatusBillingRetry, "1", day), []iap.EventType{iap.EventEnteredBillingRetry}},
		{"billing retry ends", &retry, expired, []iap.EventType{iap.EventExpired}},
		{"recovered", &retry, state(iap.StatusActive, "2", 20*day), []iap.EventType{iap.EventRecovered}},
		{"recovered without a new period", &retry, state(iap.StatusActive, "1", -10*day), []iap.EventType{iap.EventRecovered}},
		{"came back", &expired, state(iap.StatusActive, "2", 25*day), []iap.EventType{iap.EventResubscribed}},
		{"refunded", &active, revoked, []iap.EventType{iap.EventRefunded}},
		{"renewed and refunded", &active, state(iap.StatusRevoked, "2", 31*day), []iap.EventType{iap.EventRefunded}},
		{"family access lost", &active, state(iap.StatusRevoked, "1", day, func(s *iap.Subscription) { s.InAppOwnershipType = iap.OwnershipFamilyShared }), []iap.EventType{iap.EventFamilyAccessLost}},
		{"refund reversed", &revoked, active, []iap.EventType{iap.EventRefundReversed}},
		{"bought again after a refund", &revoked, state(iap.StatusActive, "2", 31*day), []iap.EventType{iap.EventResubscribed}},
		{"renewal turned off", &active, state(iap.StatusActive, "1", day, renewsOff), []iap.EventType{iap.EventAutoRenewDisabled}},
		{"renewal turned on", new(state(iap.StatusActive, "1", day, renewsOff)), active, []iap.EventType{iap.EventAutoRenewEnabled}},
		{"renewal not told of", &active, state(iap.StatusActive, "1", day, func(s *iap.Subscription) { s.AutoRenewStatus = nil }), nil},
		{"another product", &active, state(iap.StatusActive, "2", 31*day, func(s *iap.Subscription) { s.ProductID = "yearly" }), []iap.EventType{iap.EventRenewed, iap.EventProductChanged}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, iap.Changes(test.before, test.after)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPurchaseChanges(t *testing.T) {
	t.Parallel()
	kept, lost := iap.Purchase{TransactionID: "1"}, iap.Purchase{TransactionID: "1", RevocationDate: now}
	tests := []struct {
		name   string
		before *iap.Purchase
		after  iap.Purchase
		want   []iap.EventType
	}{
		{"bought", nil, kept, []iap.EventType{iap.EventPurchased}},
		{"bought and refunded", nil, lost, []iap.EventType{iap.EventPurchased, iap.EventRefunded}},
		{"refunded", &kept, lost, []iap.EventType{iap.EventRefunded}},
		{"refund reversed", &lost, kept, []iap.EventType{iap.EventRefundReversed}},
		{"nothing", &kept, kept, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, iap.PurchaseChanges(test.before, test.after)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
