// Package architecture holds no code but tests: of which package may import
// which, of what the production binary is made of, and of the files that deploy
// it. How the program behaves is left to the tests of its packages.
package architecture
