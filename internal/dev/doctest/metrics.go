package doctest

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics is a prometheus.Registerer that keeps what it is given for a table.
type Metrics struct{ collectors []prometheus.Collector }

// Register implements prometheus.Registerer.
func (m *Metrics) Register(c prometheus.Collector) error {
	m.collectors = append(m.collectors, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (m *Metrics) MustRegister(all ...prometheus.Collector) {
	m.collectors = append(m.collectors, all...)
}

// Unregister implements prometheus.Registerer.
func (m *Metrics) Unregister(prometheus.Collector) bool { return false }

// description is how a prometheus.Desc, which keeps its fields to itself, prints.
var description = regexp.MustCompile(`^Desc\{fqName: (".*?"), help: (".*?"), (?:unit: ".*?", )?constLabels: \{\}, variableLabels: \{(.*)\}\}$`)

// Markdown is the table of the metrics, in the order of their description.
func (m *Metrics) Markdown(t *testing.T) string {
	t.Helper()
	var table strings.Builder
	table.WriteString(Row("Metric", "Labels", "Meaning") + Row("---", "---", "---"))
	for _, c := range m.collectors {
		descriptions := make(chan *prometheus.Desc)
		go func() {
			defer close(descriptions)
			c.Describe(descriptions)
		}()
		for d := range descriptions {
			table.WriteString(metric(t, d))
		}
	}
	return table.String()
}

func metric(t *testing.T, d *prometheus.Desc) string {
	t.Helper()
	parts := description.FindStringSubmatch(d.String())
	if parts == nil {
		t.Fatalf("a description prints in another form: %s", d)
	}
	name, nameErr := strconv.Unquote(parts[1])
	help, helpErr := strconv.Unquote(parts[2])
	if nameErr != nil || helpErr != nil {
		t.Fatalf("a description prints in another form: %s", d)
	}
	checkForm(t, name, help)
	var labels []string
	for label := range strings.SplitSeq(parts[3], ",") {
		if label != "" {
			labels = append(labels, "`"+label+"`")
		}
	}
	return Row("`"+name+"`", strings.Join(labels, ", "), help)
}

// forms are how a help begins, which names the unit of the metric: the end of its
// name, and what it counts.
var forms = regexp.MustCompile(`^(Number of [a-z]+\b.*|Seconds .*|Ratio of .*|1 (while|if) .*(; 0 otherwise|; absent otherwise).*)\.$`)

// checkForm holds a metric to its form: revalidator_<noun>_<unit>, and a help that
// says of what it is the number, the seconds or the ratio.
func checkForm(t *testing.T, name, help string) {
	t.Helper()
	form := forms.FindStringSubmatch(help)
	if form == nil {
		t.Errorf("the help of %s begins with no unit, or does not end as a sentence: %q", name, help)
		return
	}
	units := map[string]bool{
		"Seconds": strings.HasSuffix(name, "_seconds"), "Ratio": strings.HasSuffix(name, "_ratio"),
		"Number": !strings.HasSuffix(name, "_seconds") && !strings.HasSuffix(name, "_ratio"), "1": !strings.HasSuffix(name, "_total"),
	}
	if unit, _, _ := strings.Cut(help, " "); !units[unit] || !strings.HasPrefix(name, "revalidator_") {
		t.Errorf("the name of %s does not go with its help: %q", name, help)
	}
}
