package signed

// Remembered is how many chains a verifier remembers.
func Remembered(v *Verifier) int { return len(v.chains.known) }
