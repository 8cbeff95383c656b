package intake

import (
	"maps"

	"revalidator/internal/iap"
)

// Summary is what an import did.
type Summary struct {
	Lines    int64 `json:"lines"`
	Added    int64 `json:"added"`
	Known    int64 `json:"known"`
	Rejected int64 `json:"rejected"`
	// Unverified are those of the added and known whose signature is not verified,
	// and Xcode those of Xcode's StoreKit testing, which are never checked.
	Unverified int64 `json:"unverified"`
	Xcode      int64 `json:"xcode"`
	// RejectedByReason has a line's reason as the rejects file has it.
	RejectedByReason map[Reason]int64 `json:"rejected_by_reason"`
	// RejectsFile is nil where nothing was rejected.
	RejectsFile *string `json:"rejects_file"`
	// Complete is false for an import that ended before its input did; every
	// line up to LastLine is done all the same.
	Complete bool  `json:"complete"`
	LastLine int64 `json:"last_line"`
}

// NewSummary sums up an import whose rejected lines are in a file.
func NewSummary(r Result, rejects string, complete bool) Summary {
	s := Summary{
		Lines: r.Lines, Added: r.Added, Known: r.Known, Rejected: r.Rejected, Unverified: r.Unverified, Xcode: r.ByKind[iap.KindXcode],
		RejectedByReason: make(map[Reason]int64), Complete: complete, LastLine: r.LastLine,
	}
	maps.Copy(s.RejectedByReason, r.ByReason)
	if r.Rejected > 0 {
		s.RejectsFile = &rejects
	}
	return s
}
