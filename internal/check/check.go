// Package check finds out what one receipt is, from a file or from the database, and
// what Apple says about it. Nothing is stored.
package check
