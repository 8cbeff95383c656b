package signed

import (
	"errors"

	"revalidator/internal/appstore/pki"
	"revalidator/internal/iap"
)

// errNoBundleID is a fault of the caller: without an app, anything would do.
var errNoBundleID = errors.New("verify a payload: the app has no bundle id")

// check compares the app and the environment of a payload.
func (a App) check(bundleID string, e iap.Environment) error {
	if a.BundleID == "" {
		return errNoBundleID
	}
	if err := a.checkEnvironment(e); err != nil {
		return err
	}
	switch bundleID {
	case a.BundleID:
		return nil
	case "":
		return pki.Errorf(pki.ReasonNoApp, "")
	}
	return pki.Errorf(pki.ReasonWrongApp, "of %.155q, want %q", bundleID, a.BundleID)
}

// checkAll also compares Apple's id, which payloads of the sandbox lack.
func (a App) checkAll(bundleID string, e iap.Environment, appAppleID *int64) error {
	if err := a.check(bundleID, e); err != nil {
		return err
	}
	if e == iap.Production && a.AppAppleID != 0 && (appAppleID == nil || *appAppleID != a.AppAppleID) {
		return pki.Errorf(pki.ReasonWrongApp, "with another Apple id of the app than %d", a.AppAppleID)
	}
	return nil
}

func (a App) checkEnvironment(e iap.Environment) error {
	switch {
	case isTestEnvironment(e):
		return testEnvironment(e)
	case e.Validate() != nil:
		return pki.Errorf(pki.ReasonUnknownEnvironment, "%s", printable(string(e), 32))
	case a.Environment != "" && e != a.Environment:
		return pki.Errorf(pki.ReasonWrongEnvironment, "of %s, want %s", e, a.Environment)
	}
	return nil
}

// isTestEnvironment reports the environments of StoreKit testing, whose payloads
// everybody with Xcode can make.
// https://developer.apple.com/documentation/storekit/appstore/environment
func isTestEnvironment(e iap.Environment) bool { return e == "Xcode" || e == "LocalTesting" }

func testEnvironment(e iap.Environment) error {
	return pki.Errorf(pki.ReasonTestEnvironment, "%s", e)
}

// check compares what a notification is about, wherever it says so.
func (n *Notification) check(app App) error {
	switch {
	case n.Data != nil:
		return app.checkAll(n.Data.BundleID, n.Data.Environment, n.Data.AppAppleID)
	case n.Summary != nil:
		return app.checkAll(n.Summary.BundleID, n.Summary.Environment, n.Summary.AppAppleID)
	case n.ExternalPurchaseToken != nil:
		t := n.ExternalPurchaseToken
		return app.checkAll(t.BundleID, t.Environment(), t.AppAppleID)
	case n.AppData != nil:
		return app.checkAll(n.AppData.BundleID, n.AppData.Environment, n.AppData.AppAppleID)
	}
	return pki.Errorf(pki.ReasonNoApp, "")
}
