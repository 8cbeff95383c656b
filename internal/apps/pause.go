package apps

import "strings"

// Why an app is paused: by a person, or by the program itself, which a secret that
// Apple accepts takes back.
const (
	PausedByPerson      = "person"
	PausedNoSecret      = "no_shared_secret"
	PausedSecretRefused = "shared_secret_refused"
)

// PauseReason is why an app is paused, for people: what the person wrote who paused
// it, or the code in words.
func PauseReason(code, text *string) string {
	switch {
	case text != nil:
		return *text
	case code == nil:
		return ""
	case *code == PausedSecretRefused:
		return "every shared secret was refused"
	}
	return strings.ReplaceAll(*code, "_", " ")
}
