package worker

import (
	"cmp"
	"errors"
	"time"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
)

// Judge is what a worker concludes from the facts of a reply of verifyReceipt, or
// the name of the class under which it records the error in their place.
func Judge(f *iap.Facts, err error) (conclusion *iap.Conclusion, class string) {
	conclusion, c := judge((*verifyReceipt)(nil), f, err)
	return conclusion, c.Name
}

// JudgeSaved is what a worker concludes from a reply of verifyReceipt that somebody
// has saved: as if it had just come, by the same functions. bundleID is the app
// that it must be of, empty for whichever it names. One that names no time, as those
// in the style of iOS 6, is taken to have come now.
//
// The conclusion is nil where a worker does not accept it; class is then what it
// records, empty where the reply sends it to the other environment.
func JudgeSaved(r appstore.Reply, bundleID string, now time.Time) (conclusion *iap.Conclusion, class string, err error) {
	if r.Facts.AsOf.IsZero() {
		r.Facts.AsOf = now.UTC()
	}
	err = r.Judge(cmp.Or(bundleID, r.Facts.BundleID), r.Facts.Environment)
	conclusion, class = Judge(&r.Facts, err)
	if errors.Is(err, appstore.ErrEnvironmentSwitch) {
		class = ""
	}
	return conclusion, class, err
}
