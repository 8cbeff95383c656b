package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load reads the settings from an environment, given as os.Environ gives it,
// and from the files that it names. Its error holds one error for each mistake;
// it names variables and files, and quotes no secret.
func Load(environ []string) (Config, error) {
	variables := parseEnviron(environ)
	problems := unknownVariables(slices.Sorted(maps.Keys(variables)))
	files, unread := readSecretFiles(variables)
	problems = append(problems, unread...)

	var c Config
	problems = append(problems, parseProblems(env.ParseWithOptions(&c, env.Options{Environment: variables}), variables)...)
	// Relations between fields that could not be read would only confuse.
	if len(problems) == 0 {
		problems = c.problems()
	}
	if len(problems) > 0 {
		return Config{}, errors.Join(problems...)
	}
	c.Files.Secrets = files
	return c, nil
}

func parseEnviron(environ []string) map[string]string {
	variables := make(map[string]string, len(environ))
	for _, variable := range environ {
		// Windows has variables without a name, which the library would take for
		// the values of whole groups.
		if name, value, ok := strings.Cut(variable, "="); ok && name != "" {
			variables[name] = value
		}
	}
	return variables
}

// fileSuffix makes the name of the variable that names a secret's file.
const fileSuffix = "_FILE"

// readSecretFiles puts the contents of the files in the place of the variables
// that they stand for, and tells which those are.
func readSecretFiles(variables map[string]string) (files map[string]string, problems []error) {
	for _, setting := range Settings() {
		file := variables[setting.Env+fileSuffix]
		if !setting.Secret || file == "" {
			continue
		}
		if variables[setting.Env] != "" {
			problems = append(problems, fmt.Errorf("%s and %s%s are both set: keep one", setting.Env, setting.Env, fileSuffix))
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s%s: %w", setting.Env, fileSuffix, err))
			continue
		}
		if files == nil {
			files = make(map[string]string)
		}
		files[setting.Env] = file
		variables[setting.Env] = strings.TrimRight(string(text), "\r\n")
		if variables[setting.Env] == "" {
			problems = append(problems, fmt.Errorf("%s%s: %s is empty", setting.Env, fileSuffix, file))
		}
	}
	return files, problems
}

// parseProblems says what each variable should have been, where the library
// speaks of Go's fields and types.
func parseProblems(err error, variables map[string]string) []error {
	if err == nil {
		return nil
	}
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{err}
	}
	problems := make([]error, len(all.Errors))
	for i, err := range all.Errors {
		problems[i] = err
		var parse env.ParseError
		if errors.As(err, &parse) {
			name := variableOf(parse.Name)
			problems[i] = fmt.Errorf("%s: %q is not %s", name, variables[name], wanted(parse.Type))
		}
	}
	return problems
}

// variableOf finds the variable of a field that can be read wrongly. A secret
// is any text and cannot.
func variableOf(field string) string {
	for _, setting := range Settings() {
		if setting.field == field && !setting.Secret {
			return setting.Env
		}
	}
	return field
}

func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 10ms, 90s or 8h"
	case reflect.TypeFor[TimeZone]():
		return "a time zone such as UTC or Europe/Berlin"
	case reflect.TypeFor[Prefix](), reflect.TypeFor[[]Prefix]():
		return "a list of addresses or networks such as 127.0.0.1,10.0.0.0/8"
	case reflect.TypeFor[slog.Level]():
		return "debug, info, warn or error"
	case reflect.TypeFor[bool]():
		return "true or false"
	}
	return "a whole number"
}
