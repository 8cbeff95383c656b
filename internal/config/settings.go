package config

import (
	"fmt"
	"reflect"
	"strings"

	"revalidator/internal/secret"
)

// Setting describes one setting for people.
type Setting struct {
	// Env is the name of the variable.
	Env string
	// Default is what an unset variable means; empty is nothing.
	Default string
	// Meaning is a sentence or two.
	Meaning string
	// Secret settings may also come from a file, named by Env + "_FILE".
	Secret bool

	field string // in its group of Config
}

// Settings lists every setting in the order of Config.
func Settings() []Setting {
	var all []Setting
	for _, group := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		for _, field := range reflect.VisibleFields(group.Type) {
			if name, ok := field.Tag.Lookup("env"); ok {
				all = append(all, Setting{
					Env:     name,
					Default: field.Tag.Get("envDefault"),
					Meaning: field.Tag.Get("help"),
					Secret:  field.Type == reflect.TypeFor[secret.Value](),
					field:   field.Name,
				})
			}
		}
	}
	return all
}

// Markdown is the table of all settings for docs/settings.md.
func Markdown() string {
	var table strings.Builder
	table.WriteString("| Variable | Default | Meaning |\n| --- | --- | --- |\n")
	for _, setting := range Settings() {
		name, fallback := "`"+setting.Env+"`", ""
		if setting.Secret {
			name += " or `" + setting.Env + fileSuffix + "`"
		}
		if setting.Default != "" {
			fallback = "`" + setting.Default + "`"
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", name, fallback, setting.Meaning)
	}
	return table.String()
}
