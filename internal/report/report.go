// Package report holds read models for people: status, runs, comparisons,
// explanations, forecasts, findings. It reads them through small interfaces and
// leaves the printing to the command line and the pages.
package report

// list is a list that is [] in JSON where it is empty.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
