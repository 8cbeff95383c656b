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

func types(changes []iap.Change) []iap.EventType {
	var all []iap.EventType
	for _, c := range changes {
		all = append(all, c.Type)
	}
	return all
}

// with is a change of a state.
func with(s iap.Subscription, change ...func(*iap.Subscription)) iap.Subscription {
	for _, c := range change {
		c(&s)
	}
	return s
}

func inProduct(id string) func(*iap.Subscription) {
	return func(s *iap.Subscription) { s.ProductID, s.AutoRenewProductID = id, id }
}

func nextProduct(id string) func(*iap.Subscription) {
	return func(s *iap.Subscription) { s.AutoRenewProductID = id }
}

func intent(i iap.ExpirationIntent) func(*iap.Subscription) {
	return func(s *iap.Subscription) { s.ExpirationIntent = i }
}

func price(consent, increase string) func(*iap.Subscription) {
	return func(s *iap.Subscription) { s.PriceConsentStatus, s.PriceIncreaseStatus = consent, increase }
}

func offered(kind iap.OfferType, id string) func(*iap.Subscription) {
	return func(s *iap.Subscription) { s.OfferType, s.OfferID = kind, id }
}

func onTrial(s *iap.Subscription) { s.OfferType, s.IsTrialPeriod = iap.OfferIntroductory, true }

func shared(s *iap.Subscription) { s.InAppOwnershipType = iap.OwnershipFamilyShared }

// lost has periods among the revoked ones, as of days ago.
func lost(days time.Duration, ids ...string) func(*iap.Subscription) {
	return func(s *iap.Subscription) {
		for _, id := range ids {
			s.Revocations = append(s.Revocations, iap.Revocation{TransactionID: id, ProductID: "monthly", RevocationDate: now.Add(-days * day)})
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	active := state(iap.StatusActive, "1", day, nextProduct("monthly"))
	renewed := state(iap.StatusActive, "2", 31*day, nextProduct("monthly"))
	off := with(active, renewsOff)
	expired := state(iap.StatusExpired, "1", -10*day, nextProduct("monthly"))
	gone := with(expired, renewsOff, intent(iap.IntentCustomerCancelled))
	retry := state(iap.StatusBillingRetry, "1", -10*day)
	grace := state(iap.StatusGracePeriod, "1", -10*day)
	revoked := state(iap.StatusRevoked, "1", day)
	trial := with(active, onTrial)
	yearly := state(iap.StatusActive, "2", 20*day, inProduct("yearly"))
	tests := []struct {
		name          string
		before, after iap.Subscription
		want          []iap.EventType
	}{
		{"nothing", active, active, nil},
		{"renewed", active, renewed, []iap.EventType{iap.EventRenewed}},
		{"renewed and then expired", active, state(iap.StatusExpired, "2", 2*day), []iap.EventType{iap.EventRenewed, iap.EventExpired}},
		{"renewed late", state(iap.StatusExpired, "1", -day), state(iap.StatusActive, "2", 29*day+time.Hour), []iap.EventType{iap.EventRenewed}},
		{"renewed after renewal was turned on again", off, renewed, []iap.EventType{iap.EventAutoRenewEnabled, iap.EventRenewed}},
		{"renewed, and renewal turned off", active, with(renewed, renewsOff), []iap.EventType{iap.EventRenewed, iap.EventAutoRenewDisabled}},
		{"extended", active, state(iap.StatusActive, "1", 20*day), []iap.EventType{iap.EventExtended}},
		{"extended after it expired", expired, state(iap.StatusActive, "1", 20*day), []iap.EventType{iap.EventExtended}},

		{"expired", active, with(active, func(s *iap.Subscription) { s.Status = iap.StatusExpired }), []iap.EventType{iap.EventExpired}},
		{"turned off and expired", active, gone, []iap.EventType{iap.EventAutoRenewDisabled, iap.EventExpired}},
		{"renewal ends with a price increase refused", active, with(gone, intent(iap.IntentPriceIncrease)), []iap.EventType{iap.EventExpired, iap.EventAutoRenewDisabled}},
		{"why it expired is learned later", expired, with(expired, intent(iap.IntentCustomerCancelled)), nil},
		{"grace period", active, state(iap.StatusGracePeriod, "1", day), []iap.EventType{iap.EventEnteredGracePeriod}},
		{"grace period ends", grace, retry, []iap.EventType{iap.EventEnteredBillingRetry}},
		{"billing retry", active, state(iap.StatusBillingRetry, "1", day), []iap.EventType{iap.EventEnteredBillingRetry}},
		{"billing retry after an expiry that was taken for the end", expired, retry, []iap.EventType{iap.EventEnteredBillingRetry}},
		{"billing retry ends", retry, with(gone, intent(iap.IntentBillingError)), []iap.EventType{iap.EventExpired, iap.EventAutoRenewDisabled}},
		{"recovered", retry, state(iap.StatusActive, "2", 20*day), []iap.EventType{iap.EventRecovered}},
		{"recovered in grace", grace, state(iap.StatusActive, "2", 20*day), []iap.EventType{iap.EventRecovered}},
		{"recovered without a new period", retry, state(iap.StatusActive, "1", -10*day), []iap.EventType{iap.EventRecovered}},
		{"recovered, and failed again", retry, state(iap.StatusBillingRetry, "2", -time.Hour), []iap.EventType{iap.EventRecovered, iap.EventEnteredBillingRetry}},

		{"came back", expired, state(iap.StatusActive, "2", 25*day), []iap.EventType{iap.EventResubscribed}},
		{"came back within hours after it had been ended", with(gone, func(s *iap.Subscription) { s.ExpiresDate = now.Add(-time.Hour) }), state(iap.StatusActive, "2", 30*day),
			[]iap.EventType{iap.EventResubscribed, iap.EventAutoRenewEnabled}},
		{"came back to another product", expired, state(iap.StatusActive, "2", 25*day, inProduct("yearly")), []iap.EventType{iap.EventResubscribed, iap.EventProductChanged}},

		{"refunded", active, revoked, []iap.EventType{iap.EventRefunded}},
		{"refunded, which ends renewal", active, with(revoked, renewsOff), []iap.EventType{iap.EventRefunded, iap.EventAutoRenewDisabled}},
		{"renewed and refunded", active, state(iap.StatusRevoked, "2", 31*day), []iap.EventType{iap.EventRenewed, iap.EventRefunded}},
		{"refunded in part: an older period", active, with(active, lost(1, "0")), []iap.EventType{iap.EventRefunded}},
		{"refunded in part: two older periods", active, with(active, lost(1, "0", "00")), []iap.EventType{iap.EventRefunded, iap.EventRefunded}},
		{"refunded and renewed: the period before", active, with(renewed, lost(-3, "1")), []iap.EventType{iap.EventRefunded, iap.EventRenewed}},
		{"refunded and bought again", active, with(renewed, lost(1, "1"), func(s *iap.Subscription) { s.PurchaseDate = now }), []iap.EventType{iap.EventRefunded, iap.EventResubscribed}},
		{"refunded, and a shorter one is left", with(active, func(s *iap.Subscription) { s.TransactionID, s.ExpiresDate = "9", now.Add(300*day) }),
			with(active, lost(1, "9"), func(s *iap.Subscription) { s.PurchaseDate = now.Add(-40 * day) }), []iap.EventType{iap.EventRefunded}},
		{"family access lost", with(active, shared), with(revoked, shared), []iap.EventType{iap.EventFamilyAccessLost}},
		{"refund reversed", revoked, active, []iap.EventType{iap.EventRefundReversed}},
		{"refund reversed after the period had ended", revoked, expired, []iap.EventType{iap.EventRefundReversed, iap.EventExpired}},
		{"refund of an older period reversed", with(active, lost(1, "0")), active, []iap.EventType{iap.EventRefundReversed}},
		{"bought again after a refund", with(revoked, lost(1, "1")), with(renewed, lost(1, "1")), []iap.EventType{iap.EventResubscribed}},

		{"renewal turned off", active, off, []iap.EventType{iap.EventAutoRenewDisabled}},
		{"renewal turned on", off, active, []iap.EventType{iap.EventAutoRenewEnabled}},
		{"renewal not told of", active, with(active, func(s *iap.Subscription) { s.AutoRenewStatus = nil }), nil},

		{"downgraded", active, with(renewed, inProduct("weekly")), []iap.EventType{iap.EventRenewed, iap.EventProductChanged}},
		{"downgraded as scheduled", with(active, nextProduct("weekly")), with(renewed, inProduct("weekly")), []iap.EventType{iap.EventRenewed, iap.EventProductChanged}},
		{"upgraded at once", with(active, func(s *iap.Subscription) { s.ExpiresDate = now.Add(20 * day) }), with(yearly, func(s *iap.Subscription) { s.PurchaseDate = now }), []iap.EventType{iap.EventProductChanged}},
		{"change scheduled", active, with(active, nextProduct("weekly")), []iap.EventType{iap.EventProductChangeScheduled}},
		{"scheduled change withdrawn", with(active, nextProduct("weekly")), active, []iap.EventType{iap.EventProductChangeScheduled}},
		{"next product learned for the first time", with(active, nextProduct("")), with(active, nextProduct("weekly")), nil},

		{"price increase waits for consent", active, with(active, price("0", "")), []iap.EventType{iap.EventPriceIncreasePending}},
		{"price increase accepted", with(active, price("0", "0")), with(active, price("1", "1")), []iap.EventType{iap.EventPriceIncreaseAccepted}},
		{"price increase that needs no consent", active, with(active, price("", "1")), []iap.EventType{iap.EventPriceIncreaseAccepted}},
		{"price increase accepted and renewed", with(active, price("0", "")), with(renewed, price("1", "")), []iap.EventType{iap.EventPriceIncreaseAccepted, iap.EventRenewed}},
		{"price increase is over", with(active, price("1", "")), renewed, []iap.EventType{iap.EventRenewed}},

		{"trial converted", trial, renewed, []iap.EventType{iap.EventRenewed, iap.EventTrialConverted}},
		{"trial converted after a failed payment", with(retry, onTrial), state(iap.StatusActive, "2", 20*day), []iap.EventType{iap.EventRecovered, iap.EventTrialConverted}},
		{"trial ended, and came back for money", with(expired, onTrial), state(iap.StatusActive, "2", 25*day), []iap.EventType{iap.EventResubscribed}},
		{"offer code", expired, state(iap.StatusActive, "2", 25*day, offered(iap.OfferCode, "SPRING")), []iap.EventType{iap.EventResubscribed, iap.EventOfferRedeemed}},
		{"free offer", active, with(renewed, offered(iap.OfferPromotional, "gift"), func(s *iap.Subscription) { s.IsTrialPeriod = true }),
			[]iap.EventType{iap.EventRenewed, iap.EventOfferRedeemed, iap.EventTrialStarted}},
		{"second period of an offer", with(active, offered(iap.OfferPromotional, "half")), with(renewed, offered(iap.OfferPromotional, "half")), []iap.EventType{iap.EventRenewed}},
		{"same offer again after a break", with(expired, offered(iap.OfferPromotional, "half")), state(iap.StatusActive, "2", 25*day, offered(iap.OfferPromotional, "half")),
			[]iap.EventType{iap.EventResubscribed, iap.EventOfferRedeemed}},
		{"everything at once", with(trial, renewsOff, nextProduct("weekly"), price("0", "")), with(renewed, inProduct("weekly"), price("1", ""), lost(-3, "1")),
			[]iap.EventType{iap.EventRefunded, iap.EventPriceIncreaseAccepted, iap.EventAutoRenewEnabled, iap.EventRenewed, iap.EventProductChanged, iap.EventTrialConverted}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, types(iap.Changes(&test.before, test.after, now))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFirstSight(t *testing.T) {
	t.Parallel()
	fresh := state(iap.StatusActive, "1", 28*day, nextProduct("monthly"))
	tests := []struct {
		name  string
		after iap.Subscription
		want  []iap.EventType
	}{
		{"just bought", fresh, []iap.EventType{iap.EventStarted}},
		{"on trial", with(fresh, onTrial), []iap.EventType{iap.EventStarted, iap.EventTrialStarted}},
		{"at an introductory price", with(fresh, offered(iap.OfferIntroductory, "")), []iap.EventType{iap.EventStarted, iap.EventOfferRedeemed}},
		{"just bought and refunded", with(fresh, func(s *iap.Subscription) { s.Status = iap.StatusRevoked }), []iap.EventType{iap.EventStarted, iap.EventRefunded}},
		{"just bought, ends, to be another product", with(fresh, renewsOff, nextProduct("weekly")), []iap.EventType{iap.EventStarted, iap.EventAutoRenewDisabled, iap.EventProductChangeScheduled}},
		{"bought long before the import", state(iap.StatusActive, "1", 20*day), nil},
		{"renewed just now, bought long ago", with(fresh, func(s *iap.Subscription) { s.OriginalPurchaseDate = now.Add(-300 * day) }), nil},
		{"over for long, with all kinds of past", with(state(iap.StatusExpired, "1", -90*day, renewsOff, onTrial), lost(80, "0")), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, types(iap.Changes(nil, test.after, now))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestChangesSayWhatAndWhen looks at the period and the date of changes.
func TestChangesSayWhatAndWhen(t *testing.T) {
	t.Parallel()
	before := state(iap.StatusActive, "2", -5*day)
	after := with(state(iap.StatusExpired, "3", -time.Hour, inProduct("yearly")), lost(3, "1"))
	want := []iap.Change{
		{Type: iap.EventRefunded, TransactionID: "1", ProductID: "monthly", At: now.Add(-3 * day)},
		{Type: iap.EventRenewed, TransactionID: "3", ProductID: "yearly", At: after.PurchaseDate},
		{Type: iap.EventProductChanged, TransactionID: "3", ProductID: "yearly", At: after.PurchaseDate},
		{Type: iap.EventExpired, TransactionID: "3", ProductID: "yearly", At: now.Add(-time.Hour)},
	}
	after.PurchaseDate = now.Add(-4 * day)
	want[1].At, want[2].At = after.PurchaseDate, after.PurchaseDate
	if diff := cmp.Diff(want, iap.Changes(&before, after, now)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	gaveUp := with(after, intent(iap.IntentBillingError))
	if got := iap.Changes(&before, gaveUp, now); !got[3].At.IsZero() {
		t.Errorf("expired after a failed payment: dated %s, but Apple does not say when it gave up", got[3].At)
	}
}

func TestPurchaseChanges(t *testing.T) {
	t.Parallel()
	kept := iap.Purchase{TransactionID: "1", PurchaseDate: now.Add(-day)}
	lost := kept
	lost.RevocationDate = now
	old := lost
	old.PurchaseDate = now.Add(-30 * day)
	tests := []struct {
		name   string
		before *iap.Purchase
		after  iap.Purchase
		want   []iap.EventType
	}{
		{"bought", nil, kept, []iap.EventType{iap.EventPurchased}},
		{"bought and refunded", nil, lost, []iap.EventType{iap.EventPurchased, iap.EventRefunded}},
		{"bought and refunded long before the import", nil, old, nil},
		{"refunded", &kept, lost, []iap.EventType{iap.EventRefunded}},
		{"refund reversed", &lost, kept, []iap.EventType{iap.EventRefundReversed}},
		{"nothing", &kept, kept, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, types(iap.PurchaseChanges(test.before, test.after, now))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
