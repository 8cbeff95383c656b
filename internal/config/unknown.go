package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/agnivade/levenshtein"
)

// prefix marks the variables that are ours alone, so that an unknown one is a
// typing mistake.
const prefix = "REVALIDATOR_"

// foreign is what has our prefix and is no setting: the variables of tests, and
// those that Kubernetes gives to every container next to a service whose name
// begins with ours.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var foreign = regexp.MustCompile(`^REVALIDATOR_(TEST_.*|CORPUS` +
	`|(.+_)?SERVICE_(HOST|PORT)(_.+)?|(.+_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknownVariables reports the names that look like a setting and are none.
func unknownVariables(names []string) []error {
	known := knownVariables()
	var problems []error
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) || known[name] || foreign.MatchString(name) {
			continue
		}
		problems = append(problems, fmt.Errorf("%s is no setting; did you mean %s?", name, nearest(name, known)))
	}
	return problems
}

func knownVariables() map[string]bool {
	known := make(map[string]bool)
	for _, setting := range Settings() {
		known[setting.Env] = true
		if setting.Secret {
			known[setting.Env+fileSuffix] = true
		}
	}
	return known
}

// nearest is the known name that takes the fewest edits; of several, the first
// in the alphabet.
func nearest(name string, known map[string]bool) string {
	best, fewest := "", len(name)+100
	for candidate := range known {
		edits := levenshtein.ComputeDistance(name, candidate)
		if edits < fewest || edits == fewest && candidate < best {
			best, fewest = candidate, edits
		}
	}
	return best
}
