package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// OpenInput opens a file to read; its size is -1 where that is unknown. Reading
// ends with ctx where it may have to wait.
func (t *Terminal) OpenInput(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return interruptible(ctx, t.In), -1, nil
	}
	file, err := openFile(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	if info.Mode().IsRegular() {
		return file, info.Size(), nil
	}
	return &struct {
		io.Reader
		io.Closer
	}{interruptible(ctx, file), file}, -1, nil
}

// openFile is os.Open that ends with ctx: a named pipe opens when somebody writes
// to it. The goroutine that waits for that stays until the process ends.
func openFile(ctx context.Context, name string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		file, err := os.Open(name)
		opened <- result{file, err}
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// interruptible is a reader that fails when ctx ends, also while it waits for a
// pipe to which nobody writes. The goroutine that waits there stays until the
// process ends, because nothing can end such a read.
func interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		_ = in.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { _ = in.CloseWithError(ctx.Err()) })
	return out
}

// LazyFile is a file that is made when the first byte is written, so that an
// import without rejects leaves none behind.
type LazyFile struct {
	Name string
	file *os.File
}

// RejectsFile is where the rejects of an import go. What would keep it from
// being written is found out before the import starts.
func RejectsFile(name, input string) (*LazyFile, error) {
	if name == "" {
		name = input + ".rejects.ndjson"
		if input == "-" {
			name = "import.rejects.ndjson"
		}
	}
	if sameFile(name, input) {
		return nil, Usage(errors.New("--rejects names the file to import, which would be lost"))
	}
	if err := checkNoLink(name); err != nil {
		return nil, Usage(err)
	}
	if there, err := os.Stat(name); err == nil && there.IsDir() {
		return nil, Usage(fmt.Errorf("--rejects: %s is a folder, want a file", name))
	}
	folder, err := os.Stat(filepath.Dir(name))
	if err != nil || !folder.IsDir() {
		return nil, Usage(fmt.Errorf("--rejects: %s is no folder", filepath.Dir(name)))
	}
	return &LazyFile{Name: name}, nil
}

// sameFile reports whether two names are of one file, by whatever link.
func sameFile(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

func (f *LazyFile) Write(b []byte) (int, error) {
	if f.file == nil {
		file, err := OpenRejects(f.Name)
		if err != nil {
			return 0, err
		}
		f.file = file
	}
	return f.file.Write(b)
}

// Close closes the file where there is one.
func (f *LazyFile) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
