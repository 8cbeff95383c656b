package architecture

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"revalidator/internal/config"
)

// composeFile is docker-compose.yml, as far as it is used there: a key that is
// not known is a mistake in it, or a field that is missing here.
type composeFile struct {
	Name     string
	Services map[string]composeService
	Secrets  map[string]struct{ File string }
	Volumes  map[string]any
	// Fragments are the parts that services share.
	Fragments map[string]any `yaml:",inline"`
}

type composeService struct {
	Image           string
	Build           any
	Profiles        []string
	Command         []string
	Environment     map[string]string
	Secrets         []string
	Ports           []string
	Volumes         []string
	Restart         string
	DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
	HealthCheck     *composeHealthCheck
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`
	NetworkMode     string        `yaml:"network_mode"`
	ShmSize         string        `yaml:"shm_size"`
	ReadOnly        bool          `yaml:"read_only"`
	CapDrop         []string      `yaml:"cap_drop"`
	SecurityOpt     []string      `yaml:"security_opt"`
}

type composeHealthCheck struct {
	Test        []string
	Interval    time.Duration
	Timeout     time.Duration
	StartPeriod time.Duration `yaml:"start_period"`
	Retries     int
}

// loadCompose reads docker-compose.yml with no variable set but the given ones,
// and leaves out the services of other profiles.
func loadCompose(t *testing.T, environment map[string]string, profiles ...string) map[string]composeService {
	t.Helper()
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Load(interpolate(text, environment), &file, yaml.WithKnownFields()); err != nil {
		t.Fatalf("load docker-compose.yml: %v", err)
	}
	for name := range file.Fragments {
		if !strings.HasPrefix(name, "x-") {
			t.Errorf("docker-compose.yml: unknown key %s", name)
		}
	}
	maps.DeleteFunc(file.Services, func(_ string, s composeService) bool {
		return len(s.Profiles) > 0 && !slices.ContainsFunc(s.Profiles, func(p string) bool { return slices.Contains(profiles, p) })
	})
	return file.Services
}

// variable is ${NAME:-default}, the one form of a variable in the file.
var variable = regexp.MustCompile(`\$\{(\w+):-([^}]*)\}`)

func interpolate(text []byte, environment map[string]string) []byte {
	return variable.ReplaceAllFunc(text, func(match []byte) []byte {
		parts := variable.FindSubmatch(match)
		if value := environment[string(parts[1])]; value != "" {
			return []byte(value)
		}
		return parts[2]
	})
}

func TestComposeServices(t *testing.T) {
	t.Parallel()
	always := []string{"migrate", "postgres", "redis", "scheduler", "ui", "worker"}
	tests := []struct {
		name     string
		profiles []string
		want     []string
	}{
		{"no profile", nil, always},
		{"sim", []string{"sim"}, append([]string{"applesim"}, always...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := slices.Sorted(maps.Keys(loadCompose(t, nil, test.profiles...)))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("services (-want +got):\n%s", diff)
			}
		})
	}
}

func TestComposeOrder(t *testing.T) {
	t.Parallel()
	const (
		started   = "service_started"
		healthy   = "service_healthy"
		completed = "service_completed_successfully"
	)
	afterMigration := map[string]string{"postgres": healthy, "redis": healthy, "migrate": completed}
	want := map[string]map[string]string{
		"postgres":  {},
		"redis":     {},
		"migrate":   {"postgres": healthy},
		"scheduler": afterMigration,
		"worker":    afterMigration,
		"ui":        afterMigration,
		"applesim":  {"worker": started},
	}
	got := map[string]map[string]string{}
	services := loadCompose(t, nil, "sim")
	for name, service := range services {
		got[name] = map[string]string{}
		for other, dependency := range service.DependsOn {
			got[name][other] = dependency.Condition
			if dependency.Condition == healthy && services[other].HealthCheck == nil {
				t.Errorf("%s waits for the health of %s, which has no check", name, other)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who waits for what (-want +got):\n%s", diff)
	}
}

// programServices are the services that run cmd/revalidator.
func programServices(services map[string]composeService) map[string]composeService {
	maps.DeleteFunc(services, func(_ string, s composeService) bool { return s.Image != "revalidator:local" })
	return services
}

// TestComposeCommands relies on cmd/revalidator having a file for each of its
// commands.
func TestComposeCommands(t *testing.T) {
	t.Parallel()
	for name, service := range programServices(loadCompose(t, nil)) {
		if len(service.Command) == 0 {
			t.Errorf("%s has no command", name)
			continue
		}
		if _, err := os.Stat("../../cmd/revalidator/" + service.Command[0] + ".go"); err != nil {
			t.Errorf("%s runs the command %s: %v", name, service.Command[0], err)
		}
	}
}

// TestComposeSecrets keeps each secret from services that have no use for it.
func TestComposeSecrets(t *testing.T) {
	t.Parallel()
	got := map[string][]string{}
	for name, service := range loadCompose(t, nil, "sim") {
		if len(service.Secrets) > 0 {
			got[name] = service.Secrets
		}
	}
	want := map[string][]string{"worker": {"revalidator_keys"}, "ui": {"revalidator_ui_password"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("secrets of services (-want +got):\n%s", diff)
	}
}

// TestComposeSettings has the program itself read what each service gives it:
// a variable that is no setting, or has a value that is refused, shows here and
// not at the first start.
func TestComposeSettings(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("made up"), 0o600); err != nil {
		t.Fatal(err)
	}
	simulated := map[string]string{
		"REVALIDATOR_APPLE_PRODUCTION_URL": "http://127.0.0.1:8090/production/verifyReceipt",
		"REVALIDATOR_APPLE_SANDBOX_URL":    "http://127.0.0.1:8090/sandbox/verifyReceipt",
	}
	for name, environment := range map[string]map[string]string{"defaults": nil, "simulated": simulated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for service, parts := range programServices(loadCompose(t, environment)) {
				variables := parts.Environment
				for _, name := range []string{"REVALIDATOR_KEYS_FILE", "REVALIDATOR_UI_PASSWORD_FILE"} {
					if variables[name] == "" {
						continue
					}
					if len(parts.Secrets) != 1 || variables[name] != "/run/secrets/"+parts.Secrets[0] {
						t.Errorf("%s: %s is not where its secret is", service, name)
					}
					variables[name] = secret
				}
				settings, err := config.Load(environ(variables))
				if err != nil {
					t.Errorf("%s: %v", service, err)
					continue
				}
				if err := settings.RequireDatabase(); err != nil {
					t.Errorf("%s: %v", service, err)
				}
				// A warning that stays teaches people to leave doctor unread.
				if weak := settings.Weaknesses(); len(weak) > 0 {
					t.Errorf("%s: doctor would always warn: %v", service, weak)
				}
			}
		})
	}
}

// environ is a map in the form of os.Environ.
func environ(variables map[string]string) []string {
	var all []string
	for name, value := range variables {
		all = append(all, name+"="+value)
	}
	return all
}

func TestComposeWorkerOutlivesItsShutdown(t *testing.T) {
	t.Parallel()
	worker := loadCompose(t, nil)["worker"]
	settings, err := config.Load([]string{"DATABASE_URL=" + worker.Environment["DATABASE_URL"]})
	if err != nil {
		t.Fatal(err)
	}
	if worker.StopGracePeriod == 0 {
		t.Fatal("the worker has no stop_grace_period: it would be killed after ten seconds")
	}
	if grace := worker.StopGracePeriod; grace <= settings.Worker.ShutdownTimeout {
		t.Errorf("stop_grace_period: got %s, want more than %s", grace, settings.Worker.ShutdownTimeout)
	}
}

// TestComposePorts keeps everything from other machines.
func TestComposePorts(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for name, service := range loadCompose(t, nil, "sim") {
		for _, port := range service.Ports {
			got[name] = port
		}
	}
	if diff := cmp.Diff(map[string]string{"ui": "127.0.0.1:8080:8080"}, got); diff != "" {
		t.Errorf("published ports (-want +got):\n%s", diff)
	}
}

func TestComposeImagesArePinned(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`:[0-9]+(\.[0-9]+)*$`)
	for name, service := range loadCompose(t, nil, "sim") {
		if service.Build == nil && !pinned.MatchString(service.Image) {
			t.Errorf("%s: image %s has no version", name, service.Image)
		}
		if service.Build != nil && !strings.HasSuffix(service.Image, ":local") {
			t.Errorf("%s: image %s is built here and could be taken for a published one", name, service.Image)
		}
	}
}
