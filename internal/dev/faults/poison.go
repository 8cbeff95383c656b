package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/lib/pq"
)

// The poison: a worker that is built with it panics over each receipt whose id
// leaves a remainder. The product has no hook for that.
const (
	poisonedFile = "handle.go"
	poisonPlace  = "\nfunc (w *Worker) check(ctx context.Context, r claim.Receipt, room *room) (claim.Outcome, error) {\n"
	poison       = "\tif r.ID%400 == 7 {\n\t\tpanic(\"poison\")\n\t}\n"
	isPoison     = `id % 400 = 7`
	// deadly is how often in a row the program stumbles over a receipt before it
	// sets it aside.
	deadly = 3
)

// poisonReceipt has workers that panic over some receipts, which are as new as if
// Apple had never accepted them, because one that it did takes three days; and then
// workers that do not, for which the receipts are taken out of quarantine.
func poisonReceipt() Scenario {
	var run *process // of the released receipts
	return Scenario{
		Name: "poison receipt", Faults: "workers that panic over one receipt in 400; then others without the fault, and two more runs", Again: true,
		Prepare: func(ctx context.Context, w *World) (err error) {
			w.workerBinary, err = w.suite.poisoned(ctx, w.folder)
			return err
		},
		Start: func(w *World) error {
			if _, err := w.DB.Exec(`UPDATE receipts SET accepted_at = NULL WHERE ` + isPoison); err != nil {
				return err
			}
			return w.startAll()
		},
		Attack: func(ctx context.Context, w *World) (err error) {
			if err := await(ctx, "the run is finished", patience, w.Finished); err != nil {
				return err
			}
			if err := w.poisonIsSetAside(ctx); err != nil {
				return err
			}
			run, err = w.releasePoison(ctx)
			return err
		},
		Recovered: func(ctx context.Context, w *World) (bool, error) {
			select {
			case <-run.Ended():
				left, err := w.number(ctx, `SELECT count(*) FROM receipts WHERE state <> 'valid' OR last_error IS NOT NULL`)
				return left == 0, errors.Join(run.Err(), err)
			default:
				return false, nil
			}
		},
	}
}

// poisoned builds the program with the poison in a copy of one file.
func (s *Suite) poisoned(ctx context.Context, folder string) (binary string, err error) {
	if s.cfg.Binary != "" {
		return "", &SkipError{"needs to build the program"}
	}
	place, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "revalidator/worker").Output()
	if err != nil {
		return "", fmt.Errorf("find the worker's source: %w", err)
	}
	name := filepath.Join(strings.TrimSpace(string(place)), poisonedFile)
	source, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	text, err := withPoison(string(source))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	replacement, overlay := filepath.Join(folder, poisonedFile), filepath.Join(folder, "overlay.json")
	document, err := json.Marshal(map[string]any{"Replace": map[string]string{name: replacement}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(replacement, []byte(text), 0o600), os.WriteFile(overlay, document, 0o600)); err != nil {
		return "", err
	}
	binary = filepath.Join(folder, "poisoned")
	output, err := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", binary, "revalidator/cmd/revalidator").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the program with the poison: %w\n%s", err, output)
	}
	return binary, nil
}

func withPoison(source string) (string, error) {
	if strings.Count(source, poisonPlace) != 1 {
		return "", fmt.Errorf("the place for the poison is not there once: %q", strings.TrimSpace(poisonPlace))
	}
	return strings.Replace(source, poisonPlace, poisonPlace+poison, 1), nil
}

// poisonIsSetAside holds the end of the first run to what was promised: the other
// receipts are done, those with the poison are set aside and listed with the
// reason, and each panic was told with its stack.
func (w *World) poisonIsSetAside(ctx context.Context) error {
	var poisonous []int64
	err := w.DB.QueryRowContext(ctx, `SELECT array_agg(id ORDER BY id) FROM receipts WHERE `+isPoison).Scan(pq.Array(&poisonous))
	if err != nil {
		return err
	}
	left, err := w.number(ctx, `SELECT count(*) FROM receipts WHERE NOT `+isPoison+`
		AND (state <> 'valid' OR last_error IS NOT NULL OR last_checked_at < $1)`, w.started)
	if err != nil {
		return err
	}
	if left > 0 {
		return &brokenPromise{fmt.Sprintf("%d receipts without the poison are not done", left)}
	}
	output, err := w.suite.output(ctx, w.feederEnv, "receipts", "quarantined", "--reason", "panicked", "--json")
	if err != nil {
		return err
	}
	var listed struct {
		Receipts []struct{ ID int64 }
	}
	if err := json.Unmarshal(output, &listed); err != nil {
		return err
	}
	var aside []int64
	for _, r := range listed.Receipts {
		aside = append(aside, r.ID)
	}
	if !slices.Equal(aside, poisonous) {
		return &brokenPromise{fmt.Sprintf("in quarantine are receipts %d, want %d", aside, poisonous)}
	}
	return w.eachPanicIsTold(poisonous)
}

// eachPanicIsTold looks into the logs of the workers.
func (w *World) eachPanicIsTold(poisonous []int64) error {
	told := make(map[string]int)
	for _, p := range w.workers {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return err
		}
		for _, found := range panicLine.FindAllSubmatch(text, -1) {
			told[string(found[1])]++
		}
	}
	for _, id := range poisonous {
		if n := told[fmt.Sprint(id)]; n != deadly {
			return &brokenPromise{fmt.Sprintf("%d panics over receipt %d are told with their stacks, want %d", n, id, deadly)}
		}
	}
	return nil
}

// panicLine is how a worker tells of a panic over a receipt: where it happened
// is in the stack.
var panicLine = regexp.MustCompile(`level=ERROR msg="panic: [^"]*" receipt_id=(\d+) cause=string stack=".*\(\*Worker\)\.check\(`)

// releasePoison replaces the workers by some without the poison, takes its
// receipts out of quarantine, and starts a run, in which they are all that is due.
func (w *World) releasePoison(ctx context.Context) (run *process, err error) {
	w.workerBinary = ""
	for range len(w.workers) {
		if err := errors.Join(w.StopWorker(), w.StartWorker()); err != nil {
			return nil, err
		}
	}
	if err := w.suite.command(ctx, w.feederEnv, "receipts", "release", "--all", "--reason", "panicked"); err != nil {
		return nil, err
	}
	left, err := w.number(ctx, `SELECT count(*) FROM receipts WHERE `+isPoison+` AND (state = 'quarantined' OR next_check_at IS NULL OR next_check_at > now())`)
	if err != nil {
		return nil, err
	}
	if left > 0 {
		return nil, &brokenPromise{fmt.Sprintf("%d receipts that were released are still in quarantine, or not due", left)}
	}
	w.runs++
	return w.start(w.feederEnv, "run", "--quiet")
}
