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

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"

	"revalidator/internal/config"
)

// loadCompose reads docker-compose.yml as docker compose does, with no
// variable set but the given ones.
func loadCompose(t *testing.T, environment []string, profiles ...string) *types.Project {
	t.Helper()
	path, err := filepath.Abs("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{path},
		cli.WithEnv(environment), cli.WithProfiles(profiles), cli.WithDiscardEnvFile)
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("load docker-compose.yml: %v", err)
	}
	return project
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
			got := slices.Sorted(maps.Keys(loadCompose(t, nil, test.profiles...).Services))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("services (-want +got):\n%s", diff)
			}
		})
	}
}

func TestComposeOrder(t *testing.T) {
	t.Parallel()
	const (
		started   = types.ServiceConditionStarted
		healthy   = types.ServiceConditionHealthy
		completed = types.ServiceConditionCompletedSuccessfully
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
	project := loadCompose(t, nil, "sim")
	for name, service := range project.Services {
		got[name] = map[string]string{}
		for other, dependency := range service.DependsOn {
			got[name][other] = dependency.Condition
			if dependency.Condition == healthy && project.Services[other].HealthCheck == nil {
				t.Errorf("%s waits for the health of %s, which has no check", name, other)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who waits for what (-want +got):\n%s", diff)
	}
}

// programServices are the services that run cmd/revalidator.
func programServices(project *types.Project) []types.ServiceConfig {
	return slices.DeleteFunc(slices.Collect(maps.Values(project.Services)), func(service types.ServiceConfig) bool {
		return service.Image != "revalidator:local"
	})
}

// TestComposeCommands relies on cmd/revalidator having a file for each of its
// commands.
func TestComposeCommands(t *testing.T) {
	t.Parallel()
	for _, service := range programServices(loadCompose(t, nil)) {
		if len(service.Command) == 0 {
			t.Errorf("%s has no command", service.Name)
			continue
		}
		if _, err := os.Stat("../../cmd/revalidator/" + service.Command[0] + ".go"); err != nil {
			t.Errorf("%s runs the command %s: %v", service.Name, service.Command[0], err)
		}
	}
}

// TestComposeSecrets keeps each secret from services that have no use for it.
func TestComposeSecrets(t *testing.T) {
	t.Parallel()
	got := map[string][]string{}
	for name, service := range loadCompose(t, nil, "sim").Services {
		for _, secret := range service.Secrets {
			got[name] = append(got[name], secret.Source)
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
	simulated := []string{
		"REVALIDATOR_APPLE_PRODUCTION_URL=http://127.0.0.1:8090/production/verifyReceipt",
		"REVALIDATOR_APPLE_SANDBOX_URL=http://127.0.0.1:8090/sandbox/verifyReceipt",
	}
	for name, environment := range map[string][]string{"defaults": nil, "simulated": simulated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, service := range programServices(loadCompose(t, environment)) {
				variables := service.Environment.ToMapping()
				for _, name := range []string{"REVALIDATOR_KEYS_FILE", "REVALIDATOR_UI_PASSWORD_FILE"} {
					if variables[name] == "" {
						continue
					}
					if len(service.Secrets) != 1 || variables[name] != "/run/secrets/"+service.Secrets[0].Source {
						t.Errorf("%s: %s is not where its secret is", service.Name, name)
					}
					variables[name] = secret
				}
				settings, err := config.Load(variables.Values())
				if err != nil {
					t.Errorf("%s: %v", service.Name, err)
					continue
				}
				if err := settings.RequireDatabase(); err != nil {
					t.Errorf("%s: %v", service.Name, err)
				}
			}
		})
	}
}

func TestComposeWorkerOutlivesItsShutdown(t *testing.T) {
	t.Parallel()
	worker := loadCompose(t, nil).Services["worker"]
	settings, err := config.Load([]string{"DATABASE_URL=" + worker.Environment.ToMapping()["DATABASE_URL"]})
	if err != nil {
		t.Fatal(err)
	}
	if worker.StopGracePeriod == nil {
		t.Fatal("the worker has no stop_grace_period: it would be killed after ten seconds")
	}
	if grace := time.Duration(*worker.StopGracePeriod); grace <= settings.Worker.ShutdownTimeout {
		t.Errorf("stop_grace_period: got %s, want more than %s", grace, settings.Worker.ShutdownTimeout)
	}
}

// TestComposePorts keeps everything from other machines.
func TestComposePorts(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for name, service := range loadCompose(t, nil, "sim").Services {
		for _, port := range service.Ports {
			got[name] = port.HostIP + ":" + port.Published
		}
	}
	if diff := cmp.Diff(map[string]string{"ui": "127.0.0.1:8080"}, got); diff != "" {
		t.Errorf("published ports (-want +got):\n%s", diff)
	}
}

func TestComposeImagesArePinned(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`:[0-9]+(\.[0-9]+)*$`)
	for name, service := range loadCompose(t, nil, "sim").Services {
		if service.Build == nil && !pinned.MatchString(service.Image) {
			t.Errorf("%s: image %s has no version", name, service.Image)
		}
		if service.Build != nil && !strings.HasSuffix(service.Image, ":local") {
			t.Errorf("%s: image %s is built here and could be taken for a published one", name, service.Image)
		}
	}
}
